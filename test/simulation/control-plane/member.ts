/**
 * A member's side: it looks at its PostgreSQL, says what it saw, decides by production code and acts. As in the member's loop,
 * a look takes its time, a plan is carried out beside the looks, and a promise may overtake it.
 */
import type { TimelineId } from "../../../src/base/ids.ts";
import type { Lsn } from "../../../src/base/lsn.ts";
import { FEATURE_LEVEL } from "../../../src/cluster/feature-level.ts";
import type {
  DiskStatus,
  MemberStatus,
  Observation,
  PostgresStatus,
} from "../../../src/cluster/observation.ts";
import { renderSynchronousStandbyNames } from "../../../src/cluster/synchronous-standby-names.ts";
import { decideMember } from "../../../src/decision/decide-member.ts";
import type { Action, Plan } from "../../../src/decision/plan.ts";
import { isLeasedReign } from "../../../src/decision/quorum.ts";
import { seeReign } from "../../../src/decision/reign-seen.ts";
import { NO_PROMISES } from "../../../src/supervisor/promises.ts";
import { type Host, isAlive, type MemberProcess, type Running } from "./host.ts";
import type { Invariants } from "./invariants.ts";
import type { SupervisorSight } from "./model-supervisor.ts";
import type { World } from "./world.ts";

type Alive = Host & { process: MemberProcess };

const GIGABYTE = 1e9;

export class MemberSide {
  readonly #world: World;
  readonly #invariants: Invariants;

  constructor(world: World, invariants: Invariants) {
    this.#world = world;
    this.#invariants = invariants;
  }

  /** One look, or half of one: what the supervisor says may be older than what SQL says. */
  turn(host: Host): void {
    if (!isAlive(host)) return;
    const { process, supervisor } = host;
    const first = process.halfLook ?? supervisor.look();
    // Only where a server runs is there a second half to wait for.
    if (process.halfLook === null && first?.isUp === true && this.#world.chance.is(0.15)) {
      process.halfLook = first;
      return;
    }
    process.halfLook = null;
    const sight = this.#secondLook(host, first);
    const postgres = this.#lookAtPostgres(host, sight);
    const isUp = postgres.kind === "standby" || postgres.kind === "primary";
    if (isUp) process.failedStarts = 0;
    if (process.isReloadOwed && isUp && supervisor.perform({ kind: "reload" }) === "done")
      process.isReloadOwed = false;
    const plan = this.#decide(host, sight, postgres);
    this.#publish(host, sight, postgres, plan);
    this.#begin(host, plan);
  }

  /** The next action of a plan that is under way. */
  act(host: Host): void {
    if (!isAlive(host) || host.process.running.length === 0) return;
    const running = this.#world.chance.pick(host.process.running);
    const action = running.plan.actions[running.done];
    if (action === undefined) return;
    running.done += 1;
    this.#perform(host, running, action);
    if (running.done >= running.plan.actions.length) finish(host.process, running);
  }

