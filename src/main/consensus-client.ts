/**
 * Consensus for the main thread: starts the Raft worker and answers from what the worker last said.
 */
import type { Clock } from "../base/clock.ts";
import type { LogIndex, MemberId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { Command, Outcome } from "../cluster/command.ts";
import type {
  BarrierResult,
  ConfigTarget,
  Consensus,
  ProposeResult,
  RaftStatus,
  StateBackup,
  StoredEvent,
} from "../cluster/consensus.ts";
import type { MemberStatus, Observation } from "../cluster/observation.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { PeerProof } from "../peer/transport.ts";
import { withParts } from "./state-parts.ts";
import {
  EXIT_CONSENSUS_BROKEN,
  EXIT_REMOVED,
  type FromWorker,
  type RequestId,
  type ToWorker,
  type WorkerStart,
} from "./worker-protocol.ts";

export interface ConsensusOptions {
  /** Formed or joined already (`store/identity.ts`). */
  readonly databasePath: string;
  readonly memberId: MemberId;
  readonly credentials: PeerProof;
  /** host:port on which other members are accepted. */
  readonly listen: string;
  readonly clock: Clock;
  /** Different on each member and at each start. */
  readonly seed: number;
  /** For tests. */
  readonly limits?: WorkerStart["limits"];
  readonly log: Log;
  /** The member must end with this exit code at once: nothing is written any more. */
  readonly onFatal: (exitCode: number, message: string) => void;
  /** A joiner's: what it replays before this index is history, and nobody is answered from it. Default: none. */
  readonly readyFromIndex?: LogIndex;
  /** Ends the wait for the first state. */
  readonly signal?: AbortSignal;
}

/** Consensus of a member that proves to others who it is. */
export interface MemberConsensus extends Consensus {
  /** By which certificate from now on. Connections that stand go on. */
  renew(credentials: PeerProof): void;
}

/** The worker could not start. The message says what was wrong and what to do. */
export class ConsensusStartError extends Error {
  override readonly name = "ConsensusStartError";
}

/**
 * Starts the worker and resolves once the agreed state is known: at once where there is a log, for a joiner when the
 * leader has sent what was agreed when it was let in.
 *
 * @throws {ConsensusStartError} if the database or the port cannot be had.
 */
export async function startConsensus(options: ConsensusOptions): Promise<MemberConsensus> {
  const client = new ConsensusClient(options);
  try {
    await client.start(options);
    return client;
  } catch (error) {
    client.terminate();
    throw error;
  }
}

/** The difference between two threads' clocks is the best of this many measurements. */
const CLOCK_MEASUREMENTS = 5;
/** More questions at a time are turned away: a worker that hangs must not cost memory. */
const REQUESTS_MAX = 4096;
/** A worker that does not close in this time is ended. */
const CLOSE_DEADLINE_MS = 3000;

class ConsensusClient implements MemberConsensus {
  readonly #options: ConsensusOptions;
  readonly #worker: Worker;
  readonly #listeners = new Set<() => void>();
  readonly #requests = new Map<RequestId, (message: FromWorker) => void>();
  readonly #observations = new Map<MemberId, Observation>();
  readonly #started = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<void>();
  #handler: ((from: MemberId, method: string, payload: unknown) => Promise<unknown>) | null = null;
  #state: ClusterState | null = null;
  #raft: RaftStatus | null = null;
  #appliedIndex = 0 as LogIndex;
  /** To be added to a time of the worker to get one of `clock`. */
  #offsetMs = 0;
  #nextRequest = 1;
  #isNotifying = false;
  /** For the worker, which is told once per turn: each message by itself costs as much as all of them. */
  #unsaid: ToWorker[] = [];
  #isEnded = false;

  constructor(options: ConsensusOptions) {
    this.#options = options;
    this.#worker = new Worker(new URL("./raft-worker.ts", import.meta.url).href);
    this.#worker.onmessage = ({ data }: MessageEvent<readonly FromWorker[]>) => {
      for (const message of data) this.#receive(message);
    };
    this.#worker.onerror = (event) => {
      this.#fatal(EXIT_CONSENSUS_BROKEN, `the Raft worker failed: ${event.message}`);
    };
  }

  async start(options: ConsensusOptions): Promise<void> {
    const { databasePath, credentials, listen, seed, limits = {}, signal } = options;
    signal?.throwIfAborted();
    const abort = () => this.#started.reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      await this.#measureClock();
      this.#post({ type: "start", start: { databasePath, credentials, listen, seed, limits } });
      await this.#started.promise;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  terminate(): void {
    this.#isEnded = true;
    this.#worker.terminate();
  }

  get state(): ClusterState {
    if (this.#state === null) throw new ConsensusStartError("the agreed state is not known yet");
    return this.#state;
  }

  get appliedIndex(): LogIndex {
    return this.#appliedIndex;
  }

  get raft(): RaftStatus {
    if (this.#raft === null) throw new ConsensusStartError("the Raft worker has not reported yet");
    return this.#raft;
  }

  get observations(): ReadonlyMap<MemberId, Observation> {
    const own = this.#observations.get(this.#options.memberId);
    // Nobody hears us better than we do.
    if (own !== undefined) {
      this.#observations.set(this.#options.memberId, { ...own, heardAtMs: this.#options.clock.nowMs() });
    }
    return this.#observations;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  propose(command: Command, deadlineMs: number): Promise<ProposeResult> {
    if (this.#isEnded)
      return Promise.resolve({ kind: "not-proposed", reason: "this member is shutting down" });
    if (this.#requests.size >= REQUESTS_MAX) {
      return Promise.resolve({ kind: "overloaded", reason: "too many questions wait for consensus already" });
    }
    return new Promise((resolve) => {
      const requestId = this.#ask((message) => {
        if (message.type === "proposed") resolve(message.result);
      });
      this.#post({ type: "propose", requestId, command, deadlineMs });
    });
  }

  publish(status: MemberStatus): void {
    const { clock, memberId } = this.#options;
    const nowMs = clock.nowMs();
    this.#observations.set(memberId, { status, statusAtMs: nowMs, heardAtMs: nowMs, isConnected: true });
    this.#post({ type: "publish", status, atMs: nowMs - this.#offsetMs });
  }

  call(to: MemberId, method: string, payload: unknown, deadlineMs: number): Promise<unknown> {
    const refusal = this.#whyNot();
    if (refusal !== null) return Promise.reject(new Error(refusal));
    return new Promise((resolve, reject) => {
      const requestId = this.#ask((message) => {
        if (message.type !== "called") return;
        if (message.answer.ok) resolve(message.answer.value);
        else reject(new Error(message.answer.message));
      });
      this.#post({ type: "call", requestId, to, method, payload, deadlineMs });
    });
  }

  onCall(handler: (from: MemberId, method: string, payload: unknown) => Promise<unknown>): void {
    this.#handler = handler;
  }

  renew(credentials: PeerProof): void {
    this.#post({ type: "renew", credentials });
  }

  changeConfig(target: ConfigTarget): void {
    this.#post({ type: "change-config", target });
  }

  barrier(deadlineMs: number): Promise<BarrierResult> {
    const refusal = this.#whyNot();
    if (refusal !== null) return Promise.resolve({ kind: "unknown", reason: refusal });
    return new Promise((resolve) => {
      const requestId = this.#ask((message) => {
        if (message.type === "barred") resolve(message.result);
      });
      this.#post({ type: "barrier", requestId, deadlineMs });
    });
  }

  backup(): Promise<StateBackup> {
    const refusal = this.#whyNot();
    if (refusal !== null) return Promise.reject(new Error(refusal));
    return new Promise((resolve, reject) => {
      const requestId = this.#ask((message) => {
        if (message.type !== "backed-up") return;
        if (message.result.ok) resolve(message.result.backup);
        else reject(new Error(message.result.message));
      });
      this.#post({ type: "backup", requestId });
    });
  }

  transferLeadership(to: MemberId): void {
    this.#post({ type: "transfer", to });
  }

  readEvents(afterId: number, countMax: number): Promise<readonly StoredEvent[]> {
    const refusal = this.#whyNot();
    if (refusal !== null) return Promise.reject(new Error(refusal));
    return new Promise((resolve) => {
      const requestId = this.#ask((message) => {
        if (message.type === "events") resolve(message.events);
      });
      this.#post({ type: "read-events", requestId, afterId, countMax });
    });
  }

  outcomeOf(commandId: string): Promise<Outcome | null> {
    if (this.#whyNot() !== null) return Promise.resolve(null);
    return new Promise((resolve) => {
      const requestId = this.#ask((message) => {
        if (message.type === "outcome") resolve(message.outcome);
      });
      this.#post({ type: "outcome-of", requestId, commandId });
    });
  }

  async close(): Promise<void> {
    if (this.#isEnded) return;
    this.#post({ type: "close" });
    const deadline = setTimeout(() => this.#closed.resolve(), CLOSE_DEADLINE_MS);
    await this.#closed.promise;
    clearTimeout(deadline);
    this.terminate();
  }

  /** Each thread counts from its own start; the quickest round trip says best by how much they differ. */
  async #measureClock(): Promise<void> {
    const { clock } = this.#options;
    let bestMs = Number.POSITIVE_INFINITY;
    for (let round = 0; round < CLOCK_MEASUREMENTS; round += 1) {
      const sentMs = clock.nowMs();
      const workerMs = await new Promise<number>((resolve) => {
        const requestId = this.#ask((message) => {
          if (message.type === "clock") resolve(message.nowMs);
        });
        this.#post({ type: "clock", requestId });
      });
      const receivedMs = clock.nowMs();
      if (receivedMs - sentMs >= bestMs) continue;
      bestMs = receivedMs - sentMs;
      this.#offsetMs = (sentMs + receivedMs) / 2 - workerMs;
    }
  }

  #receive(message: FromWorker): void {
    if (this.#isEnded) return;
    switch (message.type) {
      case "log":
        this.#options.log[message.level](message.event, message.fields);
        return;
      case "failed":
        this.#started.reject(new ConsensusStartError(message.message));
        return;
      case "listening":
        this.#options.log.info("peer.listening", { listen: this.#options.listen, port: message.port });
        return;
      case "fatal":
        this.#fatal(message.exitCode, message.message);
        return;
      case "removed":
        this.#fatal(EXIT_REMOVED, message.message);
        return;
      case "closed":
        this.#closed.resolve();
        return;
      case "incoming":
        this.#answer(message);
        return;
      case "state":
        this.#state = withParts(this.#state, message.parts);
        this.#appliedIndex = message.appliedIndex;
        break;
      case "raft": {
        const { leadingSinceMs } = message.raft;
        this.#appliedIndex = message.appliedIndex;
        this.#raft = {
          ...message.raft,
          leadingSinceMs: leadingSinceMs === null ? null : leadingSinceMs + this.#offsetMs,
        };
        break;
      }
      case "observations":
        this.#takeObservations(message.observations);
        break;
      case "heard":
        for (const { memberId, statusAtMs, heardAtMs } of message.heard) {
          const known = this.#observations.get(memberId);
          if (known === undefined || memberId === this.#options.memberId) continue;
          this.#observations.set(memberId, {
            ...known,
            statusAtMs: statusAtMs + this.#offsetMs,
            heardAtMs: heardAtMs + this.#offsetMs,
          });
        }
        // Time passing is no change: whoever waits for a deadline looks again then.
        return;
      default: {
        const { requestId } = message;
        const resolve = this.#requests.get(requestId);
        this.#requests.delete(requestId);
        resolve?.(message);
        return;
      }
    }
    const isReady = this.#appliedIndex >= (this.#options.readyFromIndex ?? 0);
    if (this.#state !== null && this.#raft !== null && isReady) this.#started.resolve();
    this.#notify();
  }

  #takeObservations(observations: readonly Observation[]): void {
    const { memberId } = this.#options;
    const ids = new Set(observations.map(({ status }) => status.memberId));
    for (const id of this.#observations.keys()) {
      if (!ids.has(id) && id !== memberId) this.#observations.delete(id);
    }
    for (const found of observations) {
      // What we last published may not have come back yet.
      if (found.status.memberId === memberId) continue;
      this.#observations.set(found.status.memberId, {
        ...found,
        statusAtMs: found.statusAtMs + this.#offsetMs,
        heardAtMs: found.heardAtMs + this.#offsetMs,
      });
    }
  }

  /** Once for everything that came in during a turn. */
  #notify(): void {
    if (this.#isNotifying) return;
    this.#isNotifying = true;
    setImmediate(() => {
      this.#isNotifying = false;
      if (this.#isEnded) return;
      for (const listener of [...this.#listeners]) listener();
    });
  }

  #answer({ requestId, from, method, payload }: FromWorker & { type: "incoming" }): void {
    const handler = this.#handler;
    const answered =
      handler === null
        ? Promise.reject(new Error("this member is not ready to answer yet"))
        : handler(from, method, payload);
    answered.then(
      (value) => this.#post({ type: "answer", requestId, answer: { ok: true, value: value ?? null } }),
      (error: unknown) => {
        const text = error instanceof Error ? error.message : String(error);
        this.#post({ type: "answer", requestId, answer: { ok: false, message: text } });
      },
    );
  }

  /** Why nothing can be asked now; null where it can. */
  #whyNot(): string | null {
    if (this.#isEnded) return "this member is shutting down";
    return this.#requests.size < REQUESTS_MAX
      ? null
      : "overloaded: too many questions wait for consensus already";
  }

  #ask(resolve: (message: FromWorker) => void): RequestId {
    const requestId = this.#nextRequest;
    this.#nextRequest += 1;
    this.#requests.set(requestId, resolve);
    return requestId;
  }

  #post(message: ToWorker): void {
    if (this.#isEnded) return;
    if (this.#unsaid.length === 0) queueMicrotask(() => this.#tell());
    this.#unsaid.push(message);
  }

  #tell(): void {
    const messages = this.#unsaid;
    this.#unsaid = [];
    if (!this.#isEnded) this.#worker.postMessage(messages);
  }

  #fatal(exitCode: number, message: string): void {
    if (this.#isEnded) return;
    this.terminate();
    this.#options.log.error("consensus.fatal", { exitCode, message });
    this.#started.reject(new ConsensusStartError(message));
    this.#options.onFatal(exitCode, message);
  }
}
