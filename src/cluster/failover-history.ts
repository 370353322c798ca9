/** Every change of the primary, as it is remembered: begun with the fence, told on by each phase. From feature level 3 on. */
import type { ChangeOf } from "./applied.ts";
import type { Command } from "./command.ts";
import {
  type ClusterState,
  type FailoverPhase,
  type FailoverRecord,
  featureLevelOf,
  memberName,
  type Reign,
} from "./state.ts";

const FAILOVERS_MAX = 50;

/** The record of the reign that is being ended begins. */
export function beginFailover(
  state: ClusterState,
  command: Command,
  reign: Reign,
  change: Pick<ChangeOf<"fence">, "reason" | "evidence" | "detectionMs">,
): ClusterState {
  if (featureLevelOf(state) < 3) return state;
  const failovers = state.failovers ?? [];
  const record: FailoverRecord = {
    number: (failovers.at(-1)?.number ?? 0) + 1,
    kind: kindOf(state, command),
    epoch: reign.epoch,
    nextEpoch: null,
    from: memberName(state, reign.primaryId),
    to: null,
    reason: change.reason,
    by: command.by,
    evidence: change.evidence ?? [],
    atMs: command.atMs,
    detectionMs: change.detectionMs ?? null,
    phases: [],
    positions: [],
    passedOver: [],
    loss: null,
  };
  return { ...state, failovers: [...failovers.slice(1 - FAILOVERS_MAX), record] };
}

function kindOf(state: ClusterState, command: Command): FailoverRecord["kind"] {
  if (state.switchover !== null) return "switchover";
  return command.by === "leader" ? "automatic" : "manual";
}

/** The successor is appointed: `appointed` is the state in which it reigns. */
export function tellAppointment(
  appointed: ClusterState,
  command: Command,
  change: ChangeOf<"appoint">,
): ClusterState {
  const record = appointed.failovers?.findLast(({ epoch }) => epoch === change.previousEpoch);
  if (record === undefined || appointed.reign === null) return appointed;
  const afterMs = change.sinceFenceMs ?? command.atMs - record.atMs;
  const told: FailoverRecord = {
    ...record,
    nextEpoch: appointed.reign.epoch,
    to: memberName(appointed, change.memberId),
    positions: change.positions ?? [],
    passedOver: change.passedOver.map(({ memberId, reason }) => ({
      member: memberName(appointed, memberId),
      reason,
    })),
    loss: change.loss ?? null,
    phases: [{ phase: "revoked", afterMs }],
  };
  return withRecord(appointed, told);
}

/** The reign of `epoch` has come this far. Told once: a phase that stands already is left as it is. */
export function tellPhase(
  state: ClusterState,
  command: Command,
  told: {
    readonly epoch: Reign["epoch"];
    readonly phase: FailoverPhase;
    readonly sinceFenceMs?: number | null;
  },
): ClusterState {
  const record = recordOf(state, told.epoch);
  if (record === undefined || hasPhase(record, told.phase)) return state;
  const afterMs = told.sinceFenceMs ?? command.atMs - record.atMs;
  return withRecord(state, { ...record, phases: [...record.phases, { phase: told.phase, afterMs }] });
}

/** How the reign of `epoch` began, where that was a change of the primary. */
export function recordOf(state: ClusterState, epoch: Reign["epoch"]): FailoverRecord | undefined {
  return state.failovers?.findLast(({ nextEpoch }) => nextEpoch === epoch);
}

/** Whether this phase was told already. */
export function hasPhase(record: FailoverRecord, phase: FailoverPhase): boolean {
  return record.phases.some((each) => each.phase === phase);
}

function withRecord(state: ClusterState, record: FailoverRecord): ClusterState {
  const failovers = state.failovers?.map((each) => (each.number === record.number ? record : each));
  return failovers === undefined ? state : { ...state, failovers };
}