  #perform(host: Alive, running: Running, action: Action): void {
    const { name, process, supervisor } = host;
    this.#invariants.checkAction(host, running.plan, action);
    const result = supervisor.perform(action);
    if (result === "ended-while-starting") process.failedStarts += 1;
    if (action.kind === "clone" && result === "done") process.failedStarts = 0;
    if (action.kind === "promote" && result === "done") this.#invariants.toldToPromote(host, action.epoch);
    const told = `${name} ${action.kind}${"epoch" in action ? ` ${action.epoch}` : ""}`;
    this.#world.note(result === "done" ? told : `${told}: ${result}`);
    if (result !== "refused") return;
    process.isReloadOwed = true;
    finish(process, running);
  }

  /** A promotion came between the halves: what the supervisor said is asked again. */
  #secondLook({ postgres, supervisor }: Alive, sight: SupervisorSight | null): SupervisorSight | null {
    const isOld = sight?.isUp === true && postgres.kind === "primary" && sight.timeline !== postgres.timeline;
    return isOld && this.#world.sabotage !== "believe-half-a-look" ? supervisor.look() : sight;
  }

  // --- Looking -------------------------------------------------------------------------------------------------------

  #lookAtPostgres(host: Alive, sight: SupervisorSight | null): PostgresStatus {
    const { postgres, process, supervisor } = host;
    if (postgres.kind !== "primary") {
      process.synchronous = null;
      process.watch.forget();
    }
    if (sight === null) return { kind: "unknown", detail: "the supervisor does not answer" };
    if (!sight.isUp) return sight.data;
    if (!postgres.isRunning) return { kind: "starting", detail: "nobody listens" };
    if (postgres.isFrozen) return { kind: "unresponsive", detail: "frozen" };
    const system = { systemIdentifier: postgres.system, timeline: postgres.timeline as TimelineId };
    if (postgres.kind === "primary") return this.#lookAtPrimary(host, system);
    const receivedLsn = (supervisor.lie ?? postgres.wal.length) as Lsn;
    return {
      kind: "standby",
      ...system,
      receivedLsn,
      replayedLsn: receivedLsn,
      walReceiver: supervisor.lie === null ? postgres.lookAtReceiver() : null,
      ...(sight.isPromoted ? { isPromoting: true } : {}),
    };
  }

  #lookAtPrimary(host: Alive, system: { systemIdentifier: string; timeline: TimelineId }): PostgresStatus {
    const { postgres, process } = host;
    const rule = postgres.effective?.synchronousStandbyNames ?? null;
    const names = rule === null ? "" : renderSynchronousStandbyNames(rule.k, rule.names);
    const writtenLsn = postgres.wal.length as Lsn;
    if (process.synchronous?.names !== names) process.synchronous = { names, sinceLsn: writtenLsn };
    const waiting = rule === null ? undefined : postgres.wal[postgres.acknowledgedUpTo()];
    const seen = {
      writtenLsn,
      standbys: postgres.connections(),
      waitingCommits: waiting === undefined ? [] : [`${waiting.id}`],
    };
    return {
      kind: "primary",
      ...system,
      writtenLsn,
      ancestors: postgres.ancestors,
      checkpointTimeline: postgres.checkpointTimeline as TimelineId,
      synchronous: process.synchronous,
      isProvisioned: postgres.hasRoles,
      ...process.watch.observe(seen, this.#world.hostMs(host)),
    };
  }

  // --- Deciding ------------------------------------------------------------------------------------------------------

  #decide(host: Alive, sight: SupervisorSight | null, postgres: PostgresStatus): Plan {
    const { process } = host;
    const state = this.#world.knownTo(host);
    const nowMs = this.#world.hostMs(host);
    process.reign = seeReign(process.reign, state.reign, nowMs);
    const isMute = postgres.kind === "unresponsive";
    process.unansweredSinceMs = isMute ? (process.unansweredSinceMs ?? nowMs) : null;
    const observations = this.#observationsOf(host);
    const plan = decideMember({
      state,
      selfId: host.id,
      postgres,
      promises: sight?.promises ?? NO_PROMISES,
      hasStandbySignal: sight?.hasStandbySignal ?? true,
      lease: sight?.lease ?? null,
      unansweredMs: process.unansweredSinceMs === null ? null : nowMs - process.unansweredSinceMs,
      startingMs: null,
      isDiskFull: host.supervisor.isDiskFull,
      needsClone: sight?.needsClone ?? null,
      hasAside: sight?.hasAside ?? false,
      reignKnownMs: nowMs - process.reign.sinceMs,
      fenceKnownMs: process.reign.fenceSinceMs === null ? null : nowMs - process.reign.fenceSinceMs,
      failedStarts: process.failedStarts,
      settingsHash: sight?.settingsHash ?? null,
      hashSettings: (settings) => JSON.stringify(settings),
      local: { listenAddresses: "*", port: 5432, socketDirectory: "/tmp" },
      observations,
      primary: state.reign === null ? null : (observations.get(state.reign.primaryId) ?? null),
    });
    this.#invariants.checkHold(plan);
    return this.#sabotaged(host, plan);
  }

  #observationsOf(host: Alive): ReadonlyMap<Host["id"], Observation> {
    const seen = host.process.board.observations(this.#world.hostMs(host));
    return new Map(seen.map((each) => [each.status.memberId, each]));
  }

  /** Begins a plan unless another is under way that it may not overtake. */
  #begin(host: Alive, plan: Plan): void {
    const { running } = host.process;
    if (plan.actions.length === 0) return;
    const [first] = running;
    if (first !== undefined && (running.length > 1 || !mayOvertake(plan, first.plan))) return;
    running.push({ plan, done: 0 });
    this.#world.note(`${host.name} plans ${plan.reason}`);
  }

  // --- Saying --------------------------------------------------------------------------------------------------------

  #publish(host: Alive, sight: SupervisorSight | null, postgres: PostgresStatus, plan: Plan): void {
    const { process } = host;
    const nowMs = this.#world.hostMs(host);
    const { reign } = this.#world.knownTo(host);
    const isLeased = reign?.primaryId === host.id && reign.fence === null && isLeasedReign(reign);
    process.sequence += 1;
    process.statusAtMs = nowMs;
    process.status = {
      memberId: host.id,
      bootId: process.bootId,
      sequence: process.sequence,
      postgres,
      promises: sight?.promises ?? NO_PROMISES,
      isRebuilt: sight?.hasAside ?? false,
      work: null,
      reason: plan.reason,
      detail: plan.detail,
      leading: null,
      version: "model",
      featureLevel: FEATURE_LEVEL,
      postmasterState: sight?.isUp === true ? (sight.isStopped ? "stopped" : "running") : null,
      disks: disksOf(host),
      checks: checksOf(host, postgres, sight, nowMs),
      lease: sight?.lease ?? null,
      ...(isLeased && sight !== null ? { leaseStampMs: sight.stampMs } : {}),
    };
    process.board.takeStatus(host.id, { status: process.status, ageMs: 0 }, nowMs);
    this.tell(host, this.#world.leader);
  }

  /** Says its newest status to another member; on its way it may be slow, and be overtaken. */
  tell(host: Alive, to: Host): void {
    const { status, statusAtMs } = host.process;
    if (status === null || to === host) return;
    const ageMs = this.#world.hostMs(host) - statusAtMs;
    this.#world.send(host, to, () => {
      if (!isAlive(to)) return;
      const nowMs = this.#world.hostMs(to);
      to.process.board.heard(host.id, nowMs);
      to.process.board.takeStatus(host.id, { status: this.#trusted(to, status), ageMs }, nowMs);
    });
  }

  /** Sabotage: what comes last counts, of whatever life it is. */
  #trusted(to: Alive, status: MemberStatus): MemberStatus {
    if (this.#world.sabotage !== "trust-a-status-of-an-earlier-life") return status;
    to.process.sequence += 1;
    return { ...status, bootId: "any", sequence: to.process.sequence };
  }

  // --- Sabotage ------------------------------------------------------------------------------------------------------

  #sabotaged(host: Alive, plan: Plan): Plan {
    const { sabotage, chance } = this.#world;
    const { postgres } = host;
    if (sabotage === "stop-a-primary-without-a-leader" && postgres.kind === "primary") {
      if (!this.#world.hasMajority(host)) return { ...plan, actions: [{ kind: "stop", mode: "immediate" }] };
    }
    if (sabotage === "ignore-the-epoch-of-timelines") return believingNumbers(host, plan);
    const [action] = plan.actions;
    const isRewind = plan.reason === "rewinding" && action !== undefined;
    if (sabotage === "clone-without-a-reason" && isRewind && chance.is(0.1)) {
      const rewind = plan.actions.find((each) => each.kind === "rewind");
      if (rewind?.kind !== "rewind") return plan;
      const { epoch, timelines, source } = rewind;
      const { clusterId } = this.#world.latest;
      const clone: Action = { kind: "clone", clusterId, epoch, timelines, source, replace: "it is quicker" };
      return { ...plan, actions: [action, clone] };
    }
    return plan;
  }
}

