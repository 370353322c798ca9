/**
 * The leader's loop: while this member leads, turn what is agreed and what is seen into the next command.
 *
 * Event-driven: an observation, an applied command or a deadline makes a turn. One thing at a time, and the next turn
 * sees what it did.
 */
import { unreachable } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { LogIndex, MemberId, Term } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { Result } from "../base/result.ts";
import type { Change } from "../cluster/command.ts";
import type { Consensus } from "../cluster/consensus.ts";
import type { Leading } from "../cluster/observation.ts";
import type { ClusterDecision } from "../decision/cluster-decision.ts";
import {
  type ClusterView,
  type HandOver,
  type HandOverQuestion,
  silentMs,
} from "../decision/cluster-view.ts";
import { decideCluster } from "../decision/decide-cluster.ts";
import { type ConfigDecision, decideConfig, type GroupView } from "../decision/decide-config.ts";
import { decideMembership, isStopping } from "../decision/decide-membership.ts";
import { REASONS, type Reason } from "../decision/reasons.ts";
import { NO_REIGN_SEEN, type ReignSeen, seeReign } from "../decision/reign-seen.ts";
import { NO_RESTART_SEEN, type RestartSeen, seeRestart } from "../decision/restart-seen.ts";
import { type LeaseGrant, LeaseGrants } from "./lease-grants.ts";
import { Turning } from "./turning.ts";

export interface LeaderLoopOptions {
  readonly selfId: MemberId;
  readonly consensus: Consensus;
  readonly clock: Clock;
  readonly log: Log;
  readonly newId: () => string;
  /** Gives a lease to this member itself. */
  readonly grantHere: (grant: LeaseGrant) => void;
  /** Asks the owner of the primary's host whether it may hand over to this member; the error says why not. Never rejects. */
  readonly mayHandOver: (primaryId: MemberId, targetId: MemberId) => Promise<Result<null, string>>;
}

/** Silence is no event: it is looked for this often. */
const LOOK_MS = 50;
/** Not leading: a change of leadership wakes the loop. */
const IDLE_MS = 1_000;
const PROPOSE_DEADLINE_MS = 5_000;
/** Votes and transfers take effect by messages; asking again sooner would only repeat them. */
const REPEAT_MS = 200;
/**
 * A voter that this leader has not heard for so long gives its vote to a spare member. Shorter, and each reboot would move
 * votes about; what it costs is that the group meanwhile survives one loss fewer.
 */
const VOTER_SILENT_MS_MAX = 5 * 60_000;

export class LeaderLoop {
  readonly #options: LeaderLoopOptions;
  readonly #turning: Turning;
  #unsubscribe: () => void = () => {};
  #configAskedAtMs = Number.NEGATIVE_INFINITY;
  #isConfigWanted = false;
  /** What was committed when this member's lead began: before it is applied, the state may lack members that the group has. */
  #ready: { readonly term: Term; readonly index: LogIndex } | null = null;
  #config: { readonly reason: Reason; readonly detail: string | null } | null = null;
  #formerLeaderId: MemberId | null = null;
  #currentLeaderId: MemberId | null = null;
  #reign: ReignSeen = NO_REIGN_SEEN;
  #handOver: HandOver | null = null;
  #restart: RestartSeen = NO_RESTART_SEEN;
  readonly #grants: LeaseGrants;
  #decision: { readonly reason: Reason; readonly detail: string | null } | null = null;

  constructor(options: LeaderLoopOptions) {
    this.#options = options;
    this.#grants = new LeaseGrants(options);
    this.#turning = new Turning(options.clock, () => this.#turn());
  }

  /** Why the leader did what it did last, or did nothing; null while another member leads. */
  get decision(): Leading | null {
    if (this.#decision === null) return null;
    const leading = told(this.#decision);
    return this.#config === null ? leading : { ...leading, voters: told(this.#config) };
  }

  start(): void {
    this.#unsubscribe = this.#options.consensus.onChange(() => {
      this.#noteLeader();
      this.#noteReign();
      if (this.#isLeading()) this.#turning.wake();
    });
    this.#turning.start();
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    await this.#turning.stop();
  }

  #isLeading(): boolean {
    const { role, isReady, leadingSinceMs } = this.#options.consensus.raft;
    return role === "leader" && isReady && leadingSinceMs !== null;
  }

  #noteLeader(): void {
    const { leaderId } = this.#options.consensus.raft;
    if (leaderId === null || leaderId === this.#currentLeaderId) return;
    this.#formerLeaderId = this.#currentLeaderId;
    this.#currentLeaderId = leaderId;
  }

