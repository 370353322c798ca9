import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { getPriority, setPriority } from "node:os";
import { join } from "node:path";
import type { TimelineId } from "../../src/base/ids.ts";
import type { Lsn } from "../../src/base/lsn.ts";
import type { TimelineEpoch } from "../../src/cluster/observation.ts";
import { hashSettings } from "../../src/postgres/render-config.ts";
import { CLUSTER_ID, epoch, PostgresFarm, type TestServer, until } from "../support/postgres-farm.ts";
import { postgresMajors } from "../support/postgres-majors.ts";

const INITDB = {
  kind: "initdb",
  clusterId: CLUSTER_ID,
  options: { encoding: "UTF8", locale: "C.UTF-8", walSegmentMb: 4 },
} as const;
const NONE: readonly TimelineEpoch[] = [];
const STEP_MS = 60_000;

const majors = postgresMajors();

test("there is a PostgreSQL to test with", () => {
  expect(majors.length).toBeGreaterThan(0);
});

/** One story per major: each test goes on where the one before it ended. */
describe.each(majors.map((installation) => [installation.major, installation] as const))(
  "PostgreSQL %d",
  (_major, installation) => {
    let farm: PostgresFarm;
    let m1: TestServer;
    let m2: TestServer;
    let m3: TestServer;

    const clone = (server: TestServer, source: TestServer, at: number, replace: string | null = null) =>
      server.ask({
        kind: "clone",
        clusterId: CLUSTER_ID,
        epoch: epoch(at),
        timelines: NONE,
        source: source.upstream,
        replace,
      });

    beforeAll(async () => {
      farm = await PostgresFarm.create(installation);
      [m1, m2, m3] = await Promise.all([farm.add("m1"), farm.add("m2"), farm.add("m3")]);
    }, STEP_MS);

    afterAll(() => farm.remove(), STEP_MS);

    test("what stands in a data directory is never touched", async () => {
      expect((await m3.look()).dataDirectory).toEqual({ kind: "absent" });
      mkdirSync(m3.paths.dataDirectory);
      const precious = join(m3.paths.dataDirectory, "precious");
      writeFileSync(precious, "do not touch");

      expect((await m3.look()).dataDirectory.kind).toBe("foreign");
      expect(await m3.refusal(INITDB)).toBe("not-empty");
      await farm.installCertificates(m3);
      const overIt = {
        kind: "clone",
        clusterId: CLUSTER_ID,
        epoch: epoch(1),
        timelines: NONE,
        source: m1.upstream,
      } as const;
      expect(await m3.refusal({ ...overIt, replace: null })).toBe("not-empty");
      expect(await m3.refusal({ ...overIt, replace: "because" })).toBe("foreign");
      expect(readFileSync(precious, "utf8")).toBe("do not touch");
      expect(readdirSync(m3.paths.dataDirectory)).toEqual(["precious"]);
      rmSync(m3.paths.dataDirectory, { recursive: true });
    });

    test(
      "initdb makes a standby with checksums, once, and only an appointment opens it",
      async () => {
        const made = await m1.ask(INITDB);
        expect(made.dataDirectory).toMatchObject({
          kind: "present",
          clusterId: CLUSTER_ID,
          state: "shut down",
          timeline: 1,
        });
        expect(await m1.refusal(INITDB)).toBe("not-empty");
        expect(await m1.refusal({ kind: "start", epoch: epoch(1) })).toBe("unavailable");
        expect(
          await m1.refusal({ kind: "promote", epoch: epoch(1), timelines: NONE, needsLease: false }),
        ).toBe("not-running");

        await farm.installCertificates(m1);
        await farm.installCertificates(m2);
        const settings = m1.settings();
        expect(
          (await m1.ask({ kind: "configure", epoch: epoch(1), timelines: NONE, settings })).settingsHash,
        ).toBe(hashSettings(settings));
        // As a service manager may start it: only root may do that here.
        if (process.getuid?.() === 0) setPriority(m1.supervisorPid ?? 0, -5);
        const started = await m1.ask({ kind: "start", epoch: epoch(1) });
        expect(started.postmaster?.pid).toBeGreaterThan(1);
        expect(getPriority(started.postmaster?.pid)).toBe(getPriority());
        // The kernel shows what it does at this moment: only that may differ.
        const again = await m1.ask({ kind: "start", epoch: epoch(1) });
        const { state: _, ...same } = started.postmaster ?? {};
        expect(again.postmaster).toMatchObject(same);
        expect(await m1.probed("standby")).toMatchObject({ timeline: 1, walReceiver: null });

        await m1.ask({ kind: "promote", epoch: epoch(1), timelines: NONE, needsLease: false });
        const primary = await m1.probed("primary", ({ timeline }) => timeline === 2);
        expect(primary.isProvisioned).toBe(false);
        expect((await m1.look()).promises).toEqual({
          newestEpoch: epoch(1),
          pledgedEpoch: epoch(0),
          walEpoch: epoch(1),
          timelines: NONE,
        });
        expect((await m1.look()).ancestors).toMatchObject([{ timeline: 1 }]);
        expect(m1.sql("SHOW wal_segment_size")).toBe("4MB");
        expect(m1.sql("SHOW max_wal_size")).toBe("1GB");
        expect(m1.sql("SHOW data_checksums")).toBe("on");

        await m1.probe.provision(5_000);
        await m1.probe.provision(5_000);
        await m1.probe.checkpoint(20_000);
        expect(await m1.probed("primary")).toMatchObject({ isProvisioned: true, checkpointTimeline: 2 });
      },
      STEP_MS,
    );

    test(
      "clones stream, by certificate, and acknowledge",
      async () => {
        const [second] = await Promise.all([clone(m2, m1, 1), clone(m3, m1, 1)]);
        expect(second.dataDirectory).toMatchObject({ kind: "present", clusterId: CLUSTER_ID });
        expect(second.promises.walEpoch).toBe(epoch(1));
        expect(m2.events.some((event) => event.kind === "progress" && (event.work.totalBytes ?? 0) > 0)).toBe(
          true,
        );
        for (const standby of [m2, m3]) {
          await standby.follow(m1, epoch(1));
          await standby.ask({ kind: "start", epoch: epoch(1) });
        }
        for (const standby of [m2, m3]) {
          expect(await standby.isStreaming()).toMatchObject({
            timeline: 2,
            walReceiver: { upstream: `127.0.0.1:${m1.port}` },
          });
        }
        const settings = m1.settings({ synchronousStandbyNames: { k: 1, names: ["m3", "m2"] } });
        await m1.ask({ kind: "configure", epoch: epoch(1), timelines: NONE, settings });
        await m1.ask({ kind: "reload" });
        const primary = await m1.probed(
          "primary",
          ({ synchronousStandbyNames, standbys }) =>
            synchronousStandbyNames !== "" &&
            standbys.every(({ state, syncState }) => state === "streaming" && syncState === "quorum"),
        );
        expect(primary.synchronousStandbyNames).toBe('ANY 1 ("m2","m3")');
        expect(primary.standbys.map(({ name }) => name)).toEqual(["m2", "m3"]);
        expect(m1.sql("CREATE TABLE kept AS SELECT 1 AS x")).toBe("");
      },
      STEP_MS,
    );

    test("what an earlier life of the member asked for is carried out no more once the next has spoken", async () => {
      const { settingsHash } = await m1.look();
      const eased = m1.settings({ synchronousStandbyNames: { k: 1, names: ["m2"] } });
      const ease = { kind: "configure", epoch: epoch(1), timelines: NONE, settings: eased } as const;
      const asBefore = await m1.nextLife();
      await farm.installCertificates(m1);

      expect(await asBefore(ease)).toMatchObject({ ok: false, code: "unavailable" });
      expect((await m1.look()).settingsHash).toBe(settingsHash);
      expect((await asBefore({ kind: "list-forks" })).ok).toBe(true);
    });

    test("ALTER SYSTEM does not override what is ours, and the base file is left alone", async () => {
      m2.sql("ALTER SYSTEM SET primary_conninfo = 'host=elsewhere'");
      m2.sql("ALTER SYSTEM SET work_mem = '5MB'");
      await m2.follow(m1, epoch(1));
      await m2.ask({ kind: "reload" });
      await until("work_mem is 5MB", async () => (m2.sql("SHOW work_mem") === "5MB" ? true : null));
      expect(m2.sql("SHOW primary_conninfo")).toContain("127.0.0.1");
      expect(readFileSync(join(m2.paths.dataDirectory, "postgresql.conf"), "utf8")).not.toContain(
        "guacamole",
      );
    });

    test("settings that lower the guard of commits are seen", async () => {
      expect(await m1.probed("primary")).not.toHaveProperty("unguarded");
      m1.sql("CREATE ROLE loose; CREATE ROLE strict; CREATE ROLE usual");
      m1.sql("ALTER ROLE loose SET synchronous_commit = 'off'");
      m1.sql("ALTER ROLE strict SET synchronous_commit = 'remote_apply'");
      m1.sql("ALTER ROLE usual SET work_mem = '8MB'");
      m1.sql("ALTER ROLE strict IN DATABASE postgres SET synchronous_commit = 'local'");
      const { unguarded } = await m1.probed("primary", (look) => look.unguarded !== undefined);
      expect(unguarded).toEqual(["role loose", "role strict in database postgres"]);
      m1.sql("DROP ROLE loose; DROP ROLE strict; DROP ROLE usual");
    });

    test("applications do not get in as members, nor members as superusers", () => {
      const key = `sslmode=require sslcert=${m2.paths.certificateFile} sslkey=${m2.paths.keyFile}`;
      const psql = (connection: string): string =>
        Bun.spawnSync(
          [
            join(installation.binDirectory, "psql"),
            "-XAtwc",
            "SELECT current_user",
            `host=127.0.0.1 port=${m1.port} ${connection}`,
          ],
          { env: { PATH: process.env["PATH"] ?? "" } },
        ).stderr.toString();
      expect(psql("user=guacamole_replicator dbname=postgres sslmode=disable")).toContain(
        "rejects connection",
      );
      expect(psql("user=guacamole_replicator dbname=postgres sslmode=require")).toContain(
        "valid client certificate",
      );
      expect(psql(`user=postgres dbname=postgres ${key}`)).toContain("password");
      expect(psql(`user=guacamole_replicator dbname=template1 ${key}`)).toContain("rejects connection");
    });

    test(
      "a pledge survives the supervisor's death, and the old primary acknowledges nothing",
      async () => {
        const pid = (await m2.look()).postmaster?.pid;
        for (const standby of [m2, m3]) await standby.ask({ kind: "pledge", epoch: epoch(1) });
        await m2.endSupervisor("SIGKILL");
        await m2.supervise();
        const look = await m2.look();
        expect(look.postmaster?.pid).toBe(pid);
        expect(look.promises.pledgedEpoch).toBe(epoch(1));
        const again = {
          kind: "configure",
          epoch: epoch(1),
          timelines: NONE,
          settings: m2.settings({ upstream: m1.upstream }),
        } as const;
        expect(await m2.refusal(again)).toBe("pledged");

        for (const standby of [m2, m3]) {
          const seen = await standby.probed("standby", ({ walReceiver }) => walReceiver === null);
          expect(seen.timeline).toBe(2 as TimelineId);
          expect(seen.receivedLsn).toBeGreaterThan(0);
          expect(
            readdirSync(standby.paths.stateDirectory).filter((name) => name.startsWith("upstream-")),
          ).toEqual([]);
        }
        const writing = m1.sqlInBackground("CREATE TABLE unacknowledged AS SELECT 2 AS x");
        const waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        await until("the commit waits", async () => (m1.sql(`SELECT 1 ${waiting}`) === "1" ? true : null));
        expect(m1.sql(`SELECT pg_cancel_backend(pid) ${waiting}`)).toBe("t");
        expect(await writing).toContain("canceling wait for synchronous replication");
      },
      STEP_MS,
    );

    test("the disks are probed", async () => {
      const disks = await until("both were probed", async () => {
        const seen = (await m1.look()).disks ?? [];
        return seen.length > 1 && seen.every(({ lastSyncMs }) => lastSyncMs !== null) ? seen : null;
      });
      expect(disks.map(({ place, isFull }) => ({ place, isFull }))).toEqual([
        { place: "data", isFull: false },
        { place: "state", isFull: false },
      ]);
    });

    test("the death of a postmaster is an event", async () => {
      const pid = (await m1.look()).postmaster?.pid ?? 0;
      process.kill(pid, "SIGKILL");
      const exited = await until(
        "postmaster-exited",
        async () => m1.events.find(({ kind }) => kind === "postmaster-exited") ?? null,
      );
      expect(exited).toMatchObject({ signal: "SIGKILL" });
      const look = await m1.look();
      expect(look.postmaster).toBeNull();
      expect(look.lastExit?.signal).toBe("SIGKILL");
      expect(look.dataDirectory).toMatchObject({ state: "in production", timeline: 2 });
      expect((await m1.probe.look(1_000)).kind).toBe("starting");
    });

    test(
      "only an appointment for a new epoch promotes",
      async () => {
        expect(
          await m2.refusal({ kind: "promote", epoch: epoch(0), timelines: NONE, needsLease: false }),
        ).toBe("stale-epoch");
        expect(
          await m2.refusal({ kind: "promote", epoch: epoch(1), timelines: NONE, needsLease: false }),
        ).toBe("pledged");
        const timelines = [{ timeline: 2 as TimelineId, epoch: epoch(1) }];
        const promoted = await m2.ask({ kind: "promote", epoch: epoch(2), timelines, needsLease: false });
        expect(promoted.promises).toEqual({
          newestEpoch: epoch(2),
          pledgedEpoch: epoch(1),
          walEpoch: epoch(2),
          timelines,
        });
        await m2.probed("primary", ({ timeline }) => timeline === 3);
        expect(
          await m2.refusal({ kind: "configure", epoch: epoch(1), timelines: NONE, settings: m2.settings() }),
        ).toBe("stale-epoch");
        await m2.probe.checkpoint(20_000);

        await m3.follow(m2, epoch(2));
        await m3.ask({ kind: "reload" });
        await m3.isStreaming();
        expect(m2.sql("INSERT INTO kept VALUES (3)")).toBe("");
        await m3.probed("standby", ({ timeline }) => timeline === 3);
        await m3.ask({ kind: "pledge", epoch: epoch(2) });
        const seen = await m3.probed("standby", ({ walReceiver }) => walReceiver === null);
        expect(seen.timeline).toBe(3 as TimelineId);
      },
      STEP_MS,
    );

    test(
      "a primary that crashed and forked off is rewound, and what it forked is kept",
      async () => {
        const fork = (await m2.look()).ancestors.find(({ timeline }) => timeline === 2);
        const forkLsn = fork?.endLsn ?? (0 as Lsn);
        const rewind = {
          kind: "rewind",
          epoch: epoch(2),
          timelines: NONE,
          forkTimeline: 2 as TimelineId,
          forkLsn,
        } as const;
        expect(await m1.refusal({ ...rewind, source: { host: "127.0.0.1", port: 1 } })).toBe(
          "program-failed",
        );
        expect((await m1.look()).needsClone).toBeNull();

        const rewound = await m1.ask({ ...rewind, source: m2.upstream });
        expect(rewound.needsClone).toBeNull();
        expect(rewound.promises.walEpoch).toBe(epoch(2));
        const kept = readdirSync(m1.paths.forkedDirectory);
        expect(kept.length).toBe(1);
        expect(readdirSync(join(m1.paths.forkedDirectory, kept[0] ?? ""))[0]).toStartWith("00000002");
        const [kept2] = await m1.forks();
        expect(kept2).toMatchObject({ timeline: 2, forkLsn, problem: null });
        expect(kept2?.transactions.map(({ kind }) => kind)).toContain("commit");
        expect(kept2?.transactions.every(({ lsn }) => lsn >= forkLsn)).toBe(true);

        // It crashes, and its source is gone before it has sent what the files that were copied need.
        const wal = join(m1.paths.dataDirectory, "pg_wal");
        for (const name of readdirSync(wal).filter((each) => /^00000003[0-9A-F]{16}$/.test(each)))
          rmSync(join(wal, name));
        await m1.ask({ kind: "configure", epoch: epoch(2), timelines: NONE, settings: m1.settings() });
        await m1.ask({ kind: "start", epoch: epoch(2) });
        await m1.probed("starting", ({ detail }) => detail.includes("not yet accepting"));
        const { dataDirectory, ancestorsOf } = await m1.ask({ kind: "look", isStarting: true });
        expect(dataDirectory).toMatchObject({ consistentAt: { timeline: 3 } });
        expect(ancestorsOf).toBe(3 as TimelineId);

        await m1.follow(m2, epoch(2));
        await m1.ask({ kind: "reload" });
        expect((await m1.isStreaming()).timeline).toBe(3 as TimelineId);
        expect(m1.sql("SELECT x FROM kept ORDER BY x")).toBe("1\n3");
        expect(m1.sql("SELECT to_regclass('unacknowledged') IS NULL")).toBe("t");
      },
      STEP_MS,
    );

    test(
      "after an interrupted rewind only a clone mends, and the old directory is kept aside",
      async () => {
        await m1.ask({ kind: "stop", mode: "fast", deadlineMs: 10_000 });
        await m1.endSupervisor("SIGKILL");
        const directory = { kind: "foreign", detail: "half rewound" };
        writeFileSync(
          m1.paths.rewindMarkFile,
          JSON.stringify({ reason: "a rewind was interrupted", directory }),
        );
        await m1.supervise();
        expect((await m1.look()).needsClone).toBe("a rewind was interrupted");
        expect(await m1.refusal({ kind: "start", epoch: epoch(2) })).toBe("unavailable");
        const anew = {
          kind: "clone",
          clusterId: CLUSTER_ID,
          epoch: epoch(2),
          timelines: NONE,
          source: m2.upstream,
        } as const;
        expect(await m1.refusal({ ...anew, replace: null })).toBe("not-empty");

        const cloned = await m1.ask({ ...anew, replace: "a rewind was interrupted" });
        expect(cloned).toMatchObject({ needsClone: null, hasAside: true });
        await m1.follow(m2, epoch(2));
        await m1.ask({ kind: "start", epoch: epoch(2) });
        await m1.isStreaming();
        expect((await m1.ask({ kind: "discard-aside" })).hasAside).toBe(false);
      },
      STEP_MS,
    );

    test(
      "a clone that fails, or that a pledge ends, leaves what was there and nothing else",
      async () => {
        await m3.ask({ kind: "stop", mode: "immediate", deadlineMs: 10_000 });
        const nowhere = { host: "127.0.0.1", port: 1 };
        const before = (await m3.look()).dataDirectory;
        expect(
          await m3.refusal({
            kind: "clone",
            clusterId: CLUSTER_ID,
            epoch: epoch(3),
            timelines: NONE,
            source: nowhere,
            replace: "test",
          }),
        ).toBe("program-failed");
        expect((await m3.look()).dataDirectory).toEqual(before);
        expect(existsSync(m3.paths.cloneWorkDirectory)).toBe(false);

        m3.events.length = 0;
        const cancelled = m3.refusal({
          kind: "clone",
          clusterId: CLUSTER_ID,
          epoch: epoch(3),
          timelines: NONE,
          source: m2.upstream,
          replace: "test",
        });
        await until("the clone began", async () => m3.events.find(({ kind }) => kind === "progress") ?? null);
        await m3.ask({ kind: "pledge", epoch: epoch(3) });
        expect(await cancelled).toBe("unavailable");
        expect((await m3.look()).dataDirectory).toEqual(before);
        expect(existsSync(m3.paths.cloneWorkDirectory)).toBe(false);
      },
      STEP_MS,
    );

    test(
      "PostgreSQL outlives its supervisor, is watched by the next one, and a frozen one is ended",
      async () => {
        const before = (await m2.look()).postmaster;
        await m2.endSupervisor("SIGTERM");
        await m2.supervise();
        expect((await m2.look()).postmaster?.pid).toBe(before?.pid);
        expect((await m2.probe.look(2_000)).kind).toBe("primary");

        expect(before).toMatchObject({ state: "running" });
        expect(before?.startTicks).toBeGreaterThan(0);
        process.kill(before?.pid ?? 0, "SIGSTOP");
        await until("it is seen stopped", async () => {
          const { postmaster } = await m2.look();
          return postmaster?.state === "stopped" ? true : null;
        });
        const stopped = await m2.ask({ kind: "stop", mode: "immediate", deadlineMs: 300 });
        expect(stopped.postmaster).toBeNull();
        expect(m2.events.at(-1)?.kind).toBe("postmaster-exited");
        const log = readFileSync(m2.paths.supervisorLogFile, "utf8");
        expect(log).toContain("supervisor.stop.escalated");
      },
      STEP_MS,
    );
  },
);