/** Sabotage: trusts timeline numbers, as if a rewind could always mend it. */
function believingNumbers({ supervisor }: Alive, plan: Plan): Plan {
  const [, clone] = plan.actions;
  const { settings } = supervisor;
  if (clone?.kind !== "clone" || clone.replace?.includes("was written under") !== true || settings === null)
    return plan;
  const { epoch, timelines, source } = clone;
  const configure: Action = {
    kind: "configure",
    epoch,
    timelines,
    settings: { ...settings, upstream: source },
  };
  return { ...plan, actions: [configure, { kind: "reload" }] };
}

function finish(process: MemberProcess, running: Running): void {
  process.running = process.running.filter((each) => each !== running);
}

/** As the member's loop has it. */
function mayOvertake(plan: Plan, running: Plan): boolean {
  if (running.reason === "checkpointing") return plan.reason !== "checkpointing";
  const isPromise = plan.reason === "pledging" || plan.reason === "superseded";
  return isPromise && running.reason !== plan.reason;
}

function disksOf({ postgres, supervisor }: Host): readonly DiskStatus[] {
  const { isDiskFull } = supervisor;
  const isStalled = postgres.isDiskStuck && !isDiskFull;
  return [
    {
      place: "data",
      lastSyncMs: 1,
      pendingMs: isStalled ? 60_000 : null,
      freeBytes: isDiskFull ? 0 : GIGABYTE,
      totalBytes: GIGABYTE,
      isFull: isDiskFull,
    },
  ];
}

function checksOf(
  { process, postgres: server }: Alive,
  postgres: PostgresStatus,
  sight: SupervisorSight | null,
  nowMs: number,
): NonNullable<MemberStatus["checks"]> {
  const isStuck = postgres.kind === "primary" && server.isDiskStuck;
  process.writeFailingSinceMs = isStuck ? (process.writeFailingSinceMs ?? nowMs) : null;
  process.stoppedSinceMs = sight?.isStopped === true ? (process.stoppedSinceMs ?? nowMs) : null;
  return {
    connectionFailingMs: null,
    writeFailingMs: process.writeFailingSinceMs === null ? null : nowMs - process.writeFailingSinceMs,
    postmasterStoppedMs: process.stoppedSinceMs === null ? null : nowMs - process.stoppedSinceMs,
    detail: null,
  };
}
