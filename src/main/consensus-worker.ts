/**
 * Everything that consensus needs, in one thread of its own: Raft, its clock, its disk, its sockets. The main thread may
 * hang for seconds, and heartbeats still go out.
 *
 * Whatever comes in during a turn of the event loop is only told to Raft; at the end of the turn it is made durable in
 * one transaction, sent, and reported to the main thread. This file wires the parts and turns the wheel; what each part
 * does stands beside it.
 */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import type { LogIndex, MemberId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import { apply } from "../cluster/apply.ts";
import { DEFAULT_SPEC, type Timing } from "../cluster/spec.ts";
import { PeerTransport } from "../peer/transport.ts";
import type { Message } from "../raft/engine/message.ts";
import { type NodeStatus, RaftNode } from "../raft/node.ts";
import type { Applied } from "../raft/ports.ts";
import { ballastPathOf, makeBallast } from "../store/ballast.ts";
import { commandReply } from "../store/command-reply.ts";
import { openDatabase } from "../store/database.ts";
import { type StoreIdentity, verifyIdentity } from "../store/identity.ts";
import { SqliteLogStore } from "../store/sqlite-log-store.ts";
import { DiskFullError, StoreError } from "../store/store-error.ts";
import { ConfigWish } from "./config-wish.ts";
import { GuardedStore } from "./guarded-store.ts";
import { IncomingCalls } from "./incoming-calls.ts";
import type { LeaderWatch } from "./leader-watch.ts";
import { peersOf } from "./peer-list.ts";
import { ProposalDesk } from "./proposal-desk.ts";
import type { Proposals } from "./proposals.ts";
import type { Reads } from "./reads.ts";
import { removalMessage, whyRemoved, writeRemovalNote } from "./removal-note.ts";
import { seededRandom } from "./seeded-random.ts";
import type { SnapshotTraffic } from "./snapshot-traffic.ts";
import type { StatusExchange } from "./status-exchange.ts";
import { type StepDownPorts, stepDownThen } from "./step-down.ts";
import { type DueTicks, type TickMode, type TickTiming, ticksOf } from "./tick-schedule.ts";
import { Waker } from "./waker.ts";
import { WorkerNews } from "./worker-news.ts";
import {
  makeExchange,
  makeProposals,
  makeReads,
  makeSnapshots,
  makeWatch,
  type WorkerCore,
} from "./worker-parts.ts";
import {
  EXIT_CONSENSUS_BROKEN,
  EXIT_DISK_FAILED,
  EXIT_DISK_FULL,
  EXIT_DIVERGED,
  type FromWorker,
  type ToWorker,
  type WorkerStart,
} from "./worker-protocol.ts";
import { WorkerQuestions } from "./worker-questions.ts";

/** What stays in the log of a member whose disk is full: whoever is further behind gets a snapshot. */
const TRAILING_ON_FULL_DISK = 64;

export interface WorkerPorts {
  post(message: FromWorker): void;
  /** Monotonic, of this thread. */
  nowMs(): number;
  /** Ends the process although the main thread does not react. */
  killProcess(): void;
}

export class ConsensusWorker {
  readonly #start: WorkerStart;
  readonly #ports: WorkerPorts;
  readonly #log: Log;
  readonly #identity: StoreIdentity;
  readonly #store: SqliteLogStore;
  readonly #guarded: GuardedStore;
  readonly #transport: PeerTransport;
  readonly #exchange: StatusExchange;
  readonly #desk: ProposalDesk;
  readonly #proposals: Proposals;
  readonly #reads: Reads;
  readonly #wish = new ConfigWish();
  readonly #snapshots: SnapshotTraffic;
  readonly #incoming: IncomingCalls;
  readonly #news: WorkerNews;
  readonly #watch: LeaderWatch;
  readonly #waker: Waker;
  readonly #questions: WorkerQuestions;
  #node: RaftNode;
  #timing: Timing;
  #ticks: TickTiming;
  #raft: NodeStatus;
  #leadingSinceMs: number | null = null;
  #leaderHeardAtMs: number;
  #isTurnPlanned = false;
  #isLeaving = false;
  #isEnded = false;

  /**
   * Opens the database and reads the log.
   *
   * @throws {StoreError} if the database is not usable, or not this member's.
   */
  constructor(start: WorkerStart, ports: WorkerPorts, log: Log) {
    this.#start = start;
    this.#ports = ports;
    this.#log = log;
    const removed = whyRemoved(start.databasePath);
    if (removed !== null) throw new StoreError(removed);
    const database = openDatabase(start.databasePath);
    const identity = verifyIdentity(database);
    if (identity === null) {
      database.close();
      throw new StoreError(`${start.databasePath} belongs to no member yet: form or join first`);
    }
    this.#identity = identity;
    this.#store = new SqliteLogStore(database, { apply });
    const nowMs = ports.nowMs();
    this.#waker = this.#makeWaker();
    this.#leaderHeardAtMs = nowMs;
    this.#guarded = new GuardedStore({
      store: this.#store,
      freeBallast: () => this.#store.freeBallast(),
      makeBallast: () => {
        makeBallast(start.databasePath);
        return existsSync(ballastPathOf(start.databasePath));
      },
      nowMs: () => this.#ports.nowMs(),
      log,
    });
    this.#transport = this.#makeTransport();
    const core = this.#asCore();
    this.#exchange = makeExchange(core);
    this.#incoming = new IncomingCalls((requestId, from, method, payload) =>
      this.#ports.post({ type: "incoming", requestId, from, method, payload }),
    );
    this.#timing = this.#store.state?.spec.timing ?? DEFAULT_SPEC.timing;
    this.#ticks = ticksOf(this.#timing);
    this.#snapshots = makeSnapshots(core);
    this.#node = this.#makeNode();
    this.#raft = this.#node.status();
    this.#desk = new ProposalDesk({
      state: () => this.#store.state,
      isDiskFull: () => this.#guarded.isFull,
      propose: (data) => this.#orFail(() => this.#node.propose([data])),
    });
    this.#proposals = makeProposals(core, this.#desk);
    this.#reads = makeReads(core);
    this.#news = new WorkerNews({
      post: (message) => this.#ports.post(message),
      nowMs: () => this.#ports.nowMs(),
      state: () => this.#store.state,
      stateHash: () => this.#store.stateHash(),
      appliedIndex: () => this.#store.appliedIndex,
      isDiskFull: () => this.#guarded.isFull,
      board: this.#exchange.board,
    });
    this.#watch = makeWatch(core, this.#exchange);
    this.#questions = this.#makeQuestions();
  }

  /** Opens the peer port and begins to take part. Rejects if the port is not to be had. */
  async run(): Promise<void> {
    const port = await this.#transport.listen();
    this.#ports.post({ type: "listening", port });
    this.#connectPeers();
    this.#guard(() => {
      this.#node.campaign();
      this.#turn();
      this.#postRaft();
      this.#waker.sleep();
    });
  }

  /** What the main thread asks. `clock` and `start` are answered by whoever made this object. */
  receive(message: ToWorker): void {
    this.#guard(() => this.#questions.fromMain(message));
  }

  // --- Time -------------------------------------------------------------------------------------------------------

  #wake({ ticks, lostTicks }: DueTicks): void {
    for (let tick = 1; tick <= ticks; tick += 1) this.#node.tick(tick === ticks ? 1 + lostTicks : 1);
    this.#turn();
    this.#snapshots.look();
    if (this.#guarded.lookForRoom()) this.#postRaft();
    if (this.#leadingSinceMs !== null) {
      const status = this.#node.status();
      this.#watch.look(status, this.#leadingSinceMs);
      if (this.#news.hasNewsOfFollowers(status)) this.#postRaft();
    }
    this.#waker.sleep();
  }

  #mode(): TickMode {
    if (this.#raft.role === "leader") return "leading";
    const quietMs = this.#ports.nowMs() - this.#leaderHeardAtMs;
    const isLed = this.#raft.role === "follower" && this.#raft.leaderId !== null;
    return isLed && quietMs < 2 * this.#timing.heartbeatMs ? "following" : "watchful";
  }

  // --- One turn ---------------------------------------------------------------------------------------------------

  #planTurn(): void {
    if (this.#isTurnPlanned || this.#isEnded) return;
    this.#isTurnPlanned = true;
    setImmediate(() => {
      this.#isTurnPlanned = false;
      this.#guard(() => this.#turn());
    });
  }

  #turn(): void {
    if (this.#isEnded) return;
    if (this.#wish.attempt(this.#node, this.#raft)) this.#postRaft();
    this.#write(() => this.#node.process());
    this.#guarded.makeRoom(() => {
      this.#write(() => {
        this.#node.compact(TRAILING_ON_FULL_DISK);
        this.#store.checkpoint();
      });
      this.#postRaft();
    });
    this.#followTiming();
    if (this.#raft.role === "leader") this.#exchange.sendDigest(this.#timing.heartbeatMs);
    this.#postState();
    this.#news.postObservations(this.#raft.role === "leader");
  }

  /** The only place where the disk is written. */
  #write(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (error instanceof DiskFullError) {
        this.#fail(EXIT_DISK_FULL, `${error.message}. Start it again then`, error);
      } else {
        this.#fail(
          EXIT_DISK_FAILED,
          `what had to be durable could not be written: ${messageOf(error)}`,
          error,
        );
      }
      throw new EndedError("this member has ended");
    }
  }

  #onApplied(applied: readonly Applied[]): void {
    // Whoever is told that a command was applied must find it in the state.
    this.#postState();
    for (const item of applied) this.#proposals.replied(commandReply(item));
  }

  #onStatus(status: NodeStatus): void {
    const before = this.#raft;
    this.#raft = status;
    const isLeading = status.role === "leader";
    if (isLeading !== (before.role === "leader")) {
      this.#leadingSinceMs = isLeading ? this.#ports.nowMs() : null;
      this.#watch.reset();
      if (!isLeading) {
        this.#wish.drop();
        this.#snapshots.stopSending();
      }
    }
    if (status.leaderId !== before.leaderId || status.term !== before.term) {
      this.#snapshots.leaderChanged(status.leaderId, status.term);
    }
    if (status.leaderId !== before.leaderId || status.role !== before.role) {
      this.#log.info("raft.role", { role: status.role, term: status.term, leaderId: status.leaderId });
      this.#exchange.leaderChanged();
      this.#waker.sleep();
    }
    // A snapshot brings a state without anything that was applied; whoever reads must find it.
    this.#postState();
    this.#proposals.raftChanged(status.term, status.leaderId, status.appliedIndex);
    this.#reads.raftChanged();
    // What was proposed just now waits for the next turn.
    if (isLeading) this.#planTurn();
    this.#postRaft();
  }

  #onMessage(message: Message): void {
    const { type } = message;
    if (type === "heartbeat" || type === "append") {
      const nowMs = this.#ports.nowMs();
      if (message.term >= this.#raft.term) {
        this.#leaderHeardAtMs = nowMs;
        this.#waker.leaderHeard(nowMs);
      }
      if (type === "heartbeat") this.#exchange.heartbeatHeard();
    }
    this.#node.receive(message);
    this.#planTurn();
  }

  // --- The parts --------------------------------------------------------------------------------------------------

  #makeNode(): RaftNode {
    return new RaftNode({
      id: this.#identity.memberId,
      store: this.#guarded,
      transport: this.#transport,
      random: seededRandom(this.#start.seed),
      timing: this.#ticks,
      limits: this.#start.limits ?? {},
      onApplied: (applied) => this.#onApplied(applied),
      onReads: (reads) => this.#reads.confirmed(reads),
      onSnapshotNeeded: (to) => this.#snapshots.wanted(to),
      onStatus: (status) => this.#onStatus(status),
    });
  }

  #makeWaker(): Waker {
    return new Waker({
      nowMs: () => this.#ports.nowMs(),
      mode: () => this.#mode(),
      heartbeatTicks: () => this.#ticks.heartbeatTicks,
      lateLimitMs: () => this.#timing.electionMsMin / 2,
      onWake: (due) => this.#guard(() => this.#wake(due)),
    });
  }

  #makeQuestions(): WorkerQuestions {
    return new WorkerQuestions({
      proposals: this.#proposals,
      reads: this.#reads,
      desk: this.#desk,
      snapshots: this.#snapshots,
      incoming: this.#incoming,
      post: (message) => this.#ports.post(message),
      planTurn: () => this.#planTurn(),
      publish: (status, atMs) => this.#exchange.publish(status, atMs),
      renew: (credentials) => this.#transport.renew(credentials),
      call: (to, method, payload, deadlineMs) => this.#transport.call(to, method, payload, deadlineMs),
      wantConfig: (target) => this.#wish.want(target),
      transfer: (to) => {
        const answer = this.#node.transferLeadership(to);
        if (!answer.ok) this.#log.warn("raft.transfer-refused", { to, reason: answer.reason });
      },
      readEvents: (afterId, countMax) => this.#store.readEvents(afterId, countMax),
      outcomeOf: (commandId) => this.#store.outcomeOf(commandId),
      close: () => this.#close(),
      leaderId: () => this.#raft.leaderId,
      stateHashAt: (index) => this.#store.stateHashAt(index),
      endDiverged: (index) => this.#endDiverged(index),
    });
  }

  #asCore(): WorkerCore {
    return {
      databasePath: this.#start.databasePath,
      identity: this.#identity,
      store: this.#store,
      guarded: this.#guarded,
      transport: this.#transport,
      lateness: this.#waker.lateness,
      log: this.#log,
      nowMs: () => this.#ports.nowMs(),
      node: () => this.#node,
      raft: () => this.#raft,
      heartbeatMs: () => this.#timing.heartbeatMs,
      planTurn: () => this.#planTurn(),
      turn: () => this.#turn(),
      guard: (step) => this.#guard(step),
      orFail: (step) => this.#orFail(step),
      endDiverged: (index) => this.#endDiverged(index),
    };
  }

  #makeTransport(): PeerTransport {
    const { clusterId, memberId, recoveryEpoch } = this.#identity;
    return new PeerTransport({
      identity: { clusterId, memberId, recoveryEpoch, ...this.#start.credentials },
      listen: this.#start.listen,
      log: this.#log,
      events: {
        onMessage: (message) => this.#guard(() => this.#onMessage(message)),
        onStatus: (from, status) =>
          this.#guard(() => {
            this.#exchange.takeStatus(from, status);
            this.#planTurn();
          }),
        onDigest: (from, digest) =>
          this.#guard(() => {
            this.#exchange.takeDigest(from, digest);
            this.#planTurn();
          }),
        onCall: (from, method, payload) => this.#questions.fromMember(from, method, payload),
        onBulkCall: (from, method, payload) => this.#snapshots.onBulkCall(from, method, payload),
        onRemoved: (_, index) => this.#guard(() => this.#leave(index)),
        onHeard: (from) => this.#exchange.board.heard(from, this.#ports.nowMs()),
        onConnected: (id, isConnected) => this.#guard(() => this.#onConnected(id, isConnected)),
      },
    });
  }

  // --- Members ----------------------------------------------------------------------------------------------------

  /** Only between two calls of `process()`: it replaces the node. */
  #followTiming(): void {
    const timing = this.#store.state?.spec.timing;
    if (timing === undefined || timing === this.#timing) return;
    const isSame = JSON.stringify(timing) === JSON.stringify(this.#timing);
    this.#timing = timing;
    if (isSame) return;
    this.#ticks = ticksOf(timing);
    this.#log.info("raft.timing-changed", { ...timing });
    // As after a restart: everything that counts is on disk.
    this.#node = this.#makeNode();
    this.#reads.forgetQuestions();
    this.#node.campaign();
    this.#onStatus(this.#node.status());
    this.#waker.sleep();
  }

  #connectPeers(): void {
    const { state, appliedIndex } = this.#store;
    const removed = state?.removed ?? [];
    // First: who is connected now is told on that connection.
    this.#transport.setRemoved(new Map(removed.map(({ id }) => [id, appliedIndex])));
    this.#transport.setPeers(peersOf(this.#identity, state, appliedIndex));
    if (removed.some(({ id }) => id === this.#identity.memberId)) this.#leave(appliedIndex);
  }

  #onConnected(id: MemberId, isConnected: boolean): void {
    this.#exchange.connected(id, isConnected);
    if (isConnected) this.#snapshots.connected(id);
    else this.#node.reportUnreachable(id);
    this.#planTurn();
  }

  // --- To the main thread -----------------------------------------------------------------------------------------

  #postRaft(): void {
    this.#postState();
    this.#news.postRaft(this.#node.status(), this.#leadingSinceMs, this.#wish.refusal);
  }

  #postState(): void {
    const state = this.#news.postState();
    if (state === null) return;
    this.#exchange.keepOnly(new Set(state.members.map(({ id }) => id)));
    this.#connectPeers();
  }

  // --- The end ----------------------------------------------------------------------------------------------------

  #stepDownThen(finish: () => void): void {
    const ports: StepDownPorts = {
      node: () => this.#node,
      nowMs: () => this.#ports.nowMs(),
      planTurn: () => this.#planTurn(),
      guard: (step) => this.#guard(step),
    };
    stepDownThen(ports, finish);
  }

  #close(): void {
    this.#stepDownThen(() => {
      this.#end();
      this.#store.close();
      this.#ports.post({ type: "closed" });
    });
  }

  /** This member was removed from its cluster. */
  #leave(index: LogIndex): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    const { databasePath } = this.#start;
    writeRemovalNote(databasePath, index);
    const message = removalMessage(index, dirname(databasePath));
    this.#log.warn("raft.removed", { index, message });
    // Not from within a turn: the one who leads may have to hand over first.
    setImmediate(() =>
      this.#guard(() =>
        this.#stepDownThen(() => {
          this.#end();
          this.#ports.post({ type: "removed", index, message });
          this.#ports.killProcess();
        }),
      ),
    );
  }

  #endDiverged(index: LogIndex): void {
    const message = `the agreed state on this member is not what a majority has (at entry ${index}), so it takes no part any more. Remove it from the cluster, and let the host join as a new member with an empty data directory`;
    this.#fail(EXIT_DIVERGED, message, null);
  }

  /** It could not start: gives the database and its lock back. */
  abandon(): void {
    this.#end();
    this.#store.close();
  }

  #end(): void {
    this.#proposals.close();
    this.#reads.close();
    this.#incoming.close();
    this.#isEnded = true;
    this.#waker.stop();
    this.#snapshots.close();
    this.#transport.close();
  }

  #guard(step: () => void): void {
    if (this.#isEnded) return;
    try {
      this.#orFail(step);
    } catch (error) {
      if (!(error instanceof EndedError)) throw error;
    }
  }

  /** What Raft throws is a broken promise of its own: it ends the process, whoever asked. */
  #orFail<Result>(step: () => Result): Result {
    try {
      return step();
    } catch (error) {
      if (error instanceof EndedError) throw error;
      this.#fail(EXIT_CONSENSUS_BROKEN, `consensus cannot go on: ${messageOf(error)}`, error);
      throw new EndedError("this member has ended");
    }
  }

  /** Nothing is sent and nothing is written from here on; the process must end. */
  #fail(exitCode: number, message: string, error: unknown): void {
    this.#log.error("consensus.failed", {
      exitCode,
      message,
      stack: error instanceof Error ? (error.stack ?? null) : null,
    });
    this.#end();
    this.#ports.post({ type: "fatal", exitCode, message });
    this.#ports.killProcess();
  }
}

/** The worker has ended already; only unwinds. */
class EndedError extends Error {
  override readonly name = "EndedError";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
