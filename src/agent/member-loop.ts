/**
 * The member's loop: look at the local PostgreSQL, tell the cluster, decide, act; and again when something happened.
 *
 * It never waits inside a turn for something to come true. Long work (a clone) runs beside the loop, and only a promise
 * (a pledge, an immediate stop) may overtake it.
 */
import type { Clock } from "../base/clock.ts";
import type { MemberId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { BreakGlassStatus } from "../cluster/break-glass.ts";
import type { Consensus } from "../cluster/consensus.ts";
import { FEATURE_LEVEL } from "../cluster/feature-level.ts";
import type {
  CertificatesStatus,
  DeclaredStatus,
  MemberStatus,
  Observation,
  PrimaryStatus,
  SpecInForce,
  SynchronousStatus,
  SyslogStatus,
} from "../cluster/observation.ts";
import { mayDegrade } from "../cluster/spec.ts";
import { type ClusterState, type CohortName, leaseMsOf, newestCohort } from "../cluster/state.ts";
import { decideMember } from "../decision/decide-member.ts";
import type { WalReach } from "../decision/member-view.ts";
import type { Action, Pace, Plan } from "../decision/plan.ts";
import { primaryChanges } from "../decision/primary-changes.ts";
import { needsLease } from "../decision/quorum.ts";
import { NO_REIGN_SEEN, type ReignSeen, seeReign } from "../decision/reign-seen.ts";
import { servedRole } from "../decision/served-role.ts";
import { perform } from "./execute.ts";
import { HealthChecks } from "./health-checks.ts";
import { Hunger } from "./hunger.ts";
import type { LeaseGrant } from "./lease-grants.ts";
import { accessStatus, type LocalLook, lookAt, NO_PROMISES, type WatchPrimary } from "./look.ts";
import type { HooksPort, LocalPostgres, ProbeLook } from "./ports.ts";
import { PrimaryWatch } from "./primary-watch.ts";
import { RetryLater } from "./retry-later.ts";
import { Turning } from "./turning.ts";

export interface MemberLoopOptions {
  readonly selfId: MemberId;
  readonly bootId: string;
  /** As in `MemberStatus`. */
  readonly life: number;
  readonly version: string;
  readonly consensus: Consensus;
  /** What this member decides for the cluster while it leads. */
  readonly leading: () => MemberStatus["leading"];
  /** Null: a witness. */
  readonly local: LocalPostgres | null;
  /** Null: the host's owner has none. */
  readonly hooks: HooksPort | null;
  /** Who is let in here for a while. Absent, or null: nobody. */
  readonly breakGlass?: () => BreakGlassStatus | null;
  /** Absent, or null: the audit trail is sent to no syslog daemon. */
  readonly syslog?: () => SyslogStatus | null;
  /** Absent: this member has none. */
  readonly certificates?: () => CertificatesStatus | null;
  /** How many of what is declared of roles and databases are not so. Absent: nobody here looks. */
  readonly declared?: () => DeclaredStatus | null;
  readonly clock: Clock;
  readonly log: Log;
}

/** How often to look while nothing happens. Events wake the loop at once. */
const CALM_MS = 500;
/** While long work runs: its progress is worth telling. */
const BUSY_MS = 200;
const SOON_MS = 20;
/** From this share of `suspectMs` on a silent primary's stream is watched closely. */
const SUSPICION_SHARE = 0.75;
const ATTENTION_MS_MIN = 100;
/** How often a leased primary looks, and so renews its lease: some may be lost. */
const LOOKS_PER_LEASE = 12;
/** A commit that has been waiting for standbys for so long is watched closely. */
const WAIT_MS_NOTICED = 150;
const LEASE_DEADLINE_MS = 1_000;
const URGENT_MS = 4;
/** What is awaited for longer than `PATIENCE_MS` is looked for this often. */
const IMPATIENT_MS = 100;
const PATIENCE_MS = 1_000;
const RESIGNED_MS = 10_000;

interface Running {
  readonly plan: Plan;
  readonly promise: Promise<void>;
}

export class MemberLoop {
  readonly #options: MemberLoopOptions;
  readonly #turning: Turning;
  readonly #retryLater = new RetryLater();
  readonly #unsubscribe: (() => void)[] = [];
  #running: Running | null = null;
  #synchronous: SynchronousStatus | null = null;
  readonly #watch = new PrimaryWatch();
  readonly #hunger = new Hunger();
  readonly #checks: HealthChecks | null;
  #unansweredSinceMs: number | null = null;
  #startingSinceMs: number | null = null;
  #failedStarts = 0;
  /** PostgreSQL may not have read the settings that are on disk: a member before us, or a plan that failed, left it so. */
  #isReloadOwed = true;
  #reign: ReignSeen = NO_REIGN_SEEN;
  /** What was known of the cohort when each plan that is under way was decided, oldest first. */
  readonly #decidedOn = new Set<{ readonly cohort: CohortName | null }>();
  /** How many plans are through, well or badly. */
  #performed = 0;
  #failure: string | null = null;
  #awaited: { readonly reason: string; readonly pace: Pace; readonly sinceMs: number } = {
    reason: "",
    pace: "calm",
    sinceMs: 0,
  };
  /** What the running plan is at. */
  #acting: Action["kind"] | null = null;
  #reason = "";
  #specInForce: SpecInForce | null = null;
  #sequence = 0;
  #status: MemberStatus | null = null;
  #turnedAtMs: number | null = null;
  #seen: { readonly state: ClusterState; readonly others: string } | null = null;

  constructor(options: MemberLoopOptions) {
    this.#options = options;
    const { local, clock } = options;
    this.#checks = local === null ? null : new HealthChecks(local.probe, clock, () => this.#turning.wake());
    this.#turning = new Turning(options.clock, async () => {
      const delayMs = await this.#turn();
      this.#turnedAtMs = options.clock.nowMs();
      return delayMs;
    });
  }

  /** What this member last said of itself. */
  get status(): MemberStatus | null {
    return this.#status;
  }

  /** When the last turn ended, by the monotonic clock; null before the first. */
  get turnedAtMs(): number | null {
    return this.#turnedAtMs;
  }

  /** The leader gives this member a lease: its own stamp comes back, confirmed. The supervisor holds PostgreSQL to it. */
  async takeLease({ epoch, stampMs, durationMs }: LeaseGrant): Promise<void> {
    const { local, log } = this.#options;
    if (local === null) return;
    const request = { kind: "extend-lease", epoch, stampMs, durationMs } as const;
    const response = await local.supervisor.request(request, LEASE_DEADLINE_MS);
    if (!response.ok) log.warn("member.lease-refused", { epoch, code: response.code, why: response.message });
    // Somebody may be waiting for it to reign.
    if (this.#awaited.reason === "waiting-for-lease") this.#turning.wake();
  }

  start(): void {
    const { consensus, local } = this.#options;
    this.#unsubscribe.push(consensus.onChange(() => this.#onConsensus()));
    if (local !== null) {
      this.#unsubscribe.push(
        local.supervisor.onEvent((event) => {
          const wasStarting =
            this.#status?.postgres.kind === "starting" || this.#running?.plan.reason === "starting";
          if (event.kind === "postmaster-exited" && wasStarting) this.#failedStarts += 1;
          this.#turning.wake();
        }),
      );
    }
    this.#turning.start();
  }

  async stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    await this.#turning.stop();
  }

  /** Heartbeats and WAL positions are no news: a new state is, another leader, a connection, a primary that changed. */
  #onConsensus(): void {
    const { state } = this.#options.consensus;
    const others = `${this.#describeOthers()} ${this.#describePrimary()}`;
    if (state === this.#seen?.state && others === this.#seen.others) return;
    this.#seen = { state, others };
    this.#turning.wake();
  }

  /** Who leads, and who is connected: where that changes, streams may have ended too. */
  #describeOthers(): string {
    const { raft, observations } = this.#options.consensus;
    const connected = [...observations].filter(([, { isConnected }]) => isConnected).map(([id]) => id);
    return `${raft.leaderId} ${connected.sort().join(",")}`;
  }

  /** What of another member that is primary may change this member's mind. */
  #describePrimary(): string {
    const primary = this.#primary();
    if (primary === null || primary.status.memberId === this.#options.selfId) return "";
    const { postgres, promises } = primary.status;
    const ready =
      postgres.kind === "primary" ? `${postgres.checkpointTimeline} ${postgres.isProvisioned}` : "";
    return `${primary.isConnected} ${postgres.kind} ${promises.walEpoch} ${ready}`;
  }

  #primary(): Observation | null {
    const { state, observations } = this.#options.consensus;
    return state.reign === null ? null : (observations.get(state.reign.primaryId) ?? null);
  }

  /** From where on the primary has WAL. Null: that is not known. */
  #primaryWal(): Omit<WalReach, "untilLsn"> | null {
    const status = this.#primary()?.status;
    if (status?.postgres.kind !== "primary" || status.postgres.walFromLsn === undefined) return null;
    return { primaryFromLsn: status.postgres.walFromLsn, epoch: status.promises.walEpoch };
  }

  async #turn(): Promise<number> {
    const { local, selfId, consensus } = this.#options;
    const performed = this.#performed;
    const cohortKnown = this.#cohortKnown();
    const watch: WatchPrimary = (seen) => this.#watchPrimary(seen);
    const primaryWal = this.#primaryWal();
    const wantsWal = primaryWal !== null && this.#hunger.isLookDue(this.#options.clock.nowMs());
    const look = local === null ? WITNESS : await lookAt(local, watch, { wantsWal });
    if (look.postgres.kind === "standby" || look.postgres.kind === "primary") this.#failedStarts = 0;
    if (local === null) {
      this.#publish(look, { reason: "witness", detail: null, actions: [], pace: "calm" }, cohortKnown);
      return CALM_MS;
    }
    // Half of it may have been seen before a plan was through: it would be begun again, and a clone replaced by another.
    if (performed !== this.#performed) return 0;
    const takesConnections = look.postgres.kind === "standby" || look.postgres.kind === "primary";
    if (this.#isReloadOwed && takesConnections) await this.#reload(local);
    const nowMs = this.#options.clock.nowMs();
    this.#reign = seeReign(this.#reign, consensus.state.reign, nowMs);
    this.#hunger.note(look.postgres, nowMs);
    const isMute = look.postgres.kind === "unresponsive";
    this.#unansweredSinceMs = isMute ? (this.#unansweredSinceMs ?? nowMs) : null;
    const isStarting = look.postgres.kind === "starting";
    this.#startingSinceMs = isStarting ? (this.#startingSinceMs ?? nowMs) : null;
    const plan = decideMember({
      state: consensus.state,
      selfId,
      postgres: look.postgres,
      promises: look.promises,
      needsClone: look.needsClone,
      hasAside: look.hasAside,
      walReach:
        look.walUntilLsn == null || primaryWal === null
          ? null
          : { untilLsn: look.walUntilLsn, ...primaryWal },
      hasStandbySignal: look.hasStandbySignal,
      lease: look.lease ?? null,
      unansweredMs: this.#unansweredSinceMs === null ? null : nowMs - this.#unansweredSinceMs,
      startingMs: this.#startingSinceMs === null ? null : nowMs - this.#startingSinceMs,
      isDiskFull: look.disks.some(({ isFull }) => isFull),
      reignKnownMs: nowMs - this.#reign.sinceMs,
      fenceKnownMs: this.#reign.fenceSinceMs === null ? null : nowMs - this.#reign.fenceSinceMs,
      failedStarts: this.#failedStarts,
      settingsHash: look.settingsHash,
      instance: look.instance,
      takesAccess: look.access !== undefined,
      hashSettings: local.hashSettings,
      local: local.settings,
      observations: consensus.observations,
      primary: this.#primary(),
    });
    this.#publish(look, plan, cohortKnown);
    return Math.min(this.#carryOut(plan, local), this.#attentionMs(look));
  }

  /** A lease must be renewed, a commit that waits be noticed, and a stream of a primary that falls silent be looked at in time. */
  #attentionMs({ postgres, postmasterState }: LocalLook): number {
    if (postmasterState === "stopped") return ATTENTION_MS_MIN;
    const { reign, spec } = this.#options.consensus.state;
    const primary = this.#primary();
    if (postgres.kind === "standby" && primary !== null)
      return Math.max(ATTENTION_MS_MIN, this.#untilSuspicionMs(primary));
    if (postgres.kind !== "primary" || reign === null) return CALM_MS;
    if (needsLease(this.#options.consensus.state))
      return leaseMsOf(this.#options.consensus.state) / LOOKS_PER_LEASE;
    const waitsMs = postgres.commitWaitMs ?? 0;
    if (waitsMs >= WAIT_MS_NOTICED) return SOON_MS;
    return mayDegrade(spec) ? WAIT_MS_NOTICED : CALM_MS;
  }

  async #reload(local: LocalPostgres): Promise<void> {
    try {
      await perform({ kind: "reload" }, local);
      this.#isReloadOwed = false;
    } catch (error) {
      // It ended just now, or the supervisor is being restarted: the next turn sees, and still owes it.
      this.#options.log.warn("member.reload-failed", { error: String(error) });
    }
  }

  #watchPrimary(
    seen: Extract<ProbeLook, { kind: "primary" }>,
  ): Pick<PrimaryStatus, "synchronous" | "standbys" | "commitWaitMs"> {
    return {
      synchronous: this.#synchronousOf(seen),
      ...this.#watch.observe(seen, this.#options.clock.nowMs()),
    };
  }

  /**
   * The effective setting, and a WAL position at or after the moment at which it took effect. While the configuration is
   * being changed the old one is still reported: it counts only once the plan, with its checkpoint, is through.
   */
  #synchronousOf(seen: Extract<ProbeLook, { kind: "primary" }>): SynchronousStatus {
    const names = seen.synchronousStandbyNames;
    if (this.#synchronous?.names === names) return this.#synchronous;
    const isChanging = this.#running?.plan.reason === "configuring";
    if (isChanging && this.#synchronous !== null) return this.#synchronous;
    this.#synchronous = { names, sinceLsn: seen.writtenLsn };
    return this.#synchronous;
  }

  /** Of which cohort the next look tells: a plan that was decided on an older one may still bring that one into effect. */
  #cohortKnown(): CohortName | null {
    const [oldest] = this.#decidedOn;
    return oldest === undefined ? this.#newestCohort() : oldest.cohort;
  }

  #newestCohort(): CohortName | null {
    const { reign } = this.#options.consensus.state;
    return reign === null ? null : newestCohort(reign);
  }

  /** What is decided on is what is agreed now: where that asks for no other settings, PostgreSQL has all of it. */
  #noteSpec({ postgres }: LocalLook, { actions }: Plan): void {
    const isRunning = postgres.kind === "primary" || postgres.kind === "standby";
    if (!isRunning && postgres.kind !== "witness") return;
    if (actions.some(({ kind }) => kind === "configure")) return;
    const { generation, specHistory } = this.#options.consensus.state;
    this.#specInForce = { generation, checksum: specHistory?.at(-1)?.checksum ?? null };
  }

  #publish(look: LocalLook, plan: Plan, cohortKnown: CohortName | null): void {
    this.#noteSpec(look, plan);
    const { selfId, bootId, life, version, consensus, hooks, log } = this.#options;
    const breakGlass = this.#options.breakGlass?.() ?? null;
    const access = accessStatus(consensus.state, look);
    const declared = this.#options.declared?.() ?? null;
    const certificates = this.#options.certificates?.() ?? null;
    const syslog = this.#options.syslog?.() ?? null;
    const detail = this.#failure ?? plan.detail ?? access?.problem ?? null;
    this.#sequence += 1;
    this.#status = {
      memberId: selfId,
      bootId,
      life,
      sequence: this.#sequence,
      postgres: look.postgres,
      promises: look.promises,
      isRebuilt: look.hasAside,
      work: look.work,
      reason: plan.reason,
      detail,
      leading: this.#options.leading(),
      version,
      featureLevel: FEATURE_LEVEL,
      postmasterState: look.postmasterState,
      disks: look.disks,
      lease: look.lease ?? null,
      ...(cohortKnown === null ? {} : { cohortKnown }),
      ...(access === null ? {} : { access }),
      ...(breakGlass === null ? {} : { breakGlass }),
      ...(declared === null ? {} : { declared }),
      ...(certificates === null ? {} : { certificates }),
      ...(syslog === null ? {} : { syslog }),
      ...(this.#specInForce === null ? {} : { spec: this.#specInForce }),
      ...(look.postgresMajor == null ? {} : { postgresMajor: look.postgresMajor }),
      ...(this.#checks === null
        ? {}
        : { checks: this.#checks.consider(look.postgres, look.postmasterState, look.instance) }),
      ...this.#waitingForStart(),
      ...(look.instance === null ? {} : { instance: look.instance }),
      ...(hooks === null ? {} : { hooks: hooks.status }),
      ...(this.#isLeased() && look.stampMs !== null ? { leaseStampMs: look.stampMs } : {}),
    };
    if (look.postgres.kind !== "primary") {
      this.#synchronous = null;
      this.#watch.forget();
    }
    if (plan.reason !== this.#reason) {
      log.info("member.decided", {
        reason: plan.reason,
        was: this.#reason,
        postgres: look.postgres.kind,
        detail,
      });
      this.#reason = plan.reason;
    }
    hooks?.tellRole(servedRole(consensus.state, this.#status));
    hooks?.tellChanges(primaryChanges(consensus.state));
    consensus.publish(this.#status);
  }

  /** What the running server said of its parameters, as far as it was asked. */
  #waitingForStart(): Pick<MemberStatus, "pendingRestart" | "limits"> {
    const { pendingRestart = [], limits = null } = this.#checks ?? {};
    return {
      ...(pendingRestart.length === 0 ? {} : { pendingRestart }),
      ...(limits === null ? {} : { limits }),
    };
  }

  /** This member reigns, or is about to, and only under a lease. */
  #isLeased(): boolean {
    const { state } = this.#options.consensus;
    const { reign } = state;
    return reign?.primaryId === this.#options.selfId && reign.fence === null && needsLease(state);
  }

  /** Begins the plan unless something else runs. @returns milliseconds until the next look. */
  #carryOut(plan: Plan, local: LocalPostgres): number {
    const paceMs = this.#paceMs(plan);
    if (plan.actions.length === 0) return paceMs;
    if (this.#running !== null && !mayOvertake(plan, this.#running.plan, this.#acting)) return BUSY_MS;
    const key = JSON.stringify(plan.actions);
    const delayMs = this.#retryLater.delayMs(key, this.#options.clock.nowMs());
    if (delayMs > 0) return Math.min(delayMs, paceMs);
    const promise = this.#perform(plan, key, local).finally(() => {
      if (this.#running?.promise === promise) this.#running = null;
      this.#turning.wake();
    });
    this.#running = { plan, promise };
    return BUSY_MS;
  }

  /** Milliseconds until the next look. What was expected soon and did not come is not looked for as often any more. */
  #paceMs({ reason, pace }: Plan): number {
    const nowMs = this.#options.clock.nowMs();
    const isNew = reason !== this.#awaited.reason || pace !== this.#awaited.pace;
    if (isNew) this.#awaited = { reason, pace, sinceMs: nowMs };
    if (pace === "calm") return this.#mayHaveLostPrimary() ? SOON_MS : CALM_MS;
    const awaitedMs = nowMs - this.#awaited.sinceMs;
    if (awaitedMs > RESIGNED_MS) return CALM_MS;
    if (awaitedMs > PATIENCE_MS) return IMPATIENT_MS;
    return pace === "urgent" ? URGENT_MS : SOON_MS;
  }

  /** The primary's member is silent: whether its WAL stream is too is what the leader waits to hear. */
  #mayHaveLostPrimary(): boolean {
    const isStreaming =
      this.#status?.postgres.kind === "standby" && this.#status.postgres.walReceiver !== null;
    const primary = this.#primary();
    if (!isStreaming || primary === null) return false;
    return !primary.isConnected || this.#untilSuspicionMs(primary) <= 0;
  }

  /** What is known of the primary comes in twice a second: only longer silence means something. */
  #untilSuspicionMs(primary: Observation): number {
    const { timing } = this.#options.consensus.state.spec;
    const silentMs = this.#options.clock.nowMs() - primary.heardAtMs;
    return timing.suspectMs * SUSPICION_SHARE - silentMs;
  }

  async #perform(plan: Plan, key: string, local: LocalPostgres): Promise<void> {
    const { log, clock } = this.#options;
    const startedAtMs = clock.nowMs();
    const decidedOn = { cohort: this.#newestCohort() };
    this.#decidedOn.add(decidedOn);
    let current: Action["kind"] | null = null;
    try {
      for (const action of plan.actions) {
        // Decided before something that could not wait for its checkpoint: another look decides whether it still holds.
        if (plan.reason === "restarting" && current !== null && this.#running?.plan !== plan) break;
        current = action.kind;
        if (this.#running === null || this.#running.plan === plan) this.#acting = current;
        await perform(action, local);
        // Other data: what the old could not do says nothing of it.
        if (action.kind === "clone") this.#failedStarts = 0;
        if (action.kind === "reload") this.#checks?.noteReload();
      }
      this.#failure = null;
      log.info("member.acted", {
        reason: plan.reason,
        actions: plan.actions.map(({ kind }) => kind).join(","),
        durationMs: Math.round(clock.nowMs() - startedAtMs),
      });
    } catch (error) {
      // Not fatal: what is true now is seen by the next look, which decides anew.
      this.#failure = error instanceof Error ? error.message : String(error);
      this.#isReloadOwed = true;
      log.warn("member.action-failed", { reason: plan.reason, action: current, error: this.#failure });
    }
    this.#decidedOn.delete(decidedOn);
    this.#performed += 1;
    this.#retryLater.done(key, clock.nowMs());
  }
}

/** A promise never waits behind long work (the supervisor ends that work), and nothing waits behind a checkpoint. */
function mayOvertake(plan: Plan, running: Plan, acting: Action["kind"] | null): boolean {
  const isCheckpointing = running.reason === "checkpointing" || running.reason === "restarting";
  if (isCheckpointing && acting === "checkpoint") return plan.reason !== running.reason;
  const isPromise = plan.reason === "pledging" || plan.reason === "superseded";
  return isPromise && running.reason !== plan.reason;
}

const WITNESS: LocalLook = {
  postgres: { kind: "witness" },
  promises: NO_PROMISES,
  work: null,
  needsClone: null,
  hasAside: false,
  settingsHash: null,
  hasStandbySignal: true,
  postmasterState: null,
  instance: null,
  disks: [],
  lease: null,
  stampMs: null,
};
