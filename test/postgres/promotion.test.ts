/** A promotion takes time: what if the reign ends meanwhile, or the supervisor? */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { TimelineEpoch } from "../../src/cluster/observation.ts";
import { postgresProcessesIn, processTitle, signalProcess } from "../../src/supervisor/process-table.ts";
import { CLUSTER_ID, epoch, PostgresFarm, type TestServer, until } from "../support/postgres-farm.ts";
import { postgresMajors } from "../support/postgres-majors.ts";

const NONE: readonly TimelineEpoch[] = [];
const STEP_MS = 60_000;

/** The process that replays WAL, and that a promotion waits for. */
function startupProcess({ paths }: TestServer): number {
  const found = postgresProcessesIn(paths.dataDirectory).find((pid) =>
    processTitle(pid)?.includes("startup"),
  );
  if (found === undefined) throw new Error("no startup process");
  return found;
}

describe.each(postgresMajors().map((installation) => [installation.major, installation] as const))(
  "PostgreSQL %d",
  (_major, installation) => {
    let farm: PostgresFarm;
    let m1: TestServer;

    beforeAll(async () => {
      farm = await PostgresFarm.create(installation);
      m1 = await farm.add("m1");
      const options = { encoding: "UTF8", locale: "C.UTF-8", walSegmentMb: 4 };
      await m1.ask({ kind: "initdb", clusterId: CLUSTER_ID, options });
      await farm.installCertificates(m1);
      await m1.ask({ kind: "configure", epoch: epoch(1), timelines: NONE, settings: m1.settings() });
    }, STEP_MS);

    afterAll(() => farm.remove(), STEP_MS);

    test(
      "the next supervisor knows which server was told to promote, and a pledge ends it before it reigns (F5)",
      async () => {
        await m1.ask({ kind: "start", epoch: epoch(1) });
        await m1.probed("standby");
        expect((await m1.look()).postmaster?.isPromoted).toBe(false);
        // It replays for long: the promotion does not come true.
        signalProcess(startupProcess(m1), "SIGSTOP");
        await m1.ask({ kind: "promote", epoch: epoch(1), timelines: NONE, needsLease: false });
        expect((await m1.look()).postmaster?.isPromoted).toBe(true);

        await m1.endSupervisor("SIGKILL");
        await m1.supervise();
        expect((await m1.look()).postmaster?.isPromoted).toBe(true);

        // What it writes once it is open would count as of the reign that it follows (F2).
        const upstream = { host: "127.0.0.1", port: 1 };
        const follow = { ...m1.settings(), upstream };
        const request = { kind: "configure", epoch: epoch(2), timelines: NONE, settings: follow } as const;
        expect(await m1.refusal(request)).toBe("running");
        expect((await m1.look()).promises.walEpoch).toBe(epoch(1));

        const pledged = await m1.ask({ kind: "pledge", epoch: epoch(1) });
        expect(pledged.promises.pledgedEpoch).toBe(epoch(1));
        expect(pledged.postmaster).toBeNull();
        expect((await m1.look()).hasStandbySignal).toBe(true);
      },
      STEP_MS,
    );

    test(
      "a standby that was told nothing goes on through a pledge, and another start is another server",
      async () => {
        const settings = m1.settings();
        await m1.ask({ kind: "configure", epoch: epoch(2), timelines: NONE, settings });
        await m1.ask({ kind: "start", epoch: epoch(2) });
        await m1.probed("standby");
        const before = await m1.look();
        expect(before.postmaster?.isPromoted).toBe(false);
        const pledged = await m1.ask({ kind: "pledge", epoch: epoch(2) });
        expect(pledged.postmaster?.pid).toBe(before.postmaster?.pid ?? 0);
      },
      STEP_MS,
    );

    test(
      "one that was opened does not outlive a pledge either",
      async () => {
        await m1.ask({ kind: "promote", epoch: epoch(3), timelines: NONE, needsLease: false });
        await m1.probed("primary");
        const pledged = await m1.ask({ kind: "pledge", epoch: epoch(3) });
        expect(pledged.postmaster).toBeNull();
        await until("SQL is not answered", async () => {
          return (await m1.probe.look(1_000)).kind === "starting" ? true : null;
        });
      },
      STEP_MS,
    );
  },
);
