/** The versions of what operators want, on real members: who wanted what, the way back, and many at once. */

import { expect } from "bun:test";
import type { TopologyDocument } from "../../src/api/documents.ts";
import type { SpecBlameDocument, SpecHistoryDocument } from "../../src/api/spec-documents.ts";
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
  },
);

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
