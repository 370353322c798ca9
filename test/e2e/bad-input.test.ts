/** Wrong questions to a real member: each answer says what was wrong and what to do, and nothing is touched. */

import { expect } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { JoinTokenDocument } from "../../src/api/documents.ts";
import type { ProblemDocument } from "../../src/api/problem.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { type ClusterLife, describeLife, makeCluster } from "../support/cluster-life.ts";
import { guacamole } from "../support/tested-binary.ts";

describeLife(
  "a control plane that is asked wrong things",
  () => makeCluster(3),
  (part) => {
    let spentToken = "";

    part("serves nobody without a token over HTTPS, and nobody with a wrong one", async (life) => {
      const [first] = membersOf(life);
      await life.cluster.start(first);
      const formed = await life.ask(first, "form", "--output", "json");
      life.token = (JSON.parse(formed.stdout) as { token: string }).token;

      const missing = await askHttps(first, "/v1/cluster", { token: null });
      expect(missing.problem).toMatchObject({ status: 401, code: "token-missing" });
      expect(missing.problem.hint).toContain("Authorization: Bearer");
      const another = life.token.endsWith("-") ? "x" : "-";
      const wrong = await askHttps(first, "/v1/cluster", { token: `${life.token.slice(0, -1)}${another}` });
      expect(wrong.problem).toMatchObject({ status: 401, code: "token-invalid" });
      expect(wrong.problem.detail).toContain("not valid here");

      const endpoint = ["--endpoint", `127.0.0.1:${first.apiPort}`, "--ca", caOf(first)];
      const refused = await guacamole("status", ...endpoint, "--token", "gcm_nobody_0123456789abcdef");
      expect(refused.exitCode).toBe(3);
      expect(refused.stderr).toContain("The token is not valid here.");
      const untrusted = await guacamole("status", ...endpoint.slice(0, 2), "--token", life.token);
      expect(untrusted.exitCode).toBe(4);
      expect(untrusted.stderr).toContain("its certificate is not trusted");
      expect(untrusted.stderr).toContain("--ca FILE");
      expect((await guacamole("status", ...endpoint, "--token", life.token)).exitCode).toBe(0);
    });

    part("explains a body that is not JSON, too large, or has a field that does not exist", async (life) => {
      const [first] = membersOf(life);
      const post = (body: string) => askHttps(first, "/v1/cluster/initialize", { token: life.token, body });
      const torn = await post('{"primary":');
      expect(torn.problem).toMatchObject({ status: 400, code: "bad-json" });
      expect(torn.problem.detail).toContain("cannot be read");
      const large = await post(JSON.stringify({ primary: "m".repeat(1024 * 1024) }));
      expect(large.problem).toMatchObject({ status: 413, code: "body-too-large" });
      expect(large.problem.detail).toContain("larger than 1048576 bytes");
      const unknown = await post('{"primray":"m1"}');
      expect(unknown.problem).toMatchObject({ status: 422, code: "invalid-request" });
      expect(unknown.problem.detail).toBe("primray: there is no such field");
      const nobody = await post('{"primary":"m9"}');
      expect(nobody.problem).toMatchObject({ status: 409, code: "member-unknown" });
      expect(nobody.problem.hint).toBe("Members are: m1.");
      expect((await life.now()).isInitialized).toBe(false);
    });

    part(
      "lets nobody join who is given another cluster's fingerprint, and spends no token on it",
      async (life) => {
        const [first, second] = membersOf(life);
        await life.cluster.start(second);
        const token = await joinToken(life, first);
        const fingerprint = /\.([0-9a-f]{64})$/.exec(token)?.[1] ?? "";
        const another = token.replace(fingerprint, "0".repeat(64));
        const address = `127.0.0.1:${first.apiPort}`;
        const refused = await life.ask(second, "join", address, "--token", another);
        expect(refused.exitCode).toBe(3);
        expect(refused.stderr).toContain(
          "is not of the cluster that the join token names; nothing was sent to it",
        );
        expect(refused.stderr).toContain("somebody may stand in between");
        expect(refused.stderr).not.toContain(token);

        const nonsense = await life.ask(second, "join", address, "--token", "gcm_join.nonsense");
        expect(nonsense.exitCode).toBe(3);
        expect(nonsense.stderr).toContain("this is not a join token");
        expect(nonsense.stderr).toContain("guacamole member add");

        expect((await life.ask(second, "join", address, "--token", token)).exitCode).toBe(0);
        spentToken = token;
        const again = await life.ask(second, "join", address, "--token", token);
        expect(again.exitCode).toBe(3);
        expect(again.stderr).toContain("This member belongs to a cluster already.");
      },
    );

    part("lets nobody join with a token that was used, nor under a name that is taken", async (life) => {
      const [first, , third] = membersOf(life);
      const configured = readFileSync(third.configPath, "utf8");
      writeFileSync(third.configPath, configured.replace('name = "m3"', 'name = "m2"'));
      await life.cluster.start(third);
      const address = `127.0.0.1:${first.apiPort}`;
      const token = await joinToken(life, first);
      const taken = await life.ask(third, "join", address, "--token", token);
      expect(taken.exitCode).toBe(3);
      expect(taken.stderr).toContain("Another member has this name.");
      expect(taken.stderr).toContain("`name` in guacamole.toml");

      await life.cluster.killEverything(third);
      writeFileSync(third.configPath, configured);
      await life.cluster.start(third);
      const used = await life.ask(third, "join", address, "--token", spentToken);
      expect(used.exitCode).toBe(3);
      expect(used.stderr).toContain("This join token was used before; each admits one member, once.");
      expect((await life.ask(third, "join", address, "--token", token)).exitCode).toBe(0);
      const seen = await life.seen("three vote", ({ raft }) => raft.voters.length === 3);
      expect(seen.members.map(({ name }) => name)).toEqual(["m1", "m2", "m3"]);
    });

    part(
      "builds nothing where a data directory is not empty, on whichever member, and touches nothing",
      async (life) => {
        const [first, second] = membersOf(life);
        for (const occupied of [first, second]) {
          const { file, bytes } = occupy(occupied);
          const refused = await untilForeign(life, occupied, () => life.ask(first, "init"));
          expect(refused.exitCode).toBe(3);
          expect(refused.stderr).toContain(`The place for PostgreSQL on ${occupied.name} is taken`);
          expect(refused.stderr).toContain("holds files, but no PostgreSQL (precious.txt)");
          expect(refused.stderr).toContain(
            "Nothing was touched. Empty that directory, or set postgres.data-dir",
          );
          expect(readFileSync(file, "utf8")).toBe(bytes);
          expect(readdirSync(occupied.dataDirectory)).toEqual(["precious.txt"]);
          expect((await life.now()).isInitialized).toBe(false);
          rmSync(occupied.dataDirectory, { recursive: true });
          await life.seen("the place is free", (seen) => stateOf(seen, occupied) === "empty");
        }
      },
    );

    part(
      "gives an initialisation up that finds a directory filled meanwhile; emptied, it may be begun again",
      async (life) => {
        const [first] = membersOf(life);
        const supervisor = life.cluster.supervisorPid(first);
        if (supervisor === null) throw new Error("there is no supervisor");
        // It stands still from before the command until the file is there, so the order is certain.
        process.kill(supervisor, "SIGSTOP");
        let place: { readonly file: string; readonly bytes: string };
        try {
          // Not through the command line: the member must not have the time to notice that its supervisor is silent.
          await first.api.post("/v1/cluster/initialize", {});
          place = occupy(first);
        } finally {
          process.kill(supervisor, "SIGCONT");
        }
        await life.seen("the operation has ended", (seen) => seen.runningOperations.length === 0);
        const operations = await life.ask(first, "operation", "list", "--output", "json");
        const [failed] = JSON.parse(operations.stdout) as { status: string; log: { message: string }[] }[];
        expect(failed?.status).toBe("failed");
        expect(failed?.log.at(-1)?.message).toContain(
          "holds files, but no PostgreSQL (precious.txt); nothing was touched",
        );
        expect(readFileSync(place.file, "utf8")).toBe(place.bytes);
        rmSync(first.dataDirectory, { recursive: true });
        await life.seen("the place is free", (seen) => stateOf(seen, first) === "empty");
      },
    );

    part(
      "is initialised once: the second time is refused, and PostgreSQL goes on untouched",
      async (life) => {
        const [first] = membersOf(life);
        const initialised = await life.ask(first, "init", "--primary", "m1");
        expect(initialised).toMatchObject({ exitCode: 0, stdout: "The initialize of m1 succeeded.\n" });
        await life.untilWhole();
        const before = await life.now();
        const postmaster = life.cluster.postmasterPid(first);

        for (const member of membersOf(life)) {
          const again = await life.ask(member, "init");
          expect(again.exitCode).toBe(3);
          expect(again.stderr).toContain("PostgreSQL was initialised before; nothing was touched.");
          expect(again.stderr).toContain("guacamole member reinit NAME");
        }
        const after = await life.now();
        expect(after.systemIdentifier).toBe(before.systemIdentifier);
        expect(after.reign?.epoch).toBe(before.reign?.epoch ?? -1);
        expect(after.runningOperations).toEqual([]);
        expect(life.cluster.postmasterPid(first)).toBe(postmaster);
      },
    );
  },
);

