import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { TimelineEpoch } from "../../src/cluster/observation.ts";
import { hostTime } from "../../src/supervisor/host-time.ts";
import { CLUSTER_ID, epoch, PostgresFarm, type TestServer, until } from "../support/postgres-farm.ts";
import { postgresMajors } from "../support/postgres-majors.ts";

const NONE: readonly TimelineEpoch[] = [];
const STEP_MS = 60_000;
const LEASE_MS = 3_000;
const STUB_MEMBER = resolve(import.meta.dir, "../support/stub-member.ts");
const host = hostTime();

/** Renews a server's lease, as a member with a good leader does, until it is told to stop. */
class Renewal {
  readonly #server: TestServer;
  readonly #epoch: number;
  #isWanted = true;
  #untilMs = 0;
  #ended: Promise<void>;

  constructor(server: TestServer, at: number) {
    this.#server = server;
    this.#epoch = at;
    this.#ended = this.#run();
  }

  /** @returns the end of the lease that stands, on the host's time. */
  async stop(): Promise<number> {
    this.#isWanted = false;
    await this.#ended;
    return this.#untilMs;
  }

  async #run(): Promise<void> {
    while (this.#isWanted) {
      this.#untilMs = await extend(this.#server, this.#epoch);
      await Bun.sleep(LEASE_MS / 12);
    }
  }
}

/** @returns the end of what was asked for. */
async function extend(server: TestServer, at: number, agoMs = 0): Promise<number> {
  const stampMs = ((await server.look()).stampMs ?? 0) - agoMs;
  await server.ask({ kind: "extend-lease", epoch: epoch(at), stampMs, durationMs: LEASE_MS });
  return stampMs + LEASE_MS;
}

async function promote(server: TestServer, at: number): Promise<void> {
  await server.ask({ kind: "promote", epoch: epoch(at), timelines: NONE, needsLease: true });
  await server.probed("primary");
}

async function standBy(server: TestServer, at: number): Promise<void> {
  await server.ask({ kind: "configure", epoch: epoch(at), timelines: NONE, settings: server.settings() });
  await server.ask({ kind: "start", epoch: epoch(at) });
  await server.probed("standby");
}

function isGone(server: TestServer): Promise<true> {
  return until(`${server.name} has ended`, async () =>
    (await server.look()).postmaster === null ? true : null,
  );
}

