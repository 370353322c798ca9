/**
 * A small cluster that does what a script says, without any chance: the production state machine and the production
 * decisions over the model of PostgreSQL, in virtual time. It tells what was agreed and what each member set out to do, in
 * words for people; the scenarios compare that with what they expect.
 *
 * All members turn once every `TICK_MS`, in the order of their names. The simulation (`test/simulation/control-plane`)
 * is where order and chance are varied; here the story is to be read.
 */
import type { Epoch, LogIndex, MemberId } from "../../src/base/ids.ts";
import { apply, cohortText } from "../../src/cluster/apply.ts";
import type { Change } from "../../src/cluster/command.ts";
import type { GroupConfig } from "../../src/cluster/consensus.ts";
import { FEATURE_LEVEL } from "../../src/cluster/feature-level.ts";
import type { VotingWish } from "../../src/cluster/member.ts";
import type { MemberStatus, Observation, PostgresStatus } from "../../src/cluster/observation.ts";
import type { RestartStrategy } from "../../src/cluster/restart.ts";
import {
  type ClusterState,
  longestLeaseMs,
  memberById,
  memberByName,
  memberName,
  newestCohort,
} from "../../src/cluster/state.ts";
import { isWritable } from "../../src/cluster/writable.ts";
import type { ClusterDecision } from "../../src/decision/cluster-decision.ts";
import { type ClusterView, silentMs } from "../../src/decision/cluster-view.ts";
import { decideCluster } from "../../src/decision/decide-cluster.ts";
import { decideConfig, type GroupView } from "../../src/decision/decide-config.ts";
import { decideMember } from "../../src/decision/decide-member.ts";
import { decideMembership, isStopping } from "../../src/decision/decide-membership.ts";
import { leaseEndMs } from "../../src/decision/lease.ts";
import type { Action, Plan } from "../../src/decision/plan.ts";
import { REASONS } from "../../src/decision/reasons.ts";
import { NO_REIGN_SEEN, type ReignSeen, seeReign } from "../../src/decision/reign-seen.ts";
import { NO_RESTART_SEEN, type RestartSeen, seeRestart } from "../../src/decision/restart-seen.ts";
import { ScriptedPostgres, type WalRecord } from "./scripted-postgres.ts";
import { clusterState, id, member } from "./situation.ts";

const TICK_MS = 25;
/** Without a leader for this long, another member leads. */
const ELECTION_MS = 600;
/** Nothing new for this long is rest: longer than any patience but that with a promotion. */
const REST_MS = 5_000;
const SETTLE_MS_MAX = 300_000;
/** How long a member may take in a planned restart. */
const RESTART_MS_MAX = 60_000;
/** Before a silent voter is replaced: shorter than the real one, so that a story does not take as long. */
const VOTER_SILENT_MS_MAX = 20_000;

interface Host {
  readonly name: string;
  readonly id: MemberId;
  readonly postgres: ScriptedPostgres;
  /** The machine. */
  isUp: boolean;
  /** guacamole's process on it; PostgreSQL and its supervisor go on without. */
  isMemberUp: boolean;
  /** PostgreSQL and its tools fail, whatever is asked of them. */
  isDiskBroken: boolean;
  /** Somebody else's data stands in the data directory. */
  isOccupied: boolean;
  /** Its WAL stream brings nothing. */
  isStalled: boolean;
  known: LogIndex;
  life: number;
  sequence: number;
  plan: Plan | null;
  /** What was last told of it. */
  told: string;
  observations: Map<MemberId, Observation>;
  reign: { epoch: Epoch | null; sinceMs: number; fencedSinceMs: number | null };
}

export interface ScriptedWorldOptions {
  readonly members: number;
  readonly synchronousStandbys: number;
  readonly onQuorumLoss: "block" | "degrade";
}

