/**
 * Everything that consensus needs, in one thread of its own: Raft, its clock, its disk, its sockets. The main thread may
 * hang for seconds, and heartbeats still go out.
 *
 * Whatever comes in during a turn of the event loop is only told to Raft; at the end of the turn it is made durable in
 * one transaction, sent, and reported to the main thread.
 */
import type { LogIndex, MemberId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import { apply } from "../cluster/apply.ts";
import type { Command } from "../cluster/command.ts";
import { decodeEntry, encodeCommand } from "../cluster/command-codec.ts";
import type { RaftStatus } from "../cluster/consensus.ts";
import { DEFAULT_SPEC, type Timing } from "../cluster/spec.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { AgedStatus } from "../peer/status-codec.ts";
import { type PeerAddress, PeerTransport } from "../peer/transport.ts";
import type { Message } from "../raft/engine/message.ts";
import { type NodeStatus, RaftNode } from "../raft/node.ts";
import type { Applied } from "../raft/ports.ts";
import { commandReply } from "../store/command-reply.ts";
import { openDatabase } from "../store/database.ts";
import { type StoreIdentity, verifyIdentity } from "../store/identity.ts";
import { SqliteLogStore } from "../store/sqlite-log-store.ts";
import { StoreError } from "../store/store-error.ts";
import { ObservationBoard } from "./observation-board.ts";
import { type Acceptance, Proposals } from "./proposals.ts";
import { seededRandom } from "./seeded-random.ts";
import { type TickMode, TickSchedule, type TickTiming, ticksOf } from "./tick-schedule.ts";
import {
  type Answer,
  EXIT_CONSENSUS_BROKEN,
  EXIT_DISK_FAILED,
  type FromWorker,
  type RequestId,
  type ToWorker,
  type WorkerStart,
} from "./worker-protocol.ts";

/** The leader goes without asking the main thread. */
const PROPOSE_METHOD = "consensus.propose";
/** A larger command would not fit into the transport's frames. */
const COMMAND_BYTES_MAX = 1024 * 1024;
/** An unchanged status is sent again, and an unchanged digest, this often. */
const REPEAT_MS = 500;
/** The main thread learns this often that members were merely heard. */
const HEARD_EVERY_MS = 100;
/** The main thread answers other members within this time, or they are told that it did not. */
const INCOMING_CALL_MS = 30_000;
/** Handing leadership on at the end may take this long. */
const HAND_OVER_MS = 1000;

export interface WorkerPorts {
  post(message: FromWorker): void;
  /** Monotonic, of this thread. */
  nowMs(): number;
  /** Ends the process although the main thread does not react. */
  killProcess(): void;
}

export class ConsensusWorker {
  readonly #ports: WorkerPorts;
  readonly #log: Log;
  readonly #identity: StoreIdentity;
  readonly #store: SqliteLogStore;
  readonly #transport: PeerTransport;
  readonly #board: ObservationBoard;
  readonly #proposals: Proposals;
  readonly #schedule: TickSchedule;
  readonly #seed: number;
  readonly #wantedVoters = new Set<MemberId>();
  readonly #incomingCalls = new Map<RequestId, (answer: Answer) => void>();
  #node: RaftNode;
  #timing: Timing;
  #ticks: TickTiming;
  #raft: NodeStatus;
  #leadingSinceMs: number | null = null;
  #leaderHeardAtMs: number;
  #ownStatus: { readonly status: AgedStatus["status"]; readonly atMs: number } | null = null;
  #statusSentAtMs = Number.NEGATIVE_INFINITY;
  #digestSentAtMs = Number.NEGATIVE_INFINITY;
  #digestedNews = -1;
  #posted: { state: ClusterState | null; boardVersion: number; heardAtMs: number } = {
    state: null,
    boardVersion: -1,
    heardAtMs: Number.NEGATIVE_INFINITY,
  };
  #nextIncoming = 1;
  #wakeTimer: ReturnType<typeof setTimeout> | null = null;
  #isTurnPlanned = false;
  #isEnded = false;

  /**
   * Opens the database and reads the log.
   *
   * @throws {StoreError} if the database is not usable, or not this member's.
   */
  constructor(start: WorkerStart, ports: WorkerPorts, log: Log) {
    this.#ports = ports;
    this.#log = log;
    const database = openDatabase(start.databasePath);
    const identity = verifyIdentity(database);
    if (identity === null) {
      database.close();
      throw new StoreError(`${start.databasePath} belongs to no member yet: form or join first`);
    }
    this.#identity = identity;
    this.#store = new SqliteLogStore(database, { apply });
    this.#seed = start.seed;
    this.#board = new ObservationBoard(identity.memberId);
    const nowMs = ports.nowMs();
    this.#schedule = new TickSchedule(nowMs);
    this.#leaderHeardAtMs = nowMs;
    this.#transport = new PeerTransport({
      identity: {
        clusterId: identity.clusterId,
        memberId: identity.memberId,
        recoveryEpoch: 0,
        ...start.credentials,
      },
      listen: start.listen,
      log,
      events: {
        onMessage: (message) => this.#guard(() => this.#onMessage(message)),
        onStatus: (from, status) =>
          this.#guard(() => {
            this.#board.takeStatus(from, status, this.#ports.nowMs());
            this.#planTurn();
          }),
        onDigest: (from, digest) =>
          this.#guard(() => {
            // A deposed leader may still believe in itself.
            if (from === this.#raft.leaderId) this.#board.takeDigest(digest, this.#ports.nowMs());
            this.#planTurn();
          }),
        onCall: (from, method, payload) => this.#onCall(from, method, payload),
        onBulkCall: () => Promise.reject(new Error("this member has no snapshot")),
        onRemoved: (from, index) => this.#log.warn("raft.removed", { from, index }),
        onHeard: (from) => this.#board.heard(from, this.#ports.nowMs()),
        onConnected: (id, isConnected) => this.#guard(() => this.#onConnected(id, isConnected)),
      },
    });
    this.#timing = this.#store.state?.spec.timing ?? DEFAULT_SPEC.timing;
    this.#ticks = ticksOf(this.#timing);
    this.#node = this.#makeNode();
    this.#raft = this.#node.status();
    this.#proposals = new Proposals({
      nowMs: () => this.#ports.nowMs(),
      leader: () => (this.#raft.role === "leader" ? null : (this.#raft.leaderId ?? undefined)),
      proposeHere: (command) => this.#proposeHere(command),
      proposeThere: async (leader, command, deadlineMs) =>
        parseAcceptance(await this.#transport.call(leader, PROPOSE_METHOD, { command }, deadlineMs)),
    });
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
      this.#sleep();
    });
  }

  /** What the main thread asks. `clock` and `start` are answered by whoever made this object. */
  receive(message: ToWorker): void {
    this.#guard(() => this.#receive(message));
  }

  #receive(message: ToWorker): void {
    switch (message.type) {
      case "propose": {
        const { requestId, command, deadlineMs } = message;
        this.#proposals.add(command, deadlineMs, (result) => {
          this.#ports.post({ type: "proposed", requestId, result });
        });
        this.#planTurn();
        return;
      }
      case "publish":
        this.#publish(message.status, message.atMs);
        return;
      case "call": {
        const { requestId, to, method, payload, deadlineMs } = message;
        const answer = (found: Answer) => this.#ports.post({ type: "called", requestId, answer: found });
        this.#transport.call(to, method, payload, deadlineMs).then(
          (value) => answer({ ok: true, value }),
          (error: unknown) => answer({ ok: false, message: messageOf(error) }),
        );
        return;
      }
      case "answer":
        this.#incomingCalls.get(message.requestId)?.(message.answer);
        return;
      case "add-voter":
        this.#wantedVoters.add(message.id);
        this.#planTurn();
        return;
      case "transfer": {
        const answer = this.#node.transferLeadership(message.to);
        if (!answer.ok) this.#log.warn("raft.transfer-refused", { to: message.to, reason: answer.reason });
        this.#planTurn();
        return;
      }
      case "read-events": {
        const { requestId, afterId, countMax } = message;
        this.#ports.post({ type: "events", requestId, events: this.#store.readEvents(afterId, countMax) });
        return;
      }
      case "close":
        this.#close();
        return;
      case "clock":
      case "start":
        return;
    }
  }

  // --- Time -------------------------------------------------------------------------------------------------------

  #sleep(): void {
    if (this.#isEnded) return;
    if (this.#wakeTimer !== null) clearTimeout(this.#wakeTimer);
    const sleepMs = this.#schedule.plan(this.#ports.nowMs(), this.#mode(), this.#ticks.heartbeatTicks);
    this.#wakeTimer = setTimeout(() => {
      this.#wakeTimer = null;
      // After a pause the sockets may hold what we would otherwise miss; two turns, so that they have been read.
      if (this.#schedule.isLate(this.#ports.nowMs())) {
        setImmediate(() => setImmediate(() => this.#guard(() => this.#wake())));
      } else {
        this.#guard(() => this.#wake());
      }
    }, sleepMs);
  }

  #wake(): void {
    if (this.#isEnded) return;
    for (let left = this.#schedule.takeDue(this.#ports.nowMs()); left > 0; left -= 1) this.#node.tick();
    this.#turn();
    this.#sleep();
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
    this.#addWantedVoters();
    this.#process();
    this.#followTiming();
    this.#sendDigest();
    this.#postChanges();
  }

  /** The only place where the disk is written. */
  #process(): void {
    try {
      this.#node.process();
    } catch (error) {
      this.#fail(EXIT_DISK_FAILED, `what had to be durable could not be written: ${messageOf(error)}`, error);
      throw new EndedError();
    }
  }

  #makeNode(): RaftNode {
    return new RaftNode({
      id: this.#identity.memberId,
      store: this.#store,
      transport: this.#transport,
      random: seededRandom(this.#seed),
      timing: this.#ticks,
      onApplied: (applied) => this.#onApplied(applied),
      onStatus: (status) => this.#onStatus(status),
    });
  }

  #onApplied(applied: readonly Applied[]): void {
    // Whoever is told that a command was applied must find it in the state.
    this.#postState();
    for (const item of applied) {
      const reply = commandReply(item);
      if (reply.kind === "applied") this.#proposals.applied(reply.commandId, reply.outcome);
    }
  }

  #onStatus(status: NodeStatus): void {
    const before = this.#raft;
    this.#raft = status;
    const isLeading = status.role === "leader";
    if (isLeading && before.role !== "leader") this.#leadingSinceMs = this.#ports.nowMs();
    if (!isLeading) this.#leadingSinceMs = null;
    if (status.leaderId !== before.leaderId || status.role !== before.role) {
      this.#log.info("raft.role", { role: status.role, term: status.term, leaderId: status.leaderId });
      this.#board.setLeader(status.leaderId);
      this.#digestedNews = -1;
      if (!isLeading) this.#wantedVoters.clear();
      this.#sendStatus();
      this.#sleep();
    }
    this.#proposals.raftChanged(status.term, status.leaderId, status.appliedIndex);
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
        this.#schedule.leaderHeard(nowMs);
      }
      if (type === "heartbeat" && nowMs - this.#statusSentAtMs >= REPEAT_MS) this.#sendStatus();
    }
    this.#node.receive(message);
    this.#planTurn();
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
    this.#node.campaign();
    this.#onStatus(this.#node.status());
    this.#sleep();
  }

  #connectPeers(): void {
    const peers = new Map<MemberId, PeerAddress>();
    // While a joiner replays the past, the state may name members that have moved or gone, and not yet its leader.
    if (this.#store.appliedIndex <= this.#identity.promotableFrom) {
      for (const peer of this.#identity.peers) peers.set(peer.id, peer);
    }
    for (const { id, peerAddress } of this.#store.state?.members ?? []) {
      peers.set(id, { id, address: peerAddress });
    }
    peers.delete(this.#identity.memberId);
    this.#transport.setPeers([...peers.values()]);
  }

  #onConnected(id: MemberId, isConnected: boolean): void {
    this.#board.setConnected(id, isConnected);
    if (isConnected && id === this.#raft.leaderId) this.#sendStatus();
    // A member that just came finds out at once what is known.
    if (isConnected) this.#digestedNews = -1;
    this.#planTurn();
  }

  /** One at a time, and only members that can answer: a voter counts from the moment it is added. */
  #addWantedVoters(): void {
    for (const id of this.#wantedVoters) {
      if (this.#raft.config.voters.includes(id)) {
        this.#wantedVoters.delete(id);
        continue;
      }
      if (!this.#raft.isReady || this.#raft.isConfigPending || !this.#transport.isConnected(id)) continue;
      const answer = this.#node.addVoter(id);
      if (answer.ok) this.#wantedVoters.delete(id);
      return;
    }
  }

  // --- Observations -----------------------------------------------------------------------------------------------

  #publish(status: AgedStatus["status"], atMs: number): void {
    const nowMs = this.#ports.nowMs();
    const ageMs = Math.max(0, nowMs - atMs);
    const isNew = this.#board.takeStatus(this.#identity.memberId, { status, ageMs }, nowMs);
    this.#ownStatus = { status, atMs };
    if (isNew) this.#sendStatus();
    this.#planTurn();
  }

  #sendStatus(): void {
    const { leaderId } = this.#raft;
    if (this.#ownStatus === null || leaderId === null || leaderId === this.#identity.memberId) return;
    if (!this.#transport.isConnected(leaderId)) return;
    const nowMs = this.#ports.nowMs();
    const { status, atMs } = this.#ownStatus;
    this.#statusSentAtMs = nowMs;
    this.#transport.sendStatus(leaderId, { status, ageMs: Math.max(0, nowMs - atMs) });
  }

  #sendDigest(): void {
    if (this.#raft.role !== "leader") return;
    const nowMs = this.#ports.nowMs();
    const sinceMs = nowMs - this.#digestSentAtMs;
    const isChanged = this.#board.news !== this.#digestedNews;
    if (sinceMs < (isChanged ? this.#timing.heartbeatMs : REPEAT_MS)) return;
    this.#digestSentAtMs = nowMs;
    this.#digestedNews = this.#board.news;
    const digest = this.#board.digest(nowMs);
    for (const { id } of this.#store.state?.members ?? []) {
      if (id !== this.#identity.memberId) this.#transport.sendDigest(id, digest);
    }
  }

  // --- Proposals and calls ----------------------------------------------------------------------------------------

  #proposeHere(command: Command): Acceptance {
    const refuse = (reason: string, isFinal: boolean): Acceptance => ({ ok: false, reason, isFinal });
    const data = encodeCommand(command);
    if (data.byteLength > COMMAND_BYTES_MAX) {
      return refuse(`a command of ${data.byteLength} bytes is larger than ${COMMAND_BYTES_MAX}`, true);
    }
    // An entry that the state machine cannot take would stop every member, for ever: try it on what is agreed now.
    try {
      const entry = decodeEntry(data);
      if (entry.kind === "command") apply(this.#store.state, entry.command);
    } catch (error) {
      return refuse(`the command cannot be understood: ${messageOf(error)}`, true);
    }
    const answer = this.#node.propose([data]);
    if (!answer.ok) return refuse(`the leader does not take it now (${answer.reason})`, false);
    const [id] = answer.ids;
    return id === undefined ? refuse("the leader took nothing", false) : { ok: true, id };
  }

  #onCall(from: MemberId, method: string, payload: unknown): Promise<unknown> {
    if (method === PROPOSE_METHOD) {
      const { command } = (payload ?? {}) as { command?: unknown };
      if (!isCommand(command)) return Promise.reject(new Error("a proposal without a command"));
      if (this.#raft.role !== "leader") {
        return Promise.resolve({ ok: false, reason: "this member does not lead (any more)", isFinal: false });
      }
      return new Promise((resolve) => {
        this.#guard(() => {
          resolve(this.#proposeHere(command));
          this.#planTurn();
        });
      });
    }
    const requestId = this.#nextIncoming;
    this.#nextIncoming += 1;
    return new Promise((resolve, reject) => {
      const end = (answer: Answer) => {
        clearTimeout(timer);
        this.#incomingCalls.delete(requestId);
        if (answer.ok) resolve(answer.value);
        else reject(new Error(answer.message));
      };
      const timer = setTimeout(() => end({ ok: false, message: "no answer in time" }), INCOMING_CALL_MS);
      this.#incomingCalls.set(requestId, end);
      this.#ports.post({ type: "incoming", requestId, from, method, payload });
    });
  }

  // --- To the main thread -----------------------------------------------------------------------------------------

  #postRaft(): void {
    const { role, term, leaderId, isReady, commitIndex, lastIndex, config, isConfigPending } = this.#raft;
    const raft: RaftStatus = {
      role,
      term,
      leaderId,
      leadingSinceMs: this.#leadingSinceMs,
      isReady,
      commitIndex,
      lastIndex,
      floorIndex: 0 as LogIndex,
      voterIds: config.voters,
      config,
      isConfigPending,
      configRefusal: null,
      followers: [],
      stateHash: null,
    };
    this.#postState();
    this.#ports.post({ type: "raft", raft, appliedIndex: this.#store.appliedIndex });
  }

  #postState(): void {
    const { state, appliedIndex } = this.#store;
    if (state === null || state === this.#posted.state) return;
    this.#posted.state = state;
    this.#connectPeers();
    this.#board.keepOnly(new Set(state.members.map(({ id }) => id)));
    this.#ports.post({ type: "state", state, appliedIndex });
  }

  #postChanges(): void {
    this.#postState();
    const nowMs = this.#ports.nowMs();
    if (this.#board.version !== this.#posted.boardVersion) {
      this.#posted.boardVersion = this.#board.version;
      this.#posted.heardAtMs = nowMs;
      this.#ports.post({ type: "observations", observations: this.#board.observations(nowMs) });
      return;
    }
    // Who does not lead hears of the others in digests only.
    const everyMs = this.#raft.role === "leader" ? HEARD_EVERY_MS : REPEAT_MS;
    if (nowMs - this.#posted.heardAtMs >= everyMs && this.#board.size > 1) {
      this.#posted.heardAtMs = nowMs;
      const heard = this.#board.observations(nowMs).map(({ status, statusAtMs, heardAtMs }) => ({
        memberId: status.memberId,
        statusAtMs,
        heardAtMs,
      }));
      this.#ports.post({ type: "heard", heard });
    }
  }

  // --- The end ----------------------------------------------------------------------------------------------------

  #close(): void {
    const endsAtMs = this.#ports.nowMs() + HAND_OVER_MS;
    const successor = this.#raft.config.voters.find((id) => this.#transport.isConnected(id));
    if (this.#raft.role === "leader" && successor !== undefined) {
      this.#node.transferLeadership(successor);
      this.#planTurn();
    }
    const finish = () => {
      if (this.#isEnded) return;
      const isWaiting = this.#raft.role === "leader" && successor !== undefined;
      if (isWaiting && this.#ports.nowMs() < endsAtMs) {
        setTimeout(finish, 10);
        return;
      }
      this.#end();
      this.#store.close();
      this.#ports.post({ type: "closed" });
    };
    finish();
  }

  /** It could not start: gives the database and its lock back. */
  abandon(): void {
    this.#end();
    this.#store.close();
  }

  #end(): void {
    this.#proposals.close();
    this.#isEnded = true;
    if (this.#wakeTimer !== null) clearTimeout(this.#wakeTimer);
    this.#transport.close();
  }

  #guard(step: () => void): void {
    if (this.#isEnded) return;
    try {
      step();
    } catch (error) {
      if (error instanceof EndedError) return;
      this.#fail(EXIT_CONSENSUS_BROKEN, `consensus cannot go on: ${messageOf(error)}`, error);
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

function isCommand(value: unknown): value is Command {
  if (typeof value !== "object" || value === null) return false;
  const { id, atMs, by, change } = value as Record<string, unknown>;
  return (
    typeof id === "string" &&
    typeof atMs === "number" &&
    typeof by === "string" &&
    typeof change === "object" &&
    change !== null
  );
}

function parseAcceptance(value: unknown): Acceptance {
  const { ok, id, reason, isFinal } = (value ?? {}) as Record<string, unknown>;
  const { term, index } = (id ?? {}) as Record<string, unknown>;
  if (ok === true && typeof term === "number" && typeof index === "number") return value as Acceptance;
  return { ok: false, reason: typeof reason === "string" ? reason : "no answer", isFinal: isFinal === true };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