function membersOf({ cluster }: ClusterLife): readonly [LocalMember, LocalMember, LocalMember] {
  return [cluster.member("m1"), cluster.member("m2"), cluster.member("m3")];
}

function caOf(member: LocalMember): string {
  return join(member.directory, "member", "tls", "ca.crt");
}

async function joinToken(life: ClusterLife, through: LocalMember): Promise<string> {
  const made = await life.ask(through, "member", "add", "--output", "json");
  return (JSON.parse(made.stdout) as JoinTokenDocument).token;
}

/** A file that somebody put where PostgreSQL's data should go. */
function occupy(member: LocalMember): { readonly file: string; readonly bytes: string } {
  const file = join(member.dataDirectory, "precious.txt");
  const bytes = "nobody has a copy of this\n";
  mkdirSync(member.dataDirectory, { recursive: true });
  writeFileSync(file, bytes);
  return { file, bytes };
}

function stateOf(
  seen: { readonly members: readonly { readonly name: string; readonly state: string }[] },
  member: LocalMember,
): string | undefined {
  return seen.members.find(({ name }) => name === member.name)?.state;
}

/** The member looks at its directory twice a second: what it saw is what the refusal goes by. */
async function untilForeign<T>(life: ClusterLife, member: LocalMember, act: () => Promise<T>): Promise<T> {
  await life.until(`${member.name} sees what is in its directory`, async () => {
    const seen = await life.cluster.cluster(life.cluster.member("m1"));
    return seen !== null && stateOf(seen, member) === "foreign-data";
  });
  return act();
}

interface Asked {
  readonly token: string | null;
  readonly body?: string;
}

/** As any program would ask, trusting the cluster's own CA. */
async function askHttps(
  member: LocalMember,
  path: string,
  { token, body }: Asked,
): Promise<{ readonly problem: ProblemDocument }> {
  const response = await fetch(`https://127.0.0.1:${member.apiPort}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      "content-type": "application/json",
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
    },
    ...(body === undefined ? {} : { body }),
    tls: { ca: readFileSync(caOf(member), "utf8") },
  });
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  return { problem: (await response.json()) as ProblemDocument };
}