export class ScriptedWorld {
  #hosts: readonly Host[];
  readonly #states: ClusterState[];
  readonly #cut = new Set<string>();
  readonly #acknowledged = new Set<WalRecord>();
  readonly #epochWriters = new Map<Epoch, string>();
  #leader: Host;
  #group: GroupConfig;
  #groupHolding = "";
  #identities = 0;
  #formerLeaderId: MemberId | null = null;
  #leadingSinceMs = 0;
  #leaderlessSinceMs: number | null = null;
  #reignSeen: ReignSeen = NO_REIGN_SEEN;
  #restartSeen: RestartSeen = NO_RESTART_SEEN;
  #holding = "";
  #nowMs = 100_000;
  #toldFromMs = 100_000;
  #told: string[] = [];
  #records = 0;
  #systems = 0;

  constructor({ members, synchronousStandbys, onQuorumLoss }: ScriptedWorldOptions) {
    const names = Array.from({ length: members }, (_, index) => `m${index + 1}`);
    this.#hosts = names.map((name) => this.#newHost(name, id(name)));
    this.#introduce();
    this.#group = { voters: names.map(id), outgoing: [], learners: [], learnersNext: [] };
    const blank = clusterState();
    this.#states = [
      clusterState({
        featureLevel: FEATURE_LEVEL,
        members: names.map((name) => member(name, { data: "none" })),
        initialization: null,
        reign: null,
        systemIdentifier: null,
        spec: { ...blank.spec, durability: { mode: "quorum", synchronousStandbys, onQuorumLoss } },
      }),
    ];
    this.#leader = this.#hosts.find(({ name }) => name === "m2") ?? this.#host("m1");
  }

  #newHost(name: string, memberId: MemberId): Host {
    const world = {
      reach: (from: string, host: string) => this.#reachPostgres(from, host),
      newSystem: () => `${++this.#systems}`,
      corrupted: (what: string) => broken("F1", what),
    };
    return {
      name,
      id: memberId,
      postgres: new ScriptedPostgres(name, memberId, world),
      isUp: true,
      isMemberUp: true,
      isDiskBroken: false,
      isOccupied: false,
      isStalled: false,
      known: 0 as LogIndex,
      life: 1,
      sequence: 0,
      plan: null,
      told: "",
      observations: new Map(),
      reign: { epoch: null, sinceMs: 0, fencedSinceMs: null },
    };
  }

  /** Every PostgreSQL may become an upstream of every other. */
  #introduce(): void {
    for (const { postgres } of this.#hosts) postgres.standbys = this.#hosts.map((host) => host.postgres);
  }

  /** What happened since the last time somebody asked, a line each. */
  takeTold(): readonly string[] {
    const told = this.#told;
    this.#told = [];
    this.#toldFromMs = this.#nowMs;
    return told;
  }

  // --- What a script may do ---------------------------------------------------------------------------------------

  /** Lets time pass. */
  run(durationMs: number): void {
    for (const endMs = this.#nowMs + durationMs; this.#nowMs < endMs; ) this.#tick();
  }

  /** Lets time pass until nothing new happens. */
  settle(): void {
    let restMs = 0;
    for (let passedMs = 0; restMs < REST_MS; passedMs += TICK_MS) {
      if (passedMs > SETTLE_MS_MAX) throw new Error(`no rest within ${SETTLE_MS_MAX / 1000} s`);
      const told = this.#told.length;
      this.#tick();
      restMs = this.#told.length === told ? restMs + TICK_MS : 0;
    }
  }

  /** Lets time pass until a line is told that holds these words. */
  until(words: string): void {
    for (let passedMs = 0; passedMs <= SETTLE_MS_MAX; passedMs += TICK_MS) {
      if (this.#told.some((line) => line.includes(words))) return;
      this.#tick();
    }
    throw new Error(`'${words}' did not happen within ${SETTLE_MS_MAX / 1000} s`);
  }

  initialize(name: string): void {
    const options = { encoding: "UTF8", locale: "C.UTF-8" };
    this.#ask({ kind: "initialize", memberId: id(name), operationId: `initialize-${name}`, options });
  }

  switchover(name: string): void {
    const { reign } = this.#latest();
    if (reign === null) throw new Error("there is no primary to change");
    const operationId = `switchover-${this.#states.length}`;
    this.#ask({ kind: "begin-switchover", targetId: id(name), operationId, epoch: reign.epoch });
  }

  /** A switchover in so many seconds. */
  schedule(name: string, seconds: number): void {
    const { reign } = this.#latest();
    if (reign === null) throw new Error("there is no primary to change");
    const scheduleId = `schedule-${this.#states.length}`;
    const dueAtMs = this.#nowMs + 1_000 * seconds;
    const { primaryId } = reign;
    this.#ask({ kind: "schedule-switchover", scheduleId, primaryId, targetId: id(name), dueAtMs });
  }

  unschedule(): void {
    const scheduleId = this.#latest().scheduledSwitchover?.id ?? "";
    this.#ask({ kind: "cancel-switchover", scheduleId, reason: null });
  }

  /** PostgreSQL is to be started again everywhere, or on those that are named. */
  restart(names: readonly string[], strategy: RestartStrategy = "auto"): void {
    const { members } = this.#latest();
    const wanted = members.filter(({ name }) => names.length === 0 || names.includes(name));
    const targets = wanted.map(({ id: memberId, name }) => {
      return { memberId, instance: this.#host(name).postgres.instance ?? "" };
    });
    const operationId = `restart-${this.#states.length}`;
    const how = { strategy, isPendingOnly: false, mayStall: false, timeoutMs: RESTART_MS_MAX };
    this.#ask({ kind: "plan-restart", operationId, targets, ...how });
  }

  steer(wish: "pause" | "resume" | "cancel"): void {
    const operationId = this.#latest().restart?.operationId ?? "";
    this.#ask({ kind: "steer-restart", operationId, wish });
  }

  /** What every configuration says of `max_connections` from now on; running servers keep what they have. */
  wantConnections(count: number): void {
    for (const { postgres } of this.#hosts) postgres.wantedConnections = count;
  }

  pause(reason: string): void {
    this.#ask({ kind: "pause", reason });
  }

  resume(): void {
    this.#ask({ kind: "resume", reason: null });
  }

  reinitialize(name: string): void {
    const operationId = `reinitialize-${this.#states.length}`;
    this.#ask({ kind: "reinitialize-member", memberId: id(name), operationId });
  }

  /** A new machine is let in. */
  join(name: string): void {
    this.#letIn(name, id(name), {});
  }

  remove(name: string): void {
    this.#ask({ kind: "remove-member", memberId: this.#memberId(name), operationId: `remove-${name}` });
  }

  /** The machine comes back with empty disks, and takes its name under a new identity. */
  replace(name: string): void {
    const replaces = this.#memberId(name);
    this.#hosts = this.#hosts.filter((host) => host.name !== name);
    this.#letIn(name, id(`x${900 + ++this.#identities}`), { replaces });
  }

  wish(name: string, voting: VotingWish): void {
    this.#ask({ kind: "set-member-voting", memberId: this.#memberId(name), voting });
  }

  #letIn(name: string, memberId: MemberId, token: { readonly replaces?: MemberId }): void {
    const tokenId = `token-${this.#states.length}`;
    const expiresAtMs = this.#nowMs + SETTLE_MS_MAX;
    const made = { kind: "create-join-token", tokenId, secretHash: "", expiresAtMs, ...token } as const;
    this.#ask(made);
    this.#hosts = [...this.#hosts, this.#newHost(name, memberId)].sort((a, b) => (a.name < b.name ? -1 : 1));
    this.#introduce();
    const joiner = { ...member(name, { data: "none" }), id: memberId };
    this.#ask({ kind: "add-member", member: joiner, joinTokenId: tokenId });
  }

  #memberId(name: string): MemberId {
    const found = memberByName(this.#latest(), name);
    if (found === undefined) throw new Error(`'${name}' is no member`);
    return found.id;
  }

  /** Who votes, who learns. */
  showGroup(): void {
    this.#told.push(this.#groupLine());
  }

  /** A leader that is wrong about a healthy primary. */
  fenceNeedlessly(): void {
    const { reign } = this.#latest();
    if (reign === null) throw new Error("there is no primary to fence");
    this.#agree({ kind: "fence", epoch: reign.epoch, reason: "member-lost", preferredId: null }, "a mistake");
  }

  /** Commits on every PostgreSQL that takes them, appointed or not. */
  write(count: number): void {
    const primaries = this.#hosts.filter(({ isUp, postgres }) => isUp && postgres.kind === "primary");
    if (primaries.length === 0) this.#tell("nobody takes writes");
    for (const { name, postgres } of primaries) {
      const records = Array.from({ length: count }, () => ({ id: ++this.#records, by: name }));
      for (const record of records) postgres.write(record);
      this.#noteWriter(name, postgres.promises.walEpoch);
      this.#receive();
      const acknowledged = records.filter((record) => this.#acknowledged.has(record)).length;
      this.#tell(`${name} wrote ${count}, ${acknowledged} acknowledged`);
    }
  }

  killPostmaster(name: string): void {
    this.#host(name).postgres.crash();
  }

  powerOff(name: string): void {
    const host = this.#host(name);
    host.isUp = false;
    host.isMemberUp = false;
    host.postgres.isUp = false;
    host.postgres.crash();
  }

  boot(name: string): void {
    const host = this.#host(name);
    host.isUp = true;
    host.postgres.isUp = true;
    this.startMember(name);
  }

  killMember(name: string): void {
    this.#host(name).isMemberUp = false;
  }

  startMember(name: string): void {
    const host = this.#host(name);
    if (host.isMemberUp) return;
    host.isMemberUp = true;
    host.life += 1;
    host.sequence = 0;
    host.plan = null;
    host.told = "";
    host.observations = new Map();
    host.reign = { epoch: null, sinceMs: 0, fencedSinceMs: null };
  }

  /** No packet passes between these, neither guacamole's nor PostgreSQL's. */
  cut(name: string, others: readonly string[]): void {
    for (const other of others) this.#cut.add(`${name}>${other}`);
  }

  cutOff(name: string): void {
    this.cut(
      name,
      this.#hosts.map((host) => host.name).filter((other) => other !== name),
    );
  }

  heal(): void {
    this.#cut.clear();
  }

  setStalled(names: readonly string[], isStalled: boolean): void {
    for (const name of names) this.#host(name).isStalled = isStalled;
  }

  setDiskBroken(name: string, isDiskBroken: boolean): void {
    const host = this.#host(name);
    host.isDiskBroken = isDiskBroken;
    if (isDiskBroken) host.postgres.crash();
  }

  occupy(name: string): void {
    this.#host(name).isOccupied = true;
  }

  /** Who is what now, a line each. */
  show(): void {
    const state = this.#latest();
    this.#told.push(this.#reignLine(state), ...this.#hosts.map((host) => this.#hostLine(host)));
    this.#told.push(
      `acknowledged so far: ${this.#acknowledged.size}, missing on the primary: ${this.#missing()}`,
    );
  }

  // --- Time -------------------------------------------------------------------------------------------------------

  #tick(): void {
    this.#nowMs += TICK_MS;
    this.#speak();
    this.#lead();
    for (const host of this.#hosts) this.#turn(host);
    this.#receive();
    this.#check();
  }

  /** Heartbeats: members learn the log, the leader learns of members, and members learn what the leader knows. */
  #speak(): void {
    const leader = this.#leader;
    if (!leader.isMemberUp) return;
    const reached = this.#hosts.filter((host) => this.#canSpeak(leader, host));
    for (const host of reached) {
      if (this.#isRemoved(host)) {
        this.#leave(host);
        continue;
      }
      host.known = (this.#hasMajority(leader) ? this.#states.length - 1 : host.known) as LogIndex;
      leader.observations.set(host.id, this.#observe(host));
    }
    for (const host of this.#hosts) {
      const last = leader.observations.get(host.id);
      if (last !== undefined && !reached.includes(host))
        leader.observations.set(host.id, { ...last, isConnected: false });
    }
    for (const host of reached) if (host !== leader) host.observations = new Map(leader.observations);
  }

  #observe(host: Host): Observation {
    host.sequence += 1;
    const { reign } = this.#states[host.known] ?? this.#latest();
    const status: MemberStatus = {
      memberId: host.id,
      bootId: `${host.life}`,
      sequence: host.sequence,
      postgres: look(host),
      promises: host.postgres.promises,
      isRebuilt: host.postgres.hasAside,
      work: null,
      reason: host.plan?.reason ?? "",
      detail: host.plan?.detail ?? null,
      leading: null,
      version: "model",
      featureLevel: FEATURE_LEVEL,
      ...host.postgres.parameters,
      ...(reign === null ? {} : { cohortKnown: newestCohort(reign) }),
    };
    return { status, statusAtMs: this.#nowMs, heardAtMs: this.#nowMs, isConnected: true };
  }

  /** The leader decides until it has nothing to propose. */
  #lead(): void {
    if (!this.#leader.isMemberUp || !this.#hasMajority(this.#leader)) {
      this.#waitForElection();
      return;
    }
    this.#leaderlessSinceMs = null;
    for (let turns = 0; turns < 20; turns += 1) {
      const view = this.#view();
      const group = this.#groupView(view);
      this.#changeGroup(group);
      if (!this.#group.voters.includes(this.#leader.id)) {
        this.#electAnother("the leader votes no more");
        return;
      }
      const urgent = decideCluster(view);
      const decision = urgent.kind === "hold" ? (decideMembership(view, group) ?? urgent) : urgent;
      if (decision.kind === "transfer-leadership") {
        this.#handLeadershipTo(this.#hostById(decision.to), REASONS[decision.reason]);
        return;
      }
      // Nobody has hooks here: whoever is asked would agree.
      if (decision.kind === "ask-hand-over") return;
      if (decision.kind === "hold") {
        this.#hold(decision);
        return;
      }
      this.#agree(decision.change, REASONS[decision.reason]);
    }
  }

  #view(): ClusterView {
    const state = this.#latest();
    this.#reignSeen = seeReign(this.#reignSeen, state.reign, this.#nowMs);
    const step = state.restart?.step ?? null;
    this.#restartSeen = seeRestart(this.#restartSeen, step, this.#leader.observations, this.#nowMs);
    return {
      state,
      selfId: this.#leader.id,
      observations: this.#leader.observations,
      voterIds: this.#group.voters,
      nowMs: this.#nowMs,
      nowWallMs: this.#nowMs,
      leadingSinceMs: this.#leadingSinceMs,
      reignSinceMs: this.#reignSeen.sinceMs,
      fenceSinceMs: this.#reignSeen.fenceSinceMs,
      lastFenceSinceMs: this.#reignSeen.lastFenceSinceMs,
      leaseUntilMs: leaseEndMs(this.#leadingSinceMs, null, longestLeaseMs(state)),
      primaryLsn: null,
      formerLeaderId: this.#formerLeaderId,
      restartSeen: this.#restartSeen,
    };
  }

  /** Raft as far as it matters here: who is reached has everything, and a change counts as soon as it is made. */
  #groupView(view: ClusterView): GroupView {
    const others = [...this.#group.voters, ...this.#group.learners].filter(
      (each) => each !== this.#leader.id,
    );
    const followers = others.map((each) => {
      const host = this.#hosts.find((known) => known.id === each);
      const isActive = host !== undefined && this.#canSpeak(this.#leader, host);
      return { id: each, matchIndex: 0 as LogIndex, isActive, isCaughtUp: isActive };
    });
    const silent = view.state.members.filter((each) => silentMs(view, each.id) >= VOTER_SILENT_MS_MAX);
    return {
      state: view.state,
      selfId: this.#leader.id,
      raft: { config: this.#group, followers, isReady: true, isConfigPending: false },
      longSilentIds: new Set(silent.map((each) => each.id)),
      stoppingIds: new Set(
        view.state.members.filter((each) => isStopping(view, each)).map((each) => each.id),
      ),
    };
  }

  #changeGroup(group: GroupView): void {
    const decision = decideConfig(group);
    const { reason, detail } = decision;
    if (decision.kind === "target") {
      this.#group = { ...decision.target, outgoing: [], learnersNext: [] };
      this.#tell(`${this.#groupLine()} (${REASONS[reason]})`);
    }
    const holding = `${REASONS[reason]}${detail === null ? "" : ` (${detail})`}`;
    const isNews = holding !== this.#groupHolding && decision.kind === "hold" && reason !== "voters-settled";
    this.#groupHolding = holding;
    if (isNews) this.#tell(`the group stays: ${holding}`);
  }

  /** A removed member hears of it from whoever it speaks to. */
  #isRemoved(host: Host): boolean {
    return memberById(this.#latest(), host.id) === undefined;
  }

  #leave(host: Host): void {
    host.isMemberUp = false;
    host.postgres.crash();
    this.#tell(`${host.name}: hears that it was removed, stops PostgreSQL and ends`);
  }

  #hold({ reason, detail }: Extract<ClusterDecision, { kind: "hold" }>): void {
    const holding = `${REASONS[reason]}${detail === null ? "" : ` (${detail})`}`;
    if (holding === this.#holding) return;
    this.#holding = holding;
    if (reason !== "steady") this.#tell(`the leader waits: ${holding}`);
  }

  #waitForElection(): void {
    this.#leaderlessSinceMs ??= this.#nowMs;
    if (this.#nowMs - this.#leaderlessSinceMs < ELECTION_MS) return;
    this.#electAnother("the leader was lost");
  }

  #electAnother(why: string): void {
    const candidate = this.#hosts.find(
      (host) => host.isMemberUp && this.#group.voters.includes(host.id) && this.#hasMajority(host),
    );
    if (candidate !== undefined) this.#handLeadershipTo(candidate, why);
  }

  #handLeadershipTo(host: Host, why: string): void {
    if (host !== this.#leader) this.#formerLeaderId = this.#leader.id;
    this.#leader = host;
    this.#leadingSinceMs = this.#nowMs;
    this.#leaderlessSinceMs = null;
    this.#holding = "";
    this.#tell(`${host.name} leads: ${why}`);
  }

  /** What people ask for, through whichever member. */
  #ask(change: Change): void {
    this.#agree(change, "somebody asked");
  }

  #agree(change: Change, why: string): void {
    const commandId = `command-${this.#states.length}`;
    const applied = apply(this.#latest(), { id: commandId, atMs: this.#nowMs, by: "operator", change });
    if (applied.state === null || !applied.outcome.ok) {
      const { outcome } = applied;
      this.#tell(`refused: ${outcome.ok ? "no state" : `${outcome.message} ${outcome.hint ?? ""}`.trim()}`);
      return;
    }
    this.#states.push(applied.state);
    const told = change.kind === "progress-operation" ? change.message : change.kind;
    const what = applied.events.map(({ message }) => message).join("; ") || told;
    this.#tell(`agreed: ${what} (${why})`);
  }

  #turn(host: Host): void {
    if (!host.isMemberUp) return;
    const plan = this.#planOf(host);
    host.plan = plan;
    const did: string[] = [];
    const opens = host.postgres.kind === "primary" || plan.actions.some(({ kind }) => kind === "promote");
    for (const action of plan.actions) {
      const isDone = !host.isDiskBroken && host.postgres.perform(action);
      did.push(`${actionText(action, opens)}${isDone ? "" : " FAILED"}`);
      if (!isDone) break;
    }
    this.#tellPlan(host, plan, did);
  }

  #planOf(host: Host): Plan {
    const state = this.#states[host.known] ?? this.#latest();
    const { reign } = state;
    this.#noteReign(host, state);
    return decideMember({
      state,
      selfId: host.id,
      postgres: look(host),
      promises: host.postgres.promises,
      hasStandbySignal: host.postgres.kind !== "primary",
      instance: host.postgres.instance,
      lease: null,
      unansweredMs: null,
      startingMs: null,
      isDiskFull: false,
      needsClone: null,
      hasAside: host.postgres.hasAside,
      reignKnownMs: this.#nowMs - host.reign.sinceMs,
      fenceKnownMs: host.reign.fencedSinceMs === null ? null : this.#nowMs - host.reign.fencedSinceMs,
      failedStarts: 0,
      settingsHash: host.postgres.settings === null ? null : JSON.stringify(host.postgres.settings),
      hashSettings: (settings) => JSON.stringify(settings),
      local: { listenAddresses: "*", port: 5432, socketDirectory: "/tmp" },
      observations: host.observations,
      primary: reign === null ? null : (host.observations.get(reign.primaryId) ?? null),
    });
  }

  #noteReign(host: Host, { reign }: ClusterState): void {
    const epoch = reign?.epoch ?? null;
    const isFenced = reign !== null && reign.fence !== null;
    if (epoch !== host.reign.epoch || host.reign.sinceMs === 0)
      host.reign = { epoch, sinceMs: this.#nowMs, fencedSinceMs: null };
    host.reign.fencedSinceMs = isFenced ? (host.reign.fencedSinceMs ?? this.#nowMs) : null;
  }

  #tellPlan(host: Host, { reason, detail }: Plan, did: readonly string[]): void {
    const text =
      did.length > 0 ? did.join(", ") : `${REASONS[reason]}${detail === null ? "" : ` (${detail})`}`;
    if (text === host.told) return;
    host.told = text;
    const isSaidByShow = reason === "streaming" || reason === "serving";
    if (!isSaidByShow || did.length > 0) this.#tell(`${host.name}: ${text}`);
  }

  #receive(): void {
    for (const { name, postgres, isStalled } of this.#hosts) {
      if (!isStalled) postgres.receive(Number.POSITIVE_INFINITY);
      const upstream = postgres.effective?.upstream?.host;
      const kind = upstream === undefined ? undefined : this.#reachPostgres(name, upstream)?.kind;
      if (kind !== "primary" && kind !== "standby") postgres.isReceiving = false;
    }
    for (const { isUp, name, postgres } of this.#hosts) {
      if (!isUp || postgres.kind !== "primary") continue;
      const others = this.#hosts.filter((other) => this.#reachPostgres(name, other.name) !== null);
      const end = postgres.acknowledgedUpTo(others.map((other) => other.postgres));
      for (const record of postgres.wal.slice(0, end)) if (record.by === name) this.#acknowledged.add(record);
    }
  }

  // --- Who reaches whom -------------------------------------------------------------------------------------------

  #isCut(a: string, b: string): boolean {
    return this.#cut.has(`${a}>${b}`) || this.#cut.has(`${b}>${a}`);
  }

  #reachPostgres(from: string, to: string): ScriptedPostgres | null {
    const host = this.#host(to);
    return host.isUp && !this.#isCut(from, to) ? host.postgres : null;
  }

  #canSpeak(a: Host, b: Host): boolean {
    return a.isMemberUp && b.isMemberUp && !this.#isCut(a.name, b.name);
  }

  #hasMajority(host: Host): boolean {
    const { voters } = this.#group;
    const reached = this.#hosts.filter((other) => voters.includes(other.id) && this.#canSpeak(host, other));
    return reached.length * 2 > voters.length;
  }

  // --- Invariants -------------------------------------------------------------------------------------------------

  #noteWriter(name: string, epoch: Epoch): void {
    const writer = this.#epochWriters.get(epoch) ?? name;
    if (writer !== name) broken("F2", `${name} and ${writer} both write in epoch ${epoch}`);
    this.#epochWriters.set(epoch, name);
  }

  #check(): void {
    const missing = this.#missing();
    if (missing > 0) broken("F1", `${missing} acknowledged commits are missing on the primary`);
  }

  /** Acknowledged commits that the primary of the present reign lacks; 0 while nobody reigns. */
  #missing(): number {
    const { reign } = this.#latest();
    const postgres = reign === null ? undefined : this.#hostById(reign.primaryId).postgres;
    if (postgres?.kind !== "primary" || postgres.promises.walEpoch !== reign?.epoch) return 0;
    const stored = new Set(postgres.wal);
    return [...this.#acknowledged].filter((record) => !stored.has(record)).length;
  }

  // --- Words ------------------------------------------------------------------------------------------------------

  #tell(what: string): void {
    const seconds = ((this.#nowMs - this.#toldFromMs) / 1000).toFixed(1).padStart(5);
    this.#told.push(`${seconds} s  ${what}`);
  }

  #reignLine(state: ClusterState): string {
    const { reign } = state;
    if (reign === null) return "nobody reigns";
    const primary = this.#hostById(reign.primaryId);
    const isServing = primary.isUp && isWritable(state, primary.id, primary.postgres.look());
    const how = reign.fence !== null ? "fenced" : isServing ? "takes writes" : "does not take writes";
    const name = memberName(state, reign.primaryId);
    return `epoch ${reign.epoch}: ${name} reigns, ${how}; synchronous standbys: ${cohortText(state, reign.cohort)}`;
  }

  #groupLine(): string {
    const named = (ids: readonly MemberId[]) =>
      ids
        .map((each) => memberName(this.#latest(), each))
        .sort()
        .join(", ");
    const { voters, learners } = this.#group;
    const learning = learners.length === 0 ? "" : `; ${named(learners)} learn`;
    return `the group: ${named(voters)} vote${learning}`;
  }

  #hostLine({ name, isUp, isMemberUp, postgres, isOccupied, plan }: Host): string {
    if (!isUp) return `${name}  off`;
    const without = isMemberUp ? "" : ", its member is gone";
    if (isOccupied) return `${name}  somebody else's data${without}`;
    if (postgres.kind === "absent") return `${name}  no data${without}`;
    const upstream = postgres.effective?.upstream?.host;
    const isReceiving = postgres.kind === "standby" && postgres.isReceiving && upstream !== undefined;
    const why = isReceiving
      ? `, streams from ${upstream}`
      : plan?.reason === "serving"
        ? ""
        : `, ${plan?.reason}`;
    return `${name}  ${postgres.kind}, timeline ${postgres.timeline}, ${postgres.wal.length} commits${why}${without}`;
  }

  #latest(): ClusterState {
    const state = this.#states.at(-1);
    if (state === undefined) throw new Error("the log begins with a state");
    return state;
  }

  #host(name: string): Host {
    const found = this.#hosts.find((host) => host.name === name);
    if (found === undefined) throw new Error(`there is no member '${name}'`);
    return found;
  }

  #hostById(memberId: MemberId): Host {
    const found = this.#hosts.find((host) => host.id === memberId);
    if (found === undefined) throw new Error(`there is no member ${memberId}`);
    return found;
  }
}

function look({ isOccupied, postgres }: Host): PostgresStatus {
  return isOccupied
    ? { kind: "foreign", detail: "there is a PG_VERSION that nobody here wrote" }
    : postgres.look();
}

/** @param opens it takes writes, or is about to: then the rule for commits is what matters, else whom it receives from. */
function actionText(action: Action, opens: boolean): string {
  switch (action.kind) {
    case "configure": {
      const { upstream, synchronousStandbyNames: rule } = action.settings;
      const from = upstream === null ? "receive nothing" : `receive from ${upstream.host}`;
      const who = rule === null ? "nobody else acknowledges" : `any ${rule.k} of ${rule.names.join(", ")}`;
      return `configure (${opens ? who : from})`;
    }
    case "stop":
      return `stop (${action.mode})`;
    case "clone":
      return `clone from ${action.source.host}${action.replace === null ? "" : ` (${action.replace})`}`;
    case "rewind":
      return `rewind to timeline ${action.forkTimeline} at ${action.forkLsn}, from ${action.source.host}`;
    case "promote":
    case "pledge":
      return `${action.kind} ${action.epoch}`;
    default:
      return action.kind;
  }
}

function broken(invariant: string, what: string): never {
  throw new Error(`${invariant} is broken: ${what}`);
}
