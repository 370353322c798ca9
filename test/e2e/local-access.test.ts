/** The other break-glass: superuser access on a host whose control plane is down, and its trace in the audit trail. */

import { expect } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { AuditRecordDocument } from "../../src/api/documents.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { type ClusterLife, describeLife, makeCluster, stateDirectoryOf } from "../support/cluster-life.ts";
import { guacamole } from "../support/tested-binary.ts";

const ONLY = "m1";

function local(life: ClusterLife, reason: string, ...rest: readonly string[]) {
  const { configPath } = life.cluster.member(ONLY);
  return guacamole(
    "break-glass",
    "local",
    "--reason",
    reason,
    "--who",
    "ann",
    "--config",
    configPath,
    ...rest,
  );
}

/** What is left to be told. */
function traces(life: ClusterLife): readonly string[] {
  const directory = join(stateDirectoryOf(life.cluster.member(ONLY)), "local-access");
  return readdirSync(directory).filter((name) => name.endsWith(".json"));
}

/** Reasons and what happened, as the audit trail has them, in the order in which they were noted. */
async function trail(life: ClusterLife): Promise<readonly string[]> {
  const { stdout } = await life.ask(life.cluster.member(ONLY), "audit", "--output", "jsonl");
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as AuditRecordDocument)
    .filter(({ request }) => request.startsWith("LOCAL break-glass"))
    .map((record) => `${record.request}: ${/INC-\d/.exec(JSON.stringify(record))?.[0]}`);
}

describeLife(
  "a host whose control plane is down",
  () => makeCluster(1),
  (part) => {
    const member = (life: ClusterLife): LocalMember => life.cluster.member(ONLY);

    part("lets its owner in as superuser, logs what is done, and leaves a trace", async (life) => {
      await life.bringUp("alone");
      await life.cluster.killMemberProcess(member(life));
      const run = await local(
        life,
        "INC-1: no leader",
        "--",
        "-XAtc",
        "SELECT current_setting('is_superuser')",
      );
      expect(run).toMatchObject({ exitCode: 0, stdout: "on\n" });
      const failed = await local(life, "INC-2", "--", "-XAtc", "SELECT 1/0");
      expect(failed.exitCode).toBe(1);
      const log = readFileSync(join(stateDirectoryOf(member(life)), "postgresql.log"), "utf8");
      expect(log).toContain("current_setting('is_superuser')");
      expect(traces(life)).toHaveLength(4);
    });

    part("tells it once when its member is back, however often that is", async (life) => {
      const expected = ["opened: INC-1", "closed: INC-1", "opened: INC-2", "closed: INC-2"].map(
        (each) => `LOCAL break-glass ${each}`,
      );
      await life.cluster.start(member(life));
      await life.until("it is told", async () => (await trail(life)).length === expected.length);
      expect((await trail(life)).toSorted()).toEqual(expected.toSorted());
      await life.until("nothing is left to be told", async () => traces(life).length === 0);
      await life.cluster.killEverything(member(life));
      await life.cluster.start(member(life));
      await life.untilWhole();
      expect((await trail(life)).toSorted()).toEqual(expected.toSorted());
    });

    part("starts PostgreSQL only as a standby, and only where it is told to", async (life) => {
      await life.cluster.killEverything(member(life));
      const refused = await local(life, "INC-3", "--", "-c", "SELECT 1");
      expect(refused.exitCode).toBe(3);
      expect(refused.stderr).toContain("--start");
      const started = await local(life, "INC-4", "--start", "--", "-XAtc", "SELECT pg_is_in_recovery()");
      expect(started).toMatchObject({ exitCode: 0, stdout: "t\n" });
      await life.cluster.start(member(life));
      await life.untilWhole();
      await life.until("all of it is told", async () => (await trail(life)).length === 8);
    });

    part("refuses without a reason, and leaves nothing then", async (life) => {
      expect((await local(life, " ")).exitCode).toBe(2);
      expect((await trail(life)).length).toBe(8);
    });
  },
);
