import { expect, test } from "bun:test";
import { lookAt } from "../../../src/agent/look.ts";
import type { LocalPostgres, ProbeLook } from "../../../src/agent/ports.ts";
import type { SupervisorLook } from "../../../src/supervisor/protocol.ts";
import { clusterState, epoch, lsn, primary, promises, standby, timeline } from "../../support/situation.ts";

const LOOK: SupervisorLook = {
  postgresVersion: "18.0",
  dataDirectory: {
    kind: "present",
    clusterId: clusterState().clusterId,
    systemIdentifier: "7",
    timeline: timeline(2),
    checkpointLsn: lsn(60),
    state: "shut down in recovery",
  },
  postmaster: { pid: 4711, startedAtMs: 0, state: "running" },
  promises: promises(),
  work: null,
  settingsHash: null,
  needsClone: null,
  ancestors: [],
  ancestorsOf: timeline(2),
  lastExit: null,
  hasAside: false,
  hasStandbySignal: true,
  stampMs: 1,
  lease: null,
  disks: [],
};

function local(look: SupervisorLook | Error, probe: ProbeLook = standby()): LocalPostgres {
  return {
    supervisor: {
      request: async () => {
        if (look instanceof Error) throw look;
        return { ok: true, look };
      },
      onEvent: () => () => {},
    },
    probe: {
      look: async () => probe,
      provision: async () => {},
      checkpoint: async () => {},
      check: async () => ({ connection: "works", write: "unknown", detail: null }),
    },
    settings: { listenAddresses: "", port: 1, socketDirectory: "" },
    hashSettings: () => "",
  };
}

const never = () => ({ synchronous: { names: "", sinceLsn: lsn(0) }, standbys: [], commitWaitMs: null });

test("lookAt() takes SQL's word while a postmaster runs", async () => {
  expect((await lookAt(local(LOOK), never)).postgres).toEqual(standby());
});

test("lookAt() takes the control file's word where none runs", async () => {
  const { postgres } = await lookAt(local({ ...LOOK, postmaster: null }), never);
  expect(postgres).toMatchObject({ kind: "stopped", systemIdentifier: "7", isClean: true });
});

test("lookAt() says that nothing is known, and why, without a supervisor", async () => {
  const { postgres } = await lookAt(local(new Error("nobody there")), never);
  expect(postgres).toEqual({ kind: "unknown", detail: "nobody there" });
});

test("lookAt() believes nothing of a directory that is being rewound", async () => {
  const work = { kind: "rewind", phase: "copying", doneBytes: null, totalBytes: null } as const;
  const torn = { kind: "foreign", detail: "no marker" } as const;
  const { postgres } = await lookAt(local({ ...LOOK, postmaster: null, dataDirectory: torn, work }), never);
  expect(postgres).toEqual({ kind: "starting", detail: "rewind: copying" });
});

test("lookAt() never tells the history of the timeline before a promotion as that of the one after", async () => {
  const { synchronous, ancestors: _, ...seen } = primary(1, [], { timeline: timeline(3) });
  const probe: ProbeLook = { ...seen, synchronousStandbyNames: synchronous.names, waitingCommits: [] };
  const before: SupervisorLook = { ...LOOK, ancestors: [{ timeline: timeline(1), endLsn: lsn(10) }] };
  const after: SupervisorLook = {
    ...LOOK,
    stampMs: 2,
    promises: promises({ newestEpoch: epoch(4), walEpoch: epoch(4) }),
    ancestorsOf: timeline(3),
    ancestors: [...before.ancestors, { timeline: timeline(2), endLsn: lsn(20) }],
  };
  const lookTwice = async (...looks: SupervisorLook[]) => {
    const left = [...looks];
    const postgres = local(before, probe);
    const supervisor = {
      ...postgres.supervisor,
      request: async () => ({ ok: true, look: left.shift() ?? before }) as const,
    };
    return lookAt({ ...postgres, supervisor }, never);
  };
  const seenAfter = { kind: "primary", ancestors: after.ancestors } as const;
  expect((await lookTwice(before, after)).postgres).toMatchObject(seenAfter);
  expect((await lookTwice(after)).postgres).toMatchObject(seenAfter);
  const underWay = { kind: "starting", detail: "the promotion is under way" } as const;
  expect((await lookTwice(before, before)).postgres).toEqual(underWay);
  // By the promises from before it, this primary was never appointed, and its own member would stop it.
  const { promises: promised, stampMs } = await lookTwice(before, after);
  expect(promised.walEpoch).toBe(epoch(4));
  // A lease counts from the beginning of the look.
  expect(stampMs).toBe(1);
});
