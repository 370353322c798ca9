/**
 * The member's loop for break-glass access, apart from the one for PostgreSQL's role: nothing of it may hold a failover up.
 * It looks, decides (`decision/decide-break-glass.ts`), acts, and looks again. What must happen in time is the supervisor's.
 */
import { unreachable } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { MemberId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import {
  type BreakGlassRole,
  type BreakGlassStatus,
  type GuardedStatus,
  isOpen,
} from "../cluster/break-glass.ts";
import type { Change } from "../cluster/command.ts";
import type { Consensus } from "../cluster/consensus.ts";
import { isUnderstoodByAll } from "../cluster/feature-level.ts";
import type { LocalAccess } from "../cluster/local-access.ts";
import type { MemberStatus } from "../cluster/observation.ts";
import { type BreakGlassStep, decideBreakGlass, decideLocalAccess } from "../decision/decide-break-glass.ts";
import type { SupervisorPort } from "./ports.ts";
import { Turning } from "./turning.ts";

/** The roles of break-glass access on the local primary. Each rejects where it cannot be done. */
export interface BreakGlassRolesPort {
  look(): Promise<readonly BreakGlassRole[]>;
  open(role: string, verifier: string, validUntilMs: number): Promise<void>;
  close(role: string): Promise<void>;
}

export interface BreakGlassLoopOptions {
  readonly selfId: MemberId;
  readonly consensus: Consensus;
  readonly supervisor: SupervisorPort;
  readonly roles: BreakGlassRolesPort;
  /** What the member last said of itself; null before it looked. */
  readonly status: () => MemberStatus | null;
  readonly clock: Clock;
  readonly log: Log;
}

/** While something stands, or has just ended. */
const ATTENTIVE_MS = 500;
/** A role may have come with a clone, a restored backup or a hand that made it: it is looked for this often. */
const CALM_MS = 10_000;
/** What did not work is not tried at every turn. */
const AGAIN_MS = 3_000;
const SUPERVISOR_DEADLINE_MS = 5_000;
const NOTE_DEADLINE_MS = 10_000;

export class BreakGlassLoop {
  readonly #options: BreakGlassLoopOptions;
  readonly #turning: Turning;
  /** When each grant was first known here to be open, by the monotonic clock. */
  readonly #knownSinceMs = new Map<string, number>();
  #unsubscribe: () => void = () => {};
  #status: BreakGlassStatus | null = null;
  #seen: unknown = null;
  /** This member is to be primary, or is, and has not looked at the roles that it came with. */
  #isLookOwed = false;
  /** What went wrong in the last turn. */
  #failure: string | null = null;

  constructor(options: BreakGlassLoopOptions) {
    this.#options = options;
    this.#turning = new Turning(options.clock, () => this.#turn());
  }

  /** What this member says of it; null: nothing is, or ever was. */
  get status(): BreakGlassStatus | null {
    return this.#status;
  }

  start(): void {
    const { consensus } = this.#options;
    this.#unsubscribe = consensus.onChange(() => {
      this.#noteOpen();
      const { breakGlass, reign } = consensus.state;
      const seen = JSON.stringify([breakGlass, reign?.epoch, reign?.lineage]);
      if (seen === this.#seen) return;
      this.#seen = seen;
      this.#turning.wake();
    });
    this.#turning.start();
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    await this.#turning.stop();
  }

  #noteOpen(): void {
    const { consensus, clock } = this.#options;
    const { breakGlass = [] } = consensus.state;
    for (const grant of breakGlass)
      if (isOpen(grant) && !this.#knownSinceMs.has(grant.id)) this.#knownSinceMs.set(grant.id, clock.nowMs());
    for (const id of this.#knownSinceMs.keys())
      if (!breakGlass.some((grant) => grant.id === id)) this.#knownSinceMs.delete(id);
  }

  async #turn(): Promise<number> {
    const { consensus, log } = this.#options;
    this.#noteOpen();
    const { breakGlass = [] } = consensus.state;
    const before = this.#failure;
    this.#failure = null;
    try {
      const guarded = await this.#guarded();
      // One of an older release knows neither word.
      if (guarded !== null) await this.#noteLocalAccess();
      const steps = await this.#decide(guarded);
      const failures = await this.#performAll(steps);
      const after = steps.length === 0 ? guarded : await this.#guarded();
      this.#note(after ?? [], guarded === null && breakGlass.length > 0 ? OLD_SUPERVISOR : null);
      if (failures.length > 0) throw new Error(failures.join("; "));
    } catch (error) {
      // What is true then is seen by the next turn.
      const problem = error instanceof Error ? error.message : String(error);
      this.#failure = problem;
      if (problem !== before) log.warn("break-glass.failed", { problem });
      this.#note(this.#status?.grants ?? [], breakGlass.length > 0 ? problem : null);
    }
    const isStanding = breakGlass.some(({ ended }) => ended === null);
    const isCalm = !isStanding && !this.#isLookOwed && this.#status?.problem == null;
    if (this.#failure !== null) return AGAIN_MS;
    return isCalm ? CALM_MS : ATTENTIVE_MS;
  }

  /** Who came in on this host while nobody could be asked. The file keeps each line until it is agreed. */
  async #noteLocalAccess(): Promise<void> {
    const { consensus, selfId, log } = this.#options;
    try {
      const { told, changes } = decideLocalAccess(consensus.state, selfId, await this.#localAccess([]));
      if (told.length > 0) await this.#localAccess(told);
      for (const change of changes) await this.#propose(change);
    } catch (error) {
      log.warn("break-glass.local-not-noted", { error: String(error) });
    }
  }

  async #localAccess(told: readonly string[]): Promise<readonly LocalAccess[]> {
    const request = { kind: "list-local-access", told } as const;
    const response = await this.#options.supervisor.request(request, SUPERVISOR_DEADLINE_MS);
    if (!response.ok) throw new Error(response.message);
    return response.localAccess ?? [];
  }

  /** By an id of its own: proposed again by whomever, it happens once. */
  async #propose(change: Change): Promise<void> {
    const { consensus, clock, log } = this.#options;
    if (change.kind !== "note-local-access" || !isUnderstoodByAll(consensus.state, change)) return;
    const { id, what } = change.access;
    const asked = { address: null, request: `LOCAL break-glass ${what}` };
    const command = { id: `local-access-${id}`, atMs: clock.wallMs(), by: "local", change, asked };
    const noted = await consensus.propose(command, NOTE_DEADLINE_MS);
    if (noted.kind === "applied") this.#turning.wake();
    else log.info("break-glass.local-not-noted", { why: noted.reason });
  }

  #note(grants: readonly GuardedStatus[], problem: string | null): void {
    this.#status = grants.length === 0 && problem === null ? null : { grants, problem };
  }

  async #guarded(): Promise<readonly GuardedStatus[] | null> {
    const response = await this.#options.supervisor.request({ kind: "look" }, SUPERVISOR_DEADLINE_MS);
    if (!response.ok) throw new Error(response.message);
    return response.look.breakGlass ?? null;
  }

  async #decide(guarded: readonly GuardedStatus[] | null): Promise<readonly BreakGlassStep[]> {
    const { consensus, clock, roles } = this.#options;
    const nowMs = clock.nowMs();
    const view = {
      grants: consensus.state.breakGlass ?? [],
      guarded,
      knownMs: (id: string) => nowMs - (this.#knownSinceMs.get(id) ?? nowMs),
      nowWallMs: clock.wallMs(),
    };
    const isPrimary = this.#isPrimary();
    this.#isLookOwed = !isPrimary && consensus.state.reign?.primaryId === this.#options.selfId;
    return decideBreakGlass({ ...view, isPrimary, roles: isPrimary ? await roles.look() : null });
  }

  #isPrimary(): boolean {
    const { consensus, selfId, status } = this.#options;
    const { reign } = consensus.state;
    const isAppointed = reign?.primaryId === selfId && reign.fence === null;
    return isAppointed && status()?.postgres.kind === "primary";
  }

  /** One that fails keeps none of the others from being done. @returns what did not work. */
  async #performAll(steps: readonly BreakGlassStep[]): Promise<readonly string[]> {
    const failures: string[] = [];
    for (const step of steps) {
      try {
        await this.#perform(step);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        failures.push(step.kind === "guard" ? why : `${step.kind} ${step.role}: ${why}`);
      }
    }
    return failures;
  }

  async #perform(step: BreakGlassStep): Promise<void> {
    const { supervisor, roles, log } = this.#options;
    switch (step.kind) {
      case "guard": {
        const request = { kind: "guard-break-glass", grants: step.grants } as const;
        const response = await supervisor.request(request, SUPERVISOR_DEADLINE_MS);
        if (!response.ok) throw new Error(response.message);
        return;
      }
      case "open-role":
        await roles.open(step.role, step.verifier, step.validUntilMs);
        log.info("break-glass.role-opened", { role: step.role, reason: step.reason });
        return;
      case "close-role":
        await roles.close(step.role);
        log.info("break-glass.role-removed", { role: step.role, reason: step.reason });
        return;
      default:
        unreachable(step);
    }
  }
}

const OLD_SUPERVISOR =
  "the supervisor beside PostgreSQL is of an older release and could not end break-glass access in time: end it once, and the member starts its own";