  /** Also while another leads: it may have to go on from there. */
  #noteReign(): void {
    const { consensus, clock } = this.#options;
    this.#reign = seeReign(this.#reign, consensus.state.reign, clock.nowMs());
  }

  async #turn(): Promise<number> {
    const { consensus, clock, selfId } = this.#options;
    const { state, raft } = consensus;
    const nowMs = clock.nowMs();
    this.#noteReign();
    if (!this.#isLeading() || raft.leadingSinceMs === null) {
      this.#decision = null;
      this.#config = null;
      this.#isConfigWanted = false;
      this.#handOver = null;
      this.#restart = NO_RESTART_SEEN;
      this.#grants.forget();
      return IDLE_MS;
    }
    this.#grants.consider(raft.leadingSinceMs);
    this.#restart = seeRestart(this.#restart, state.restart?.step ?? null, consensus.observations, nowMs);
    const view: ClusterView = {
      state,
      selfId,
      observations: consensus.observations,
      voterIds: raft.voterIds,
      nowMs,
      nowWallMs: clock.wallMs(),
      leadingSinceMs: raft.leadingSinceMs,
      reignSinceMs: this.#reign.sinceMs,
      fenceSinceMs: this.#reign.fenceSinceMs,
      lastFenceSinceMs: this.#reign.lastFenceSinceMs,
      leaseUntilMs: this.#grants.leaseUntilMs(raft.leadingSinceMs),
      primaryLsn: this.#grants.primaryLsn,
      formerLeaderId: this.#formerLeaderId,
      handOver: this.#handOver,
      restartSeen: this.#restart,
    };
    const group: GroupView = {
      state,
      selfId,
      raft,
      longSilentIds: longSilent(view),
      stoppingIds: stopping(view),
    };
    const isInformed = this.#isInformed();
    if (isInformed) this.#changeGroup(group, nowMs);
    const urgent = decideCluster(view);
    const decision =
      urgent.kind === "hold" && isInformed ? (decideMembership(view, group) ?? urgent) : urgent;
    this.#note(decision);
    return this.#carryOut(decision, nowMs);
  }

  /** Everything that was agreed when this member's lead began is known here. */
  #isInformed(): boolean {
    const { raft, appliedIndex } = this.#options.consensus;
    if (this.#ready?.term !== raft.term) this.#ready = { term: raft.term, index: raft.commitIndex };
    return appliedIndex >= this.#ready.index;
  }

  #changeGroup(group: GroupView, nowMs: number): void {
    const decision: ConfigDecision = decideConfig(group);
    const { reason, detail } = decision;
    if (reason !== this.#config?.reason || detail !== this.#config.detail) {
      this.#options.log.info("group.decided", { decision: decision.kind, reason, detail });
    }
    this.#config = { reason, detail };
    if (decision.kind === "hold") {
      if (reason !== "voters-changing") this.#takeWishBack(group);
      return;
    }
    if (nowMs - this.#configAskedAtMs < REPEAT_MS) return;
    this.#configAskedAtMs = nowMs;
    this.#isConfigWanted = true;
    this.#options.consensus.changeConfig(decision.target);
  }

  /** What was wanted is tried until it is so: with members that may be gone by then. */
  #takeWishBack({ raft }: GroupView): void {
    if (!this.#isConfigWanted) return;
    this.#isConfigWanted = false;
    const { voters, learners } = raft.config;
    this.#options.consensus.changeConfig({ voters, learners });
  }

  /** A decision is news when it changes. */
  #note(decision: ClusterDecision): void {
    const detail = decision.kind === "hold" ? decision.detail : null;
    const { reason, kind } = decision;
    const isNews = reason !== this.#decision?.reason || detail !== this.#decision.detail;
    if (isNews) this.#options.log.info("cluster.decided", { decision: kind, reason, detail });
    this.#decision = { reason, detail };
  }

  async #carryOut(decision: ClusterDecision, nowMs: number): Promise<number> {
    const { consensus } = this.#options;
    switch (decision.kind) {
      case "propose":
        return this.#propose(decision.change);
      case "transfer-leadership":
        consensus.transferLeadership(decision.to);
        return REPEAT_MS;
      case "ask-hand-over":
        void this.#askHandOver(decision.question);
        return LOOK_MS;
      case "hold":
        return decision.atMs === null ? LOOK_MS : Math.max(1, Math.min(LOOK_MS, decision.atMs - nowMs));
      default:
        return unreachable(decision);
    }
  }

  /** Beside the turns: a program that takes its time must not hold a failover up. */
  async #askHandOver(question: HandOverQuestion): Promise<void> {
    this.#handOver = { question, answer: null };
    const answer = await this.#options.mayHandOver(question.primaryId, question.targetId);
    if (this.#handOver?.question !== question) return;
    this.#handOver = { question, answer };
    this.#turning.wake();
  }

  /** @returns 0 when it was applied (there may be more to do), a pause when it was not. */
  async #propose(change: Change): Promise<number> {
    const { consensus, clock, log, newId } = this.#options;
    const command = { id: newId(), atMs: clock.wallMs(), by: "leader", change };
    const result = await consensus.propose(command, PROPOSE_DEADLINE_MS);
    if (result.kind === "applied" && result.outcome.ok) return 0;
    const why = result.kind === "applied" && !result.outcome.ok ? result.outcome.code : result.kind;
    log.warn("cluster.proposal-refused", { change: change.kind, why });
    return LOOK_MS;
  }
}

function told({ reason, detail }: { readonly reason: Reason; readonly detail: string | null }) {
  return { reason, text: detail === null ? REASONS[reason] : `${REASONS[reason]} (${detail})` };
}

function stopping(view: ClusterView): ReadonlySet<MemberId> {
  return new Set(view.state.members.filter((member) => isStopping(view, member)).map(({ id }) => id));
}

function longSilent(view: ClusterView): ReadonlySet<MemberId> {
  const ids = view.state.members.map(({ id }) => id);
  return new Set(ids.filter((id) => silentMs(view, id) >= VOTER_SILENT_MS_MAX));
}
