/** PostgreSQL's parameters on real members: asked for through any of them, in effect on all of them. */

import { expect } from "bun:test";
import type { ParametersDocument } from "../../src/api/parameter-documents.ts";
import type { SuggestionsDocument } from "../../src/api/suggest-routes.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { type ClusterLife, describeLife, makeCluster } from "../support/cluster-life.ts";

async function shown(life: ClusterLife, member: LocalMember, name: string): Promise<string> {
  return life.sql(member, `SHOW ${name}`);
}

/** Each member shows this value, in the order of the members. */
async function untilShown(life: ClusterLife, name: string, values: readonly string[]): Promise<void> {
  await life.until(`${name} is ${values.join(", ")}`, async () => {
    const seen = await Promise.all(life.cluster.members.map((member) => shown(life, member, name)));
    return seen.join() === values.join();
  });
}

async function config(life: ClusterLife, member: LocalMember, ...args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await life.ask(member, "config", ...args);
  expect({ exitCode, stderr: exitCode === 0 ? "" : stderr }).toEqual({ exitCode: 0, stderr: "" });
  return stdout;
}

async function refusal(life: ClusterLife, ...args: readonly string[]): Promise<string> {
  const { exitCode, stderr } = await life.ask(life.cluster.member("m2"), "config", "set", ...args);
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 3 });
  return stderr;
}

function parametersOf(member: LocalMember, name: string): Promise<ParametersDocument> {
  return member.api.get<ParametersDocument>(`/v1/parameters?name=${name}`);
}

/** Ends a standby's PostgreSQL as a person does; its member starts it again. */
async function restart(life: ClusterLife, member: LocalMember): Promise<void> {
  const before = life.cluster.postmasterPid(member);
  if (before === null) throw new Error(`${member.name} runs no PostgreSQL`);
  process.kill(before, "SIGINT");
  await life.until(`${member.name} is started again`, async () => {
    const pid = life.cluster.postmasterPid(member);
    return pid !== null && pid !== before;
  });
  await life.untilWhole();
}

