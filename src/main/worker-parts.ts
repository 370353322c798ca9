/** How the worker's parts are wired to what they all stand on: Raft, the store, the network, the clock. */
import { dirname } from "node:path";
import type { LogIndex, MemberId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import { featureLevelOf } from "../cluster/state.ts";
import type { HostReport } from "../peer/status-codec.ts";
import type { PeerTransport } from "../peer/transport.ts";
import type { NodeStatus, RaftNode } from "../raft/node.ts";
import type { StoreIdentity } from "../store/identity.ts";
import type { SqliteLogStore } from "../store/sqlite-log-store.ts";
import type { GuardedStore } from "./guarded-store.ts";
import type { Lateness } from "./lateness.ts";
import { LeaderWatch } from "./leader-watch.ts";
import type { ProposalDesk } from "./proposal-desk.ts";
import { Proposals } from "./proposals.ts";
import { Reads } from "./reads.ts";
import { SnapshotTraffic } from "./snapshot-traffic.ts";
import { StatusExchange } from "./status-exchange.ts";
import { newId } from "./system-random.ts";
import {
  DIVERGED_METHOD,
  formatProposal,
  PROPOSE_METHOD,
  parseAcceptance,
  parseIndex,
  READ_INDEX_METHOD,
} from "./worker-calls.ts";

export interface WorkerCore {
  readonly databasePath: string;
  readonly identity: StoreIdentity;
  readonly store: SqliteLogStore;
  readonly guarded: GuardedStore;
  readonly transport: PeerTransport;
  readonly lateness: Lateness;
  readonly log: Log;
  nowMs(): number;
  /** Another one after the cluster's timing changed. */
  node(): RaftNode;
  /** As last reported. */
  raft(): NodeStatus;
  heartbeatMs(): number;
  /** What Raft was told is carried out soon. */
  planTurn(): void;
  /** What Raft was told is carried out now. */
  turn(): void;
  /** Carries a step out, unless the worker has ended. Whatever it throws ends the worker. */
  guard(step: () => void): void;
  /** The same, for whoever needs the answer. */
  orFail<Result>(step: () => Result): Result;
  endDiverged(index: LogIndex): void;
}

/** Whoever is told that its state differs answers at once, or not. */
const ACCUSE_MS = 2000;

export function makeExchange(core: WorkerCore): StatusExchange {
  const { store, transport } = core;
  const selfId = core.identity.memberId;
  return new StatusExchange({
    selfId,
    nowMs: () => core.nowMs(),
    leaderId: () => core.raft().leaderId,
    otherIds: () => (store.state?.members ?? []).map(({ id }) => id).filter((id) => id !== selfId),
    host: () => hostOf(core),
    isConnected: (id) => transport.isConnected(id),
    sendStatus: (to, status) => transport.sendStatus(to, status),
    sendDigest: (to, digest) => transport.sendDigest(to, digest),
  });
}

export function makeProposals(core: WorkerCore, desk: ProposalDesk): Proposals {
  const { store, transport } = core;
  return new Proposals({
    nowMs: () => core.nowMs(),
    leader: () => leaderOf(core),
    proposeHere: (data) => desk.take(data),
    proposeThere: async (leader, data, deadlineMs) =>
      parseAcceptance(await transport.call(leader, PROPOSE_METHOD, formatProposal(data), deadlineMs)),
    featureLevel: () => (store.state === null ? 1 : featureLevelOf(store.state)),
    newClientId: newId,
  });
}

export function makeReads(core: WorkerCore): Reads {
  return new Reads({
    leader: () => leaderOf(core),
    appliedIndex: () => core.store.appliedIndex,
    readHere: (id) => {
      const answer = core.orFail(() => core.node().readIndex(id));
      core.planTurn();
      return answer.ok ? null : `the leader cannot say what is agreed (${answer.reason})`;
    },
    readThere: async (leader, deadlineMs) => {
      const index = parseIndex(await core.transport.call(leader, READ_INDEX_METHOD, null, deadlineMs));
      if (index === null) throw new Error("the leader did not say what is agreed");
      return index;
    },
  });
}

export function makeSnapshots(core: WorkerCore): SnapshotTraffic {
  const { identity, store, transport, log } = core;
  return new SnapshotTraffic({
    dataDirectory: dirname(core.databasePath),
    clusterId: identity.clusterId,
    store,
    transport,
    log,
    nowMs: () => core.nowMs(),
    raft: () => core.raft(),
    soon: (step) => setImmediate(() => core.guard(step)),
    reportSnapshot: (to) => {
      core.node().reportSnapshot(to);
      core.planTurn();
    },
    install: (from, { term, meta }, path) =>
      core.guard(() => {
        const message = { type: "snapshot", from, to: identity.memberId, term, meta } as const;
        core.node().receiveSnapshot(message, path);
        core.turn();
      }),
  });
}

export function makeWatch(core: WorkerCore, exchange: StatusExchange): LeaderWatch {
  const { guarded, lateness, log, store, transport } = core;
  return new LeaderWatch({
    selfId: core.identity.memberId,
    log,
    nowMs: () => core.nowMs(),
    heartbeatMs: () => core.heartbeatMs(),
    own: () => ({
      ...hostOf(core),
      slowCommits: guarded.commits.slowCount(core.nowMs()),
      lateSinceMs: lateness.lateSinceMs,
    }),
    health: () => exchange.health,
    hashes: () => exchange.hashes,
    hashAt: (index) => store.stateHashAt(index),
    handOver: (to) => {
      const answer = core.node().transferLeadership(to);
      core.planTurn();
      return answer.ok ? null : answer.reason;
    },
    accuse: (memberId, index, hash) => {
      transport.call(memberId, DIVERGED_METHOD, { index, hash }, ACCUSE_MS).catch((error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        log.warn("state.not-told", { memberId, reason });
      });
    },
    endSelf: (index) => core.endDiverged(index),
  });
}

function hostOf({ guarded, lateness, nowMs, store }: WorkerCore): HostReport {
  return {
    commitWorstMs: guarded.commits.worstMs(nowMs()),
    latenessMs: lateness.p99Ms(nowMs()),
    isDiskFull: guarded.isFull,
    stateHash: store.stateHash(),
  };
}

/** Null: we lead. `undefined`: nobody is known to. */
function leaderOf(core: WorkerCore): MemberId | null | undefined {
  const { role, leaderId } = core.raft();
  return role === "leader" ? null : (leaderId ?? undefined);
}
