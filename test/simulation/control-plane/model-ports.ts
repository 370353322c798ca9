/**
 * How a member's process reaches the supervisor and PostgreSQL beside it. Each question takes a while on its way there and
 * back; between the two, and between two questions, anything may happen.
 */
import type {
  CheckQuestion,
  CheckResult,
  ProbeLook,
  ProbePort,
  SupervisorPort,
} from "../../../src/agent/ports.ts";
import type { TimelineId } from "../../../src/base/ids.ts";
import type { Lsn } from "../../../src/base/lsn.ts";
import type { ServerLimits } from "../../../src/cluster/observation.ts";
import { renderSynchronousStandbyNames } from "../../../src/cluster/synchronous-standby-names.ts";
import type {
  SupervisorEvent,
  SupervisorLook,
  SupervisorRequest,
  SupervisorResponse,
} from "../../../src/supervisor/protocol.ts";
import type { Host } from "./host.ts";
import type { Invariants } from "./invariants.ts";
import type { MemberProcess } from "./member-process.ts";
import { insteadOfRequest, MemberSabotage } from "./member-sabotage.ts";
import { type ChangeRequest, isMachineRequest, type Performed } from "./model-supervisor.ts";
import type { World } from "./world.ts";

/** What waits for a server that does not answer looks again so often. */
const AGAIN_MS = 50;

/** Most questions take a moment, some do not. */
function delayMs({ chance, theme, isHealed }: World): number {
  const dice = chance.share();
  if (theme === "looks" && !isHealed) return chance.share() * (dice < 0.5 ? 1 : 400);
  if (dice < 0.85) return chance.share();
  return chance.share() * (dice < 0.97 ? 60 : 400);
}

const LIMIT = { running: 100, wanted: 100 };
const LIMITS: ServerLimits = {
  max_connections: LIMIT,
  max_locks_per_transaction: LIMIT,
  max_prepared_transactions: LIMIT,
  max_wal_senders: LIMIT,
  max_worker_processes: LIMIT,
};

export class ModelSupervisorPort implements SupervisorPort {
  readonly #world: World;
  readonly #invariants: Invariants;
  readonly #host: Host;
  readonly #process: MemberProcess;
  readonly #sabotage: MemberSabotage;
  readonly #listeners = new Set<(event: SupervisorEvent) => void>();

  constructor(world: World, invariants: Invariants, host: Host, process: MemberProcess) {
    this.#world = world;
    this.#invariants = invariants;
    this.#host = host;
    this.#process = process;
    this.#sabotage = new MemberSabotage(world, host);
  }