describeLife(
  "parameters",
  () => makeCluster(3),
  (part) => {
    part(
      "are in effect on every member, with a role's and a member's own before the cluster's",
      async (life) => {
        await life.bringUp("parameters");
        await life.startWriting();
        const [m1, m2] = life.cluster.members as readonly [LocalMember, LocalMember, LocalMember];
        await config(life, m2, "set", "work_mem=64MB", "log_min_duration_statement=1s");
        await untilShown(life, "work_mem", ["64MB", "64MB", "64MB"]);
        await untilShown(life, "log_min_duration_statement", ["1s", "1s", "1s"]);
        await config(life, m1, "set", "work_mem=32MB", "--role", "standby");
        await config(life, m1, "set", "work_mem=16MB", "--member", "m2");
        const primary = await life.primary();
        expect(primary).toBe(m1);
        await untilShown(life, "work_mem", ["64MB", "16MB", "32MB"]);
        const seen = await parametersOf(m2, "work_mem");
        expect(seen.parameters[0]?.members).toMatchObject([
          { member: "m1", desired: "64MB", desiredFrom: "cluster", effective: "64MB", source: "cluster" },
          { member: "m2", desired: "16MB", desiredFrom: "member", effective: "16MB", source: "member" },
          { member: "m3", desired: "32MB", desiredFrom: "role", effective: "32MB", source: "role" },
        ]);
      },
    );

    part("that PostgreSQL would not take are refused, with what it would", async (life) => {
      const before = (await parametersOf(life.cluster.member("m1"), "work_mem")).generation;
      expect(await refusal(life, "work_mem=1kB")).toContain("from 64 to");
      expect(await refusal(life, "work_memory=1MB")).toContain("no parameter of this PostgreSQL");
      expect(await refusal(life, "synchronous_standby_names=*")).toContain("/v1/topology");
      expect(await refusal(life, "timezone=Mars/Olympus")).toContain(
        "would not start with this: invalid value",
      );
      expect(await refusal(life, "shared_preload_libraries=no_such_library")).toContain(
        "could not access file",
      );
      expect(await refusal(life, "superuser_reserved_connections=500")).toContain("must be less than");
      expect(await refusal(life, "shared_buffers=7TB")).toContain("of shared memory");
      expect((await parametersOf(life.cluster.member("m1"), "work_mem")).generation).toBe(before);
    });

    part("that ALTER SYSTEM changes are put back, and what was found is told; others stay", async (life) => {
      const m3 = life.cluster.member("m3");
      await life.sql(m3, "ALTER SYSTEM SET work_mem = '1GB'");
      await life.sql(m3, "ALTER SYSTEM SET maintenance_work_mem = '99MB'");
      await life.sql(m3, "SELECT pg_reload_conf()");
      await untilShown(life, "work_mem", ["64MB", "16MB", "32MB"]);
      await life.until("it is told", async () => {
        const { takenOut } = await parametersOf(m3, "work_mem");
        return takenOut.some(({ member, names }) => member === "m3" && names.join() === "work_mem");
      });
      expect(await shown(life, m3, "maintenance_work_mem")).toBe("99MB");
      const other = await parametersOf(m3, "maintenance_work_mem");
      expect(other.parameters[0]?.members[2]?.source).toBe("alter-system");
    });

    part(
      "that need a start wait for it, and say so; a lower wish afterwards keeps nobody down",
      async (life) => {
        const m1 = life.cluster.member("m1");
        expect(await config(life, m1, "set", "max_connections=150")).toContain(
          "a standby must not have less than its primary",
        );
        await life.seen("all three wait", ({ members }) =>
          members.every(({ pendingRestart }) => pendingRestart.includes("max_connections")),
        );
        expect((await life.ask(m1, "status")).stdout).toContain("max_connections wait for a start");
        for (const standby of await life.standbys()) await restart(life, standby);
        await untilShown(life, "max_connections", ["100", "150", "150"]);
        const done = await life.ask(m1, "switchover", "--to", "m2");
        expect(done).toMatchObject({ exitCode: 0 });
        await life.untilWhole();
        await untilShown(life, "max_connections", ["150", "150", "150"]);
        // Now the base file's 100 would count again: less than the data needs.
        await config(life, m1, "reset", "max_connections");
        await restart(life, life.cluster.member("m3"));
        await untilShown(life, "max_connections", ["150", "150", "150"]);
        await life.untilWritesGoOn();
      },
    );

    part("follow the role through a failover, and a member that was away", async (life) => {
      const primary = await life.primary();
      await config(life, primary, "set", "random_page_cost=1.5", "--role", "primary");
      await life.until(
        "on the primary only",
        async () => (await shown(life, primary, "random_page_cost")) === "1.5",
      );
      await life.cluster.killEverything(primary);
      const successor = await life.successorOf(primary);
      await life.until(
        "on its successor",
        async () => (await shown(life, successor, "random_page_cost")) === "1.5",
      );
      await config(life, successor, "set", "log_min_messages=error");
      await life.cluster.start(primary);
      await life.untilWhole();
      await life.until(
        "not on the former primary",
        async () => (await shown(life, primary, "random_page_cost")) === "4",
      );
      await untilShown(life, "log_min_messages", ["error", "error", "error"]);
      await life.expectNothingLost();
    });

    part("of people's sessions end none of guacamole's own", async (life) => {
      const m1 = life.cluster.member("m1");
      const { epoch } = (await life.now()).reign ?? {};
      await config(life, m1, "set", "statement_timeout=1ms", "default_transaction_read_only=on");
      await life.until("it is in effect everywhere", async () => {
        const { parameters, unseen } = await parametersOf(
          m1,
          "statement_timeout,default_transaction_read_only",
        );
        const values = parameters.flatMap(({ members }) => members);
        return (
          unseen.length === 0 && values.every(({ effective, isDrifting }) => effective !== "0" && !isDrifting)
        );
      });
      const primary = await life.primary();
      const [standby] = await life.standbys();
      if (standby === undefined) throw new Error("there are three members");
      // A start, looks and checks of a second and more under it.
      await restart(life, standby);
      expect((await life.now()).reign).toMatchObject({ epoch, primary: primary.name, fence: null });
      await config(life, m1, "reset", "statement_timeout", "default_transaction_read_only");
      await life.untilWritesGoOn();
      await life.expectNothingLost();
    });

    part("are suggested by what the machines have, and wanted only if somebody says so", async (life) => {
      const m1 = life.cluster.member("m1");
      const before = (await parametersOf(m1, "effective_cache_size")).generation;
      const shownFirst = JSON.parse(
        await config(life, m1, "suggest", "--output", "json"),
      ) as SuggestionsDocument;
      expect(shownFirst.machines.map(({ member }) => member)).toEqual(["m1", "m2", "m3"]);
      expect(shownFirst.machines.every(({ memoryBytes, cores }) => memoryBytes > 0 && cores > 0)).toBe(true);
      expect((await parametersOf(m1, "effective_cache_size")).generation).toBe(before);
      await config(life, m1, "suggest", "--member", "m2", "--workload", "analytics", "--apply");
      const seen = await parametersOf(m1, "effective_cache_size");
      expect(seen.parameters[0]?.members[1]).toMatchObject({ member: "m2", desiredFrom: "member" });
    });
  },
);