/** One story per major: each test goes on where the one before it ended. */
describe.each(postgresMajors().map((installation) => [installation.major, installation] as const))(
  "PostgreSQL %d under a lease",
  (_major, installation) => {
    let farm: PostgresFarm;
    let m1: TestServer;
    let m2: TestServer;

    beforeAll(async () => {
      farm = await PostgresFarm.create(installation);
      [m1, m2] = await Promise.all([farm.add("m1"), farm.add("m2")]);
      for (const server of [m1, m2]) await farm.installCertificates(server);
      await m1.ask({
        kind: "initdb",
        clusterId: CLUSTER_ID,
        options: { encoding: "UTF8", locale: "C.UTF-8" },
      });
      await standBy(m1, 1);
    }, STEP_MS);

    afterAll(() => farm.remove(), STEP_MS);

    test(
      "nobody reigns without one, nor under one that is over, of another epoch, or of the future",
      async () => {
        const refused = () =>
          m1.refusal({ kind: "promote", epoch: epoch(1), timelines: NONE, needsLease: true });
        expect(await refused()).toBe("no-lease");
        await extend(m1, 1, LEASE_MS);
        expect((await m1.look()).lease).toBeNull();
        await extend(m1, 1, -60_000);
        expect((await m1.look()).lease).toBeNull();
        expect(await refused()).toBe("no-lease");
        await extend(m1, 2);
        expect((await m1.look()).lease?.epoch).toBe(epoch(2));
        expect(await refused()).toBe("no-lease");
      },
      STEP_MS,
    );

    test(
      "at its end PostgreSQL stops cleanly, the standby has every byte, and nothing is acknowledged after",
      async () => {
        const renewal = new Renewal(m1, 3);
        await until("there is a lease", async () => (await m1.look()).lease ?? null);
        await promote(m1, 3);
        await m1.probe.provision(5_000);
        await m2.ask({
          kind: "clone",
          clusterId: CLUSTER_ID,
          epoch: epoch(3),
          timelines: NONE,
          source: m1.upstream,
          replace: null,
        });
        await m2.follow(m1, epoch(3));
        await m2.ask({ kind: "start", epoch: epoch(3) });
        await m2.isStreaming();
        m1.sql("CREATE TABLE kept (x int)");
        const script = join(m1.socketDirectory, "writes.sql");
        const writes = Array.from(
          { length: 400_000 },
          (_, n) => `INSERT INTO kept VALUES (${n}) RETURNING x;`,
        );
        writeFileSync(script, writes.join("\n"));
        const writing = m1.sqlInBackground(`\\i ${script}`);
        await until("it writes", async () =>
          Number(m1.sql("SELECT count(*) FROM kept")) > 100 ? true : null,
        );

        const untilMs = await renewal.stop();
        await until(
          "the lease ended",
          async () =>
            m1.events.find((event) => event.kind === "lease-ended" && event.epoch === epoch(3)) ?? null,
        );
        expect(host.nowMs()).toBeLessThan(untilMs);
        const look = await m1.look();
        expect(look).toMatchObject({ postmaster: null, lease: null });
        expect(look.dataDirectory).toMatchObject({ state: "shut down" });
        expect(existsSync(m1.paths.leaseFile)).toBe(false);
        const acknowledged = (await writing).split("\n").filter((line) => /^\d+$/.test(line)).length;
        expect(acknowledged).toBeGreaterThan(100);
        expect(Number(m2.sql("SELECT count(*) FROM kept"))).toBeGreaterThanOrEqual(acknowledged);
      },
      STEP_MS,
    );

    test(
      "a lease that is released holds nobody",
      async () => {
        await standBy(m1, 4);
        await extend(m1, 4);
        await promote(m1, 4);
        await m1.ask({ kind: "release-lease", epoch: epoch(4) });
        expect((await m1.look()).lease).toBeNull();
        await Bun.sleep(LEASE_MS + 200);
        expect((await m1.look()).postmaster).not.toBeNull();
      },
      STEP_MS,
    );

    test(
      "a reign without one can be put under one, and a killed supervisor's successor holds PostgreSQL to it",
      async () => {
        await extend(m1, 4);
        expect((await m1.look()).lease?.epoch).toBe(epoch(4));
        await m1.endSupervisor("SIGKILL");
        await m1.supervise();
        expect((await m1.look()).postmaster).not.toBeNull();
        await isGone(m1);
        expect(readFileSync(m1.paths.supervisorLogFile, "utf8")).toContain("supervisor.lease.found");
      },
      STEP_MS,
    );

    test(
      "a supervisor that comes after the end ends PostgreSQL at once",
      async () => {
        await standBy(m1, 5);
        const untilMs = await extend(m1, 5);
        await promote(m1, 5);
        await m1.endSupervisor("SIGKILL");
        await until("the lease is over", async () => (host.nowMs() > untilMs ? true : null));
        expect((await m1.probe.look(2_000)).kind).toBe("primary");
        await m1.supervise();
        await isGone(m1);
      },
      STEP_MS,
    );

    test(
      "a supervisor that is told to end does so once the next one is there, or PostgreSQL is not",
      async () => {
        await standBy(m1, 6);
        await extend(m1, 6);
        await promote(m1, 6);
        process.kill(m1.supervisorPid ?? 0, "SIGTERM");
        await m1.supervise();
        const { postmaster } = await m1.look();
        expect(postmaster).not.toBeNull();
        await extend(m1, 6);
        await m1.endSupervisor("SIGTERM");
        // The process, not its file: one that had to be killed leaves that behind.
        expect(existsSync(`/proc/${postmaster?.pid}/exe`)).toBe(false);
        await m1.supervise();
      },
      STEP_MS,
    );

    test(
      "after a pledge the lease does not stand any more, and its end still ends PostgreSQL",
      async () => {
        await standBy(m1, 7);
        await extend(m1, 7);
        await promote(m1, 7);
        await m1.ask({ kind: "pledge", epoch: epoch(7) });
        const stampMs = (await m1.look()).stampMs ?? 0;
        expect((await m1.look()).lease).toBeNull();
        const extension = { kind: "extend-lease", epoch: epoch(7), stampMs, durationMs: LEASE_MS } as const;
        expect(await m1.refusal(extension)).toBe("pledged");
        await isGone(m1);
      },
      STEP_MS,
    );

    test(
      "a member that is frozen or dead is replaced before the lease ends",
      async () => {
        await standBy(m1, 8);
        const member = m1.spawnAsOwner([
          process.execPath,
          STUB_MEMBER,
          ...["--socket", m1.paths.socketFile, "--epoch", "8", "--lease-ms", String(LEASE_MS)],
        ]);
        const memberPids = () => member.output().match(/member (\d+)/g) ?? [];
        await until("there is a lease", async () => (await m1.look()).lease ?? null);
        await promote(m1, 8);
        const { postmaster } = await m1.look();
        // From here on this test is silent: what it asks would be heard as the member's words.
        for (const [count, signal] of [
          [2, "SIGSTOP"],
          [3, "SIGKILL"],
        ] as const) {
          process.kill(Number(memberPids().at(-1)?.split(" ")[1]), signal);
          await until(`member ${count}`, async () => (memberPids().length === count ? true : null));
        }
        await Bun.sleep(LEASE_MS);
        expect(await m1.look()).toMatchObject({ postmaster, lease: { epoch: epoch(8) } });
        // In this order: what reigns no longer needs no member.
        await m1.ask({ kind: "stop", mode: "immediate", deadlineMs: 5_000 });
        process.kill(Number(memberPids().at(-1)?.split(" ")[1]), "SIGKILL");
        member.end();
      },
      STEP_MS,
    );
  },
);
