/** The owner's programs, and what people ask of a cluster besides, on real members: hooks, forks, explain, history. */

import { expect } from "bun:test";
import { appendFileSync, chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type {
  ExplanationDocument,
  FailoverDocument,
  ForkDocument,
  HooksDocument,
  OperationDocument,
  ScheduledSwitchoverDocument,
} from "../../src/api/documents.ts";
import type { LocalCluster, LocalMember } from "../../src/demo/local-cluster.ts";
import { describeLife, makeCluster } from "../support/cluster-life.ts";

/** Where PostgreSQL's user may write. */
const placeOf = (member: LocalMember) => dirname(member.dataDirectory);
const objectionOf = (member: LocalMember) => join(member.directory, "objection");

function rolesTold(member: LocalMember): readonly string[] {
  const file = join(placeOf(member), "told");
  return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
}

function changesTold(member: LocalMember): readonly string[] {
  const file = join(placeOf(member), "changes");
  return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
}

function makeHookedCluster(): LocalCluster {
  const cluster = makeCluster(3);
  for (const member of cluster.members) {
    const tells = join(member.directory, "on-role-change");
    writeFileSync(tells, `#!/bin/sh\necho "$@ $(id -u)" >> ${join(placeOf(member), "told")}\n`);
    const asks = join(member.directory, "before-switchover");
    const objection = objectionOf(member);
    writeFileSync(asks, `#!/bin/sh\n[ ! -e ${objection} ] || { cat ${objection} >&2; exit 1; }\n`);
    const after = join(member.directory, "after");
    writeFileSync(after, `#!/bin/sh\necho "$@" >> ${join(placeOf(member), "changes")}\n`);
    for (const script of [tells, asks, after]) chmodSync(script, 0o755);
    appendFileSync(
      member.configPath,
      `\n[hooks]\non-role-change = "${tells}"\nbefore-switchover = "${asks}"\nafter-switchover = "${after}"\nafter-failover = "${after}"\n`,
    );
  }
  return cluster;
}

describeLife("three members with hooks", makeHookedCluster, (part) => {
  part("tell the role that each has, without root's rights", async (life) => {
    await life.bringUp("orders");
    await life.startWriting();
    await life.until("each role is told", async () =>
      life.cluster.members.every((member) => rolesTold(member).length > 0),
    );
    const [m1 = [], m2 = []] = life.cluster.members.map(rolesTold);
    expect(m1.at(-1)).toStartWith("on_role_change primary orders ");
    expect(m2.at(-1)).toStartWith("on_role_change replica orders ");
    expect(m1.at(-1)).not.toEndWith(" 0");
  });

  part("refuse a switchover where the hook does, whoever is asked; nothing is begun", async (life) => {
    const primary = await life.primary();
    const [other, third] = await life.standbys();
    if (other === undefined || third === undefined) throw new Error("there are three members");
    writeFileSync(objectionOf(primary), "the batch run is not over");
    const postmaster = life.cluster.postmasterPid(primary);
    const refused = await life.ask(third, "switchover", "--to", other.name);
    expect(refused.exitCode).not.toBe(0);
    expect(refused.stderr).toContain("the batch run is not over");
    expect(await life.now()).toMatchObject({ switchoverCount: 0, switchover: null, reign: { epoch: 1 } });
    expect(life.cluster.postmasterPid(primary)).toBe(postmaster);
    rmSync(objectionOf(primary));
  });

  part("are asked by a scheduled switchover when its time has come, and refuse it then", async (life) => {
    const primary = await life.primary();
    const [other, third] = await life.standbys();
    if (other === undefined || third === undefined) throw new Error("there are three members");
    writeFileSync(objectionOf(primary), "the batch run is not over");
    // Not by the command line, which may take a second to start.
    const at = new Date(Date.now() + 4_000).toISOString();
    const { id } = await third.api.post<ScheduledSwitchoverDocument>("/v1/switchover", {
      to: other.name,
      at,
    });
    // By the member that was asked: another may not know of it yet.
    await life.until("it stands as one that failed", async () => {
      const operations = await third.api.get<OperationDocument[]>("/v1/operations");
      return operations.some((operation) => operation.id === id && operation.status === "failed");
    });
    expect((await life.ask(third, "events")).stdout).toMatch(/refuses: .*the batch run is not over/);
    expect(await life.now()).toMatchObject({ switchoverCount: 0, switchover: null, reign: { epoch: 1 } });
    rmSync(objectionOf(primary));
    for (const member of life.cluster.members) {
      await life.until(`${member.name} is told that nothing came of it`, async () =>
        changesTold(member).some((line) => line.endsWith(` ${primary.name} ${other.name} 1 failed`)),
      );
    }
  });

  part("hand over where it agrees, and tell both", async (life) => {
    const primary = await life.primary();
    const [other, third] = await life.standbys();
    if (other === undefined || third === undefined) throw new Error("there are three members");
    const done = await life.ask(third, "switchover", "--to", other.name);
    expect(done).toMatchObject({ exitCode: 0 });
    await life.untilWhole();
    await life.until("both are told", async () => {
      const [now, before] = [rolesTold(other).at(-1) ?? "", rolesTold(primary).at(-1) ?? ""];
      return now.includes(" primary ") && before.includes(" replica ");
    });
    for (const member of life.cluster.members) {
      await life.until(`${member.name} is told after it`, async () =>
        changesTold(member).some((line) => line.endsWith(` ${primary.name} ${other.name} 2 succeeded`)),
      );
    }
    await life.until("what came of each stands in the API", async () => {
      const { stdout } = await life.ask(third, "hooks", "--output", "json");
      const hooks = JSON.parse(stdout) as HooksDocument;
      const after = hooks.filter(({ hook }) => hook === "after-switchover");
      return after.length === 3 && after.every(({ last }) => last?.isOk === true);
    });
    expect((await life.ask(third, "events")).stdout).toContain("the hook after-switchover of");
    await life.untilWritesGoOn();
  });

  part("explain, remember, and end a reign by hand", async (life) => {
    const primary = await life.primary();
    const [other, third] = await life.standbys();
    if (other === undefined || third === undefined) throw new Error("there are three members");
    const asJson = async <T>(...args: readonly string[]): Promise<T> =>
      JSON.parse((await life.ask(third, ...args, "--output", "json")).stdout) as T;
    const ifLost = await asJson<ExplanationDocument>("explain", "--lost", primary.name);
    expect(ifLost).toMatchObject({ outcome: "failover", loss: null, isMajorityLeft: true });
    const ifMostLost = await asJson<ExplanationDocument>(
      "explain",
      "--lost",
      `${primary.name},${other.name}`,
    );
    expect(ifMostLost).toMatchObject({ outcome: "held", isMajorityLeft: false });
    expect(ifMostLost.wayOut).not.toBeNull();

    expect((await life.ask(third, "failover", "--to", other.name)).exitCode).toBe(0);
    await life.successorOf(primary);
    await life.untilWritesGoOn();
    await life.untilWhole();
    await life.until("the history is told to its end", async () => {
      const [newest] = await asJson<FailoverDocument[]>("history");
      return newest?.kind === "manual" && newest.phases.some(({ phase }) => phase === "rejoined");
    });
    const [newest, first] = await asJson<FailoverDocument[]>("history");
    // The one that was named wins only among those that hold everything.
    const successor = (await life.primary()).name;
    await life.until("its host is told after the failover", async () =>
      changesTold(life.cluster.member(successor)).some((line) =>
        line.endsWith(` ${primary.name} ${successor} 3 succeeded`),
      ),
    );
    expect(newest).toMatchObject({ number: 2, from: primary.name, to: successor, loss: null });
    expect(first).toMatchObject({ number: 1, kind: "switchover" });
    expect((await life.ask(third, "history", "show", "2")).stdout).toContain(
      `${primary.name} -> ${successor}`,
    );
    for (const { name } of life.cluster.members) {
      const forks = await asJson<ForkDocument[]>("member", "forks", name);
      expect(forks.every(({ problem }) => problem === null)).toBe(true);
    }
    await life.expectNothingLost();
  });
});
