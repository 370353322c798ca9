/** The versions of what operators want, on real members: who wanted what, the way back, and many at once. */

import { expect } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HbaDocument } from "../../src/api/access-documents.ts";
import type { TopologyDocument } from "../../src/api/documents.ts";
import type { SpecBlameDocument, SpecDocument, SpecHistoryDocument } from "../../src/api/spec-documents.ts";
import { CliError } from "../../src/cli/exit-code.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { type ClusterLife, describeLife, makeCluster } from "../support/cluster-life.ts";

async function done(life: ClusterLife, member: LocalMember, ...args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await life.ask(member, ...args);
  expect({ exitCode, stderr: exitCode === 0 ? "" : stderr }).toEqual({ exitCode: 0, stderr: "" });
  return stdout;
}

async function generation(member: LocalMember): Promise<number> {
  return (await member.api.get<SpecHistoryDocument>("/v1/spec/history")).generation;
}

describeLife(
  "versions of the spec",
  () => makeCluster(3),
  (part) => {
    part(
      "say who wanted what, on whichever member, and lead back through the servers' checks",
      async (life) => {
        await life.bringUp("versions");
        const [m1, m2, m3] = life.cluster.members as readonly [LocalMember, LocalMember, LocalMember];
        await done(life, m1, "config", "set", "work_mem=64MB");
        const first = await generation(m1);
        await done(life, m2, "config", "set", "work_mem=32MB", "random_page_cost=1.5");
        await done(life, m3, "topology", "set", "--calm", "20s");
        const history = await done(life, m2, "spec", "history");
        expect(history).toContain("postgres.parameters.cluster.work_mem: 64MB -> 32MB");
        expect(history).toContain("failover.calmMs");
        expect(await done(life, m3, "spec", "diff", `${first}`)).toContain("random_page_cost: - -> 1.5");

        await done(life, m3, "spec", "rollback", `${first}`, "--reason", "zu wenig Speicher: größer");
        await life.until("the old value is in effect", async () => {
          const shown = await Promise.all([m1, m2, m3].map((member) => life.sql(member, "SHOW work_mem")));
          return shown.join() === "64MB,64MB,64MB";
        });
        const blamed = await m1.api.get<SpecBlameDocument>("/v1/spec/blame?path=postgres.parameters");
        expect(blamed.values).toMatchObject([{ value: "64MB", reason: "zu wenig Speicher: größer" }]);
        const topology = await m2.api.get<TopologyDocument>("/v1/topology");
        expect(topology.failover.calmMs).toBe(15_000);
      },
    );

    part("that are not kept are refused, and change nothing", async (life) => {
      const [m1] = life.cluster.members as readonly [LocalMember];
      const before = await generation(m1);
      const { exitCode, stderr } = await life.ask(m1, "spec", "rollback", "9999");
      expect({ exitCode, stderr }).toMatchObject({ stderr: expect.stringContaining("is not kept") });
      expect(exitCode).not.toBe(0);
      expect(await generation(m1)).toBe(before);
    });

    part("come from a file that is tried, applied, and can be taken back", async (life) => {
      const [m1, m2, m3] = life.cluster.members as readonly [LocalMember, LocalMember, LocalMember];
      const directory = mkdtempSync(join(tmpdir(), "guacamole-spec-"));
      const file = join(directory, "spec.yaml");
      const write = (text: string) => writeFileSync(file, text);
      try {
        const text = await done(life, m1, "spec", "export");
        const before = await generation(m1);
        write(text);
        expect(await done(life, m2, "apply", "-f", file)).toContain("so already");
        write(`${text.replace("work_mem: 64MB", "work_mem: 48MB")}`.replace("access: null", RULES));
        const dry = await life.ask(m2, "apply", "-f", file, "--dry-run");
        expect(dry).toMatchObject({
          exitCode: 7,
          stdout: expect.stringContaining("work_mem: 64MB -> 48MB"),
        });
        expect(await generation(m1)).toBe(before);

        await done(life, m2, "apply", "-f", file, "--reason", "from git");
        expect(await generation(m2)).toBe(before + 1);
        await life.until("parameters and rules are in force", async () => {
          const values = await Promise.all([m1, m2, m3].map((member) => life.sql(member, "SHOW work_mem")));
          const { members } = await m3.api.get<HbaDocument>("/v1/access/hba");
          return values.join() === "48MB,48MB,48MB" && members.every(({ state }) => state === "in-force");
        });
        await life.until("every member says so", async () =>
          (await done(life, m1, "spec", "show")).includes("in force on every member."),
        );
        const blamed = await done(life, m3, "spec", "blame", "access");
        expect(blamed).toContain("from git");
        const shown = await done(life, m3, "spec", "export");
        expect(shown).toContain('radiussecrets: "***"');
        expect(shown).not.toContain("hush-hush");

        // With the mask in it, and another rule before: the secret stays what it is.
        write(shown.replace("calmMs: 15000", "calmMs: 16000").replace("rules:\n", `rules:\n${REJECT}`));
        await done(life, m1, "apply", "-f", file);
        const { rules } = await m1.api.get<HbaDocument>("/v1/access/hba");
        expect(rules.map(({ options }) => options?.["radiussecrets"])).toEqual([
          undefined,
          "hush-hush",
          undefined,
        ]);

        // One bad line, and nothing of the file is done.
        const after = await generation(m1);
        write(shown.replace("work_mem: 48MB", "work_mem: 1kB").replace("calmMs: 15000", "calmMs: 17000"));
        expect(await life.ask(m2, "apply", "-f", file)).toMatchObject({ exitCode: 3 });
        write(shown.replace("method: radius", "method: pam"));
        expect(await life.ask(m2, "apply", "-f", file)).toMatchObject({ exitCode: 3 });
        write(shown);
        const stale = await life.ask(m2, "apply", "-f", file, "--if-generation", `${before}`);
        expect(stale).toMatchObject({ exitCode: 3, stderr: expect.stringContaining("made for") });
        expect(await generation(m3)).toBe(after);

        await done(life, m3, "spec", "rollback", `${before}`);
        expect(await done(life, m1, "spec", "export")).toBe(text);
        await life.until("the old value is in effect again", async () => {
          return (await life.sql(m2, "SHOW work_mem")) === "64MB";
        });
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    });

    part("lose no update of fifty clients that change the same value at once", async (life) => {
      const { members } = life.cluster;
      const before = await members[0]?.api.get<TopologyDocument>("/v1/topology");
      const clients = Array.from(
        { length: 50 },
        (_, index) => members[index % members.length] as LocalMember,
      );
      await Promise.all(clients.map((member) => addOne(member)));
      const after = await members[0]?.api.get<TopologyDocument>("/v1/topology?consistency=linearizable");
      expect(after?.failover.calmMs).toBe((before?.failover.calmMs ?? 0) + clients.length);
      expect(after?.generation).toBe((before?.generation ?? 0) + clients.length);
    });

    part("lose no update of fifty clients on different routes of different members", async (life) => {
      const { members } = life.cluster;
      const before = await generation(members[0] as LocalMember);
      const clients = Array.from({ length: 50 }, (_, index) => index);
      await Promise.all(
        clients.map((index) => changeOne(members[index % members.length] as LocalMember, index)),
      );
      const [first] = members as readonly [LocalMember];
      const { spec, generation: after } = await first.api.get<SpecDocument>(
        "/v1/spec?consistency=linearizable",
      );
      expect(after).toBe(before + clients.length);
      const named = Object.keys(spec.postgres?.parameters.cluster ?? {}).filter((name) =>
        PARAMETERS.includes(name),
      );
      expect(named).toHaveLength(17);
      expect(Object.keys(spec.declared?.roles ?? {})).toHaveLength(17);
      expect(spec.failover?.calmMs).toBe(15_000 + 50 + 16);
    });
  },
);

const RULES = `access:
  rules:
    - {type: host, databases: [sales], users: [app], address: 10.0.0.0/8, method: radius, options: {radiusservers: 10.0.0.9, radiussecrets: hush-hush}}
    - {type: host, databases: [all], users: [all], address: all, method: scram-sha-256}`;
const REJECT = "    - {type: host, databases: [all], users: [nobody], address: all, method: reject}\n";

const SWITCHES =
  "bitmapscan gathermerge hashagg hashjoin indexonlyscan indexscan material mergejoin nestloop parallel_append parallel_hash partition_pruning partitionwise_aggregate partitionwise_join seqscan sort tidscan";
const PARAMETERS = SWITCHES.split(" ").map((name) => `enable_${name}`);

/** Of fifty, a third each says a parameter, a role, and one more millisecond, the last by way of the whole document. */
async function changeOne({ api }: LocalMember, index: number): Promise<void> {
  for (;;) {
    const { generation: seen, spec } = await api.get<SpecDocument>("/v1/spec");
    const ifMatch = `"${seen}"`;
    const failover = spec.failover as NonNullable<typeof spec.failover>;
    try {
      if (index % 3 === 0)
        await api.patch("/v1/parameters", { cluster: { [PARAMETERS[index / 3] ?? ""]: "on" } }, { ifMatch });
      else if (index % 3 === 1) await api.put(`/v1/access/roles/r${index}`, { login: true }, { ifMatch });
      else await api.put("/v1/spec", { failover: { ...failover, calmMs: failover.calmMs + 1 } }, { ifMatch });
      return;
    } catch (error) {
      if (!(error instanceof CliError) || !/generation|meanwhile/.test(error.message)) throw error;
    }
  }
}

/** Reads, adds one and writes, for the version that was read; again where somebody else was faster. */
async function addOne({ api }: LocalMember): Promise<void> {
  for (;;) {
    const { generation: read, failover } = await api.get<TopologyDocument>("/v1/topology");
    try {
      const ifMatch = `"${read}"`;
      await api.patch("/v1/topology", { failover: { calmMs: failover.calmMs + 1 } }, { ifMatch });
      return;
    } catch (error) {
      if (!(error instanceof CliError) || !/generation|meanwhile/.test(error.message)) throw error;
    }
  }
}
