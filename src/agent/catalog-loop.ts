/**
 * Keeps roles and databases as they are declared, on the primary's member: what is done there replicates. Beside the member's
 * own loop, so that a catalog that is locked holds up nothing else.
 */
import type { Clock } from "../base/clock.ts";
import type { MemberId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { CatalogFailure, CorrectedDrift, DeclaredProblem, DeclaredReport } from "../cluster/catalog.ts";
import type { Consensus } from "../cluster/consensus.ts";
import { type DeclaredSpec, insideQuestions, wishOfDatabase, wishOfRole } from "../cluster/declared.ts";
import { endedOverlaps } from "../cluster/login-pair.ts";
import type { DeclaredStatus, PostgresStatus } from "../cluster/observation.ts";
import type { CatalogPlan, CatalogStep } from "../decision/catalog-step.ts";
import { planCatalog } from "../decision/plan-catalog.ts";
import type { CatalogPort } from "./ports.ts";
import { Turning } from "./turning.ts";

export interface CatalogLoopOptions {
  readonly selfId: MemberId;
  readonly consensus: Consensus;
  readonly catalog: CatalogPort;
  /** What this member's PostgreSQL is, as last seen; null: it was not looked at yet. */
  readonly postgres: () => PostgresStatus | null;
  /** Has it agreed that everything of this revision was in force: what differs later is drift. Never rejects. */
  readonly noteInForce: (revision: number) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

/** How soon a change by hand is noticed. */
const LOOK_MS = 5_000;
/** While there is nothing to do; a change of what is agreed wakes the loop. */
const IDLE_MS = 1_000;
/** What is in a database shows in no catalog that all share: it is looked for this often. */
const INSIDE_MS = 60_000;
const PASSING_RETRY_MS = 2_000;
/** Somebody may have mended what made it impossible, and no catalog of ours shows it. The waits double. */
const IMPOSSIBLE_RETRY_MS = 20_000;
const IMPOSSIBLE_RETRY_MS_MAX = 320_000;
const CORRECTED_MAX = 20;
/** So many names are told in one line of the log. */
const NAMES_LOGGED = 10;

interface Settled {
  readonly revision: number;
  readonly fingerprint: string;
  readonly atMs: number;
  readonly now: string;
  /** The overlaps of passwords that were over. */
  readonly ended: string;
}

interface Failed extends CatalogFailure {
  readonly pauseMs: number;
  readonly retryAtMs: number;
}

const IN_VAIN: CatalogFailure = {
  isPassing: false,
  message:
    "PostgreSQL takes it and does not show it: it keeps it in another form, or somebody else granted it or changes it back.",
};

const NOTHING: DeclaredReport = { revision: null, problems: [], corrected: [] };

export class CatalogLoop {
  readonly #options: CatalogLoopOptions;
  readonly #turning: Turning;
  #unsubscribe: () => void = () => {};
  #seen = "";
  /** What was found when there was nothing to do any more: until one of the two changes, there is nothing again. */
  #settled: Settled | null = null;
  /** Everything that was said up to here was in force once: what differs now, somebody changed. */
  #inForce = 0;
  #failed = new Map<string, Failed>();
  /** What the last look carried out. */
  #done: ReadonlySet<string> = new Set();
  #report = NOTHING;
  #complaint: string | null = null;

  constructor(options: CatalogLoopOptions) {
    this.#options = options;
    this.#turning = new Turning(options.clock, () => this.#turn());
  }

  /** What was found last; only while this member's PostgreSQL is primary. */
  get report(): DeclaredReport {
    return this.#report;
  }

  /** Null: nothing is declared, or this member is not the one that cares for it. */
  get status(): DeclaredStatus | null {
    const { revision, problems } = this.#report;
    if (!this.#isPrimary() || this.#options.consensus.state.spec.declared === undefined) return null;
    const count = (state: DeclaredProblem["state"]) => problems.filter((each) => each.state === state).length;
    return {
      revision,
      impossible: count("impossible"),
      drift: count("drift"),
      pending: count("pending"),
    };
  }

  start(): void {
    this.#unsubscribe = this.#options.consensus.onChange(() => {
      const { spec, reign } = this.#options.consensus.state;
      const seen = `${spec.declared?.revision} ${reign?.epoch} ${reign?.fence === null}`;
      if (seen === this.#seen) return;
      this.#seen = seen;
      this.#turning.wake();
    });
    this.#turning.start();
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    await this.#turning.stop();
    await this.#options.catalog.close();
  }

  #isPrimary(): boolean {
    const { consensus, selfId, postgres } = this.#options;
    const { reign } = consensus.state;
    return reign?.primaryId === selfId && reign.fence === null && postgres()?.kind === "primary";
  }

  async #turn(): Promise<number> {
    const { consensus, catalog, log } = this.#options;
    const { declared } = consensus.state.spec;
    if (!this.#isPrimary() || declared === undefined) {
      if (this.#report !== NOTHING) await catalog.close();
      this.#forget();
      return IDLE_MS;
    }
    try {
      const pauseMs = await this.#look(declared);
      this.#complaint = null;
      return pauseMs;
    } catch (error) {
      const complaint = error instanceof Error ? error.message : String(error);
      if (complaint !== this.#complaint) log.warn("declared.look-failed", { error: complaint });
      this.#complaint = complaint;
      return PASSING_RETRY_MS;
    }
  }

  /** @returns milliseconds until the next look. */
  async #look(declared: DeclaredSpec): Promise<number> {
    const { catalog, clock } = this.#options;
    const { fingerprint, now } = await catalog.glance();
    const ended = endedOverlaps(declared, now);
    const settled = this.#settled;
    const isSame =
      settled !== null &&
      fingerprint === settled.fingerprint &&
      declared.revision === settled.revision &&
      ended === settled.ended;
    const inside = insideQuestions(declared);
    const nowMs = clock.nowMs();
    const isInsideDue = inside.size > 0 && nowMs - (this.#settled?.atMs ?? nowMs) >= INSIDE_MS;
    if (settled !== null && fingerprint !== settled.fingerprint) this.#hurry();
    if (isSame && !isInsideDue && nowMs < this.#retryAtMs()) return LOOK_MS;
    const plan = planCatalog(declared, await catalog.read(inside));
    const { due, drifted } = this.#sort(plan, declared);
    // What was read before is not what is there now: only a look that finds nothing to do is the last, and is told.
    if (await this.#carryOut(due, declared)) return 0;
    this.#publish(plan, drifted, declared);
    this.#settled = { revision: declared.revision, fingerprint, atMs: nowMs, now, ended };
    this.#inForce = declared.revision;
    await this.#note(declared);
    return LOOK_MS;
  }

  /** Somebody did something to the catalogs: it may be what was in the way. */
  #hurry(): void {
    for (const [key, failed] of this.#failed) {
      if (failed.isPassing || failed.pauseMs <= IMPOSSIBLE_RETRY_MS) continue;
      const triedAtMs = failed.retryAtMs - failed.pauseMs;
      const pauseMs = IMPOSSIBLE_RETRY_MS;
      this.#failed.set(key, { ...failed, pauseMs, retryAtMs: triedAtMs + pauseMs });
    }
  }

  #retryAtMs(): number {
    return Math.min(
      Number.POSITIVE_INFINITY,
      ...[...this.#failed.values()].map(({ retryAtMs }) => retryAtMs),
    );
  }

  #sort(
    { steps }: CatalogPlan,
    declared: DeclaredSpec,
  ): { readonly due: readonly CatalogStep[]; readonly drifted: readonly CatalogStep[] } {
    const { clock, consensus } = this.#options;
    const keys = new Set(steps.map((step) => keyOf(step, declared)));
    for (const key of this.#failed.keys()) if (!keys.has(key)) this.#failed.delete(key);
    const isReported = declared.drift === "report";
    const told = consensus.state.declaredInForce ?? 0;
    const isHeldBack = (step: CatalogStep) =>
      sinceOf(step, declared) <= told && !this.#isNewlyDue(step) && !this.#failed.has(keyOf(step, declared));
    const drifted = isReported ? steps.filter(isHeldBack) : [];
    const isHeld = new Set(drifted);
    const nowMs = clock.nowMs();
    const due = steps.filter((step) => {
      const failed = this.#failed.get(keyOf(step, declared));
      return !isHeld.has(step) && (failed === undefined || failed.retryAtMs <= nowMs);
    });
    return { due, drifted };
  }

  /** Time made it due since the last look that found nothing to do: it was as it should be then. */
  #isNewlyDue({ dueAt }: CatalogStep): boolean {
    return dueAt !== undefined && dueAt > (this.#settled?.now ?? "");
  }

  /** @returns whether anything was changed. */
  async #carryOut(due: readonly CatalogStep[], declared: DeclaredSpec): Promise<boolean> {
    if (due.length === 0) {
      this.#done = new Set();
      return false;
    }
    const { catalog, clock, log } = this.#options;
    const vain = due.filter((step) => this.#done.has(keyOf(step, declared)));
    const tried = due.filter((step) => !vain.includes(step));
    const results = await catalog.run(tried.map(({ statement }) => statement));
    const done: CatalogStep[] = [];
    for (const [index, step] of [...tried, ...vain].entries()) {
      // Again at once, and again: that would never end.
      const failure = index < tried.length ? (results[index] ?? null) : IN_VAIN;
      const key = keyOf(step, declared);
      if (failure === null) {
        this.#failed.delete(key);
        done.push(step);
        continue;
      }
      const before = this.#failed.get(key);
      const pauseMs = pauseAfter(failure, before);
      const isNews = before?.message !== failure.message;
      this.#failed.set(key, { ...failure, pauseMs, retryAtMs: clock.nowMs() + pauseMs });
      if (isNews) log.warn("declared.failed", { ...step.item, what: step.what, why: failure.message });
    }
    this.#done = new Set(done.map((step) => keyOf(step, declared)));
    this.#tell(done, declared);
    return done.length > 0;
  }

  /** What was done, and what of it somebody had changed. */
  #tell(done: readonly CatalogStep[], declared: DeclaredSpec): void {
    const { clock, log } = this.#options;
    if (done.length === 0) return;
    const troubled = new Set(this.#report.problems.map(({ kind, name }) => `${kind} ${name}`));
    const drift = done.filter(
      (step) =>
        sinceOf(step, declared) <= this.#inForce &&
        !this.#isNewlyDue(step) &&
        !troubled.has(`${step.item.kind} ${step.item.name}`),
    );
    const corrected: readonly CorrectedDrift[] = drift.map(({ item, what }) => ({
      ...item,
      what,
      atMs: clock.wallMs(),
    }));
    for (const { kind, name, what } of corrected.slice(0, NAMES_LOGGED))
      log.warn("declared.drift-corrected", { kind, name, what });
    this.#report = {
      ...this.#report,
      corrected: [...this.#report.corrected, ...corrected].slice(-CORRECTED_MAX),
    };
    const names = [...new Set(done.map(({ item }) => item.name))];
    log.info("declared.applied", { statements: done.length, names: names.slice(0, NAMES_LOGGED) });
  }

  #publish(
    { steps, impossible }: CatalogPlan,
    drifted: readonly CatalogStep[],
    declared: DeclaredSpec,
  ): void {
    const held = drifted.map(({ item, what }) => ({
      ...item,
      state: "drift" as const,
      reason: `Not as declared: ${what}.`,
    }));
    const failed = steps.flatMap((step): readonly DeclaredProblem[] => {
      const failure = this.#failed.get(keyOf(step, declared));
      if (failure === undefined) return [];
      return [{ ...step.item, state: failure.isPassing ? "pending" : "impossible", reason: failure.message }];
    });
    this.#report = {
      ...this.#report,
      revision: declared.revision,
      problems: [...impossible, ...failed, ...held],
    };
  }

  async #note({ drift, revision }: DeclaredSpec): Promise<void> {
    const { consensus, noteInForce } = this.#options;
    const isDue = drift === "report" && (consensus.state.declaredInForce ?? 0) < revision;
    if (isDue && this.#report.problems.every(({ state }) => state !== "pending")) await noteInForce(revision);
  }

  #forget(): void {
    this.#settled = null;
    this.#inForce = 0;
    this.#done = new Set();
    this.#failed.clear();
    this.#report = NOTHING;
  }
}

function pauseAfter({ isPassing }: CatalogFailure, before: Failed | undefined): number {
  if (isPassing) return PASSING_RETRY_MS;
  if (before === undefined || before.isPassing) return IMPOSSIBLE_RETRY_MS;
  return Math.min(before.pauseMs * 2, IMPOSSIBLE_RETRY_MS_MAX);
}

function sinceOf({ item }: CatalogStep, declared: DeclaredSpec): number {
  const wish = item.kind === "role" ? wishOfRole(declared, item.name) : wishOfDatabase(declared, item.name);
  return wish?.since ?? 0;
}

/** A wish that is said again is tried again. */
function keyOf(step: CatalogStep, declared: DeclaredSpec): string {
  return `${sinceOf(step, declared)} ${JSON.stringify(step.statement)}`;
}