  onEvent(listener: (event: SupervisorEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(event: SupervisorEvent): void {
    if (!this.#host.supervisor.isRunning) return;
    this.#process.enter(() => {
      for (const listener of this.#listeners) listener(event);
    });
  }

  request(request: SupervisorRequest, deadlineMs: number): Promise<SupervisorResponse> {
    const world = this.#world;
    const host = this.#host;
    const { boots } = host;
    const { server } = host.postgres;
    return new Promise((resolve, reject) => {
      const fail = (why: string) => this.#process.enter(() => reject(new Error(why)));
      world.later(host, deadlineMs, () => fail("no answer in time"));
      const answer = () => {
        // What was asked before the power went is forgotten.
        if (host.boots !== boots || !host.isUp) return;
        const respond = (response: SupervisorResponse | null) => {
          world.later(host, delayMs(world), () => {
            if (response === null) fail("the supervisor is not there");
            else this.#process.enter(() => resolve(response));
          });
        };
        const isOver = request.kind === "stop" && host.postgres.server !== server;
        if (host.supervisor.isRunning && isOver) respond({ ok: true, look: this.#look() });
        else if (host.supervisor.isRunning) this.#answer(request, respond);
        else respond(null);
      };
      world.later(host, delayMs(world) + this.#heldUpMs(request), answer);
    });
  }

  /** A frozen server is waited for before a fast stop becomes another one. */
  #heldUpMs(request: SupervisorRequest): number {
    const isHeldUp = request.kind === "stop" && request.mode === "fast" && this.#host.postgres.isFrozen;
    return isHeldUp ? request.deadlineMs : 0;
  }

  #answer(asked: SupervisorRequest, respond: (response: SupervisorResponse | null) => void): void {
    const { supervisor } = this.#host;
    if (asked.kind === "look") {
      respond({ ok: true, look: { ...this.#look(asked.isStarting), ...this.#wal(asked) } });
      return;
    }
    if (asked.kind === "extend-lease") {
      const isReceipt = this.#world.sabotage === "count-a-lease-from-its-receipt";
      const stampMs = isReceipt ? supervisor.stampMs : asked.stampMs;
      supervisor.extendLease({ ...asked, stampMs }, this.#world.chance.is(0.5));
      respond({ ok: true, look: this.#look() });
      return;
    }
    const request = insteadOfRequest(this.#world, this.#host, asked);
    if (!isMachineRequest(request)) throw new Error(`the loops never ask for ${request.kind}`);
    if (!supervisor.refusesWork(request)) this.#invariants.checkAction(this.#host, this.#process, request);
    supervisor.perform(request, (result) => {
      respond(result === "ended-with-it" ? null : this.#performed(request, result));
    });
  }

  #performed(request: ChangeRequest, result: Performed): SupervisorResponse {
    const { name } = this.#host;
    const why = request.kind === "clone" && request.replace !== null ? ` (${request.replace})` : "";
    const told = `${name} ${request.kind}${"epoch" in request ? ` ${request.epoch}` : ""}${why}`;
    this.#world.note(result === "refused" ? `${told}: refused` : told);
    if (result === "refused") return { ok: false, code: "unavailable", message: "it cannot be done" };
    if (request.kind === "promote") this.#invariants.toldToPromote(this.#host, request.epoch);
    if (result === "ended-while-starting") this.#process.hearOfAnEnd();
    return { ok: true, look: this.#look() };
  }

  #wal({ wantsWal }: Extract<SupervisorRequest, { kind: "look" }>): Partial<SupervisorLook> {
    const { postgres } = this.#host;
    // Where nothing is ever forgotten, nobody needs to be told.
    if (!postgres.isRunning || this.#world.theme !== "short-wal") return {};
    if (!postgres.hasStandbySignal) return { walFromLsn: postgres.walFrom as Lsn };
    if (wantsWal !== true) return {};
    const isLie = this.#world.sabotage === "take-a-silence-for-wal-that-is-gone";
    return { walUntilLsn: (isLie ? 0 : postgres.wal.length) as Lsn };
  }

  #look(isStarting?: true): SupervisorLook {
    this.#sabotage.beforeALook(this.#invariants, this.#process);
    return this.#host.supervisor.look(isStarting);
  }
}

export class ModelProbePort implements ProbePort {
  readonly #world: World;
  readonly #host: Host;
  readonly #process: MemberProcess;

  constructor(world: World, host: Host, process: MemberProcess) {
    this.#world = world;
    this.#host = host;
    this.#process = process;
  }

  look(deadlineMs: number): Promise<ProbeLook> {
    const { postgres } = this.#host;
    const mute: ProbeLook = { kind: "unresponsive", detail: "no answer in time" };
    return this.#ask(deadlineMs, mute, () => {
      if (!postgres.isOpen) return { kind: "starting", detail: "it takes no connections" };
      return postgres.isFrozen ? null : this.#seen();
    });
  }

  check({ isPrimary, withParameters }: CheckQuestion, deadlineMs: number): Promise<CheckResult> {
    const { postgres } = this.#host;
    let isConnected = false;
    const late = (): CheckResult => ({
      connection: isConnected ? "works" : "failed",
      write: isConnected && isPrimary ? "failed" : "unknown",
      detail: "no answer in time",
    });
    return this.#ask<CheckResult>(deadlineMs, late, () => {
      if (!postgres.isOpen)
        return { connection: "unknown", write: "unknown", detail: "it takes no connections" };
      if (postgres.isFrozen) return null;
      isConnected = true;
      const parameters = withParameters ? { pendingRestart: [], limits: LIMITS } : {};
      if (!isPrimary) return { connection: "works", write: "unknown", detail: null, ...parameters };
      if (postgres.isDiskStuck) return null;
      return { connection: "works", write: "works", detail: null, ...parameters };
    });
  }

  async provision(deadlineMs: number): Promise<void> {
    const { postgres } = this.#host;
    await this.#work(deadlineMs, () => {
      postgres.hasRoles = true;
    });
  }

  async checkpoint(deadlineMs: number): Promise<void> {
    const { postgres } = this.#host;
    await this.#work(deadlineMs, () => {
      if (postgres.kind === "primary") postgres.checkpointTimeline = postgres.timeline;
    });
  }

  /** What writes waits for the disk; it fails when the server does, or when it took too long. */
  async #work(deadlineMs: number, work: () => void): Promise<void> {
    const { postgres } = this.#host;
    const { server } = postgres;
    const result = await this.#ask<"done" | "gone" | "late">(deadlineMs, "late", () => {
      if (!postgres.isOpen || postgres.server !== server) return "gone";
      if (postgres.isFrozen || postgres.isDiskStuck) return null;
      work();
      return "done";
    });
    if (result !== "done") throw new Error(result === "gone" ? "the server ended" : "no answer in time");
  }

  /** Asks until there is an answer, or too late. */
  #ask<T>(deadlineMs: number, late: T | (() => T), answer: () => T | null): Promise<T> {
    const world = this.#world;
    const host = this.#host;
    const { boots } = host;
    return new Promise((resolve) => {
      const untilMs = world.nowMs + deadlineMs / host.clock.rate;
      const give = (result: T) => this.#process.enter(() => resolve(result));
      const attempt = () => {
        if (host.boots !== boots || !host.isUp) return;
        const result = answer();
        if (result !== null) world.later(host, delayMs(world), () => give(result));
        else if (world.nowMs < untilMs) world.later(host, AGAIN_MS, attempt);
        else give(typeof late === "function" ? (late as () => T)() : late);
      };
      world.later(host, delayMs(world), attempt);
    });
  }

  #seen(): ProbeLook {
    const { postgres, supervisor } = this.#host;
    supervisor.failedStarts = 0;
    const system = { systemIdentifier: postgres.system, timeline: postgres.timeline as TimelineId };
    if (postgres.kind !== "primary") {
      const receivedLsn = (supervisor.lie ?? postgres.wal.length) as Lsn;
      const walReceiver = supervisor.lie === null ? postgres.lookAtReceiver() : null;
      return { kind: "standby", ...system, receivedLsn, replayedLsn: receivedLsn, walReceiver };
    }
    const rule = postgres.effective?.synchronousStandbyNames ?? null;
    const waiting = rule === null ? undefined : postgres.wal[postgres.acknowledgedUpTo()];
    return {
      kind: "primary",
      ...system,
      writtenLsn: postgres.wal.length as Lsn,
      checkpointTimeline: postgres.checkpointTimeline as TimelineId,
      isProvisioned: postgres.hasRoles,
      synchronousStandbyNames: rule === null ? "" : renderSynchronousStandbyNames(rule.k, rule.names),
      standbys: postgres.connections(),
      waitingCommits: waiting === undefined ? [] : [`${waiting.id}`],
    };
  }
}
