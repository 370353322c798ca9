/**
 * PostgreSQL and its supervisor as scripts of scenarios need them: whatever is asked for has happened at once, and is the same
 * each time. What may happen in between, and at the wrong moment, is the simulation's (`test/simulation/control-plane/`).
 */
import type { Epoch, MemberId, TimelineId } from "../../src/base/ids.ts";
import type { Lsn } from "../../src/base/lsn.ts";
import type { ManagedSettings } from "../../src/cluster/managed-settings.ts";
import type {
  Ancestor,
  MemberStatus,
  PostgresStatus,
  Promises,
  StandbyConnection,
  SynchronousStatus,
} from "../../src/cluster/observation.ts";
import { STANDBY_LIMITS } from "../../src/cluster/parameter-rules.ts";
import { renderSynchronousStandbyNames } from "../../src/cluster/synchronous-standby-names.ts";
import type { Action } from "../../src/decision/plan.ts";

/** One commit. Two records are the same only if they are the same object. */
export interface WalRecord {
  readonly id: number;
  readonly by: string;
}

export interface ScriptedSurroundings {
  /** The model at an address, if a packet from `from` reaches it. */
  reach(from: string, host: string): ScriptedPostgres | null;
  newSystem(): string;
  corrupted(what: string): void;
}

const NO_PROMISES: Promises = {
  newestEpoch: 0 as Epoch,
  pledgedEpoch: 0 as Epoch,
  walEpoch: 0 as Epoch,
  timelines: [],
};

export class ScriptedPostgres {
  readonly name: string;
  readonly memberId: MemberId;
  readonly #world: ScriptedSurroundings;
  /** Counts the servers that ran here. */
  server = 0;
  /** What is wanted of its connections, and what the running server has. */
  wantedConnections = 100;
  runningConnections = 100;
  kind: "absent" | "stopped" | "standby" | "primary" = "absent";
  isUp = true;
  promises: Promises = NO_PROMISES;
  wal: WalRecord[] = [];
  timeline = 1;
  ancestors: Ancestor[] = [];
  system = "";
  settings: ManagedSettings | null = null;
  /** What the running server has read of its settings. */
  effective: ManagedSettings | null = null;
  checkpointTimeline = 1;
  hasRoles = false;
  hasAside = false;
  isReceiving = false;
  /** It ended as a primary, and its last record is the checkpoint that it ended with. */
  isFinal = false;
  /** What the member's loop knows of the rule in effect; forgotten whenever this is no primary. */
  #synchronous: SynchronousStatus | null = null;

  constructor(name: string, memberId: MemberId, world: ScriptedSurroundings) {
    this.name = name;
    this.memberId = memberId;
    this.#world = world;
  }

  /** The postmaster is killed: what was flushed stays. */
  crash(): void {
    if (this.kind === "standby" || this.kind === "primary") this.kind = "stopped";
    this.isReceiving = false;
    this.isFinal = false;
  }

  #stopFast(): void {
    const wasPrimary = this.kind === "primary";
    if (wasPrimary) {
      this.wal.push({ id: -1, by: `${this.name}'s end` });
      this.#drain();
    }
    this.crash();
    this.isFinal = wasPrimary;
  }

  /** `application_name`, as its upstream sees it. */
  get standbyName(): string {
    return this.effective?.memberName ?? this.name;
  }

  /** A commit on a primary; it is acknowledged only when `acknowledged` says so. */
  write(record: WalRecord): void {
    this.wal.push(record);
  }

  /** Which of the primary's records may be acknowledged now: up to this LSN. */
  acknowledgedUpTo(standbys: readonly ScriptedPostgres[]): number {
    const rule = this.effective?.synchronousStandbyNames ?? null;
    if (rule === null) return this.wal.length;
    const receiving = standbys.filter(
      (standby) => rule.names.includes(standby.standbyName) && standby.isReceivingFrom(this),
    );
    const flushed = receiving.map((standby) => standby.wal.length).sort((a, b) => b - a);
    return flushed[rule.k - 1] ?? 0;
  }

  isReceivingFrom(upstream: ScriptedPostgres): boolean {
    return (
      this.isUp &&
      this.kind === "standby" &&
      this.isReceiving &&
      this.effective?.upstream?.host === upstream.name
    );
  }

  /** The walreceiver connects, receives up to `countMax` records, or finds that it cannot. */
  receive(countMax: number): void {
    if (!this.isUp || this.kind !== "standby") return;
    const host = this.effective?.upstream?.host;
    const upstream = host === undefined ? null : this.#world.reach(this.name, host);
    const isThere = upstream?.isUp === true;
    const canServe = isThere && (upstream.kind === "primary" || upstream.kind === "standby");
    this.isReceiving = canServe && this.#canFollow(upstream);
    if (!canServe || !this.isReceiving) return;
    this.#switchTimeline(upstream);
    const forkEnd = upstream.endOf(this.timeline);
    const end = Math.min(upstream.wal.length, forkEnd, this.wal.length + countMax);
    const last = this.wal.length - 1;
    if (last >= 0 && end > this.wal.length && upstream.wal[last] !== this.wal[last]) {
      this.#world.corrupted(
        `${this.name} followed ${upstream.name} on timeline ${this.timeline} over another history`,
      );
    }
    this.wal.push(...upstream.wal.slice(this.wal.length, end));
    this.#switchTimeline(upstream);
  }

  /** As PostgreSQL decides: by timeline numbers and fork points alone. */
  #canFollow(upstream: ScriptedPostgres): boolean {
    if (this.wal.length > upstream.wal.length) return false;
    return this.wal.length <= upstream.endOf(this.timeline);
  }

  #switchTimeline(upstream: ScriptedPostgres): void {
    while (this.timeline !== upstream.timeline && this.wal.length === upstream.endOf(this.timeline)) {
      const at = upstream.ancestors.findIndex(({ timeline }) => timeline === this.timeline);
      this.timeline = upstream.ancestors[at + 1]?.timeline ?? upstream.timeline;
      this.ancestors = upstream.ancestors.slice(0, at + 1);
    }
  }

  /** Where a timeline ends in this server's history; -1 if it is no part of it. */
  endOf(timeline: number): number {
    if (timeline === this.timeline) return this.wal.length;
    return this.ancestors.find((each) => each.timeline === timeline)?.endLsn ?? -1;
  }

  /** Carries out an action as supervisor and SQL do. @returns false if it was refused. */
  perform(action: Action): boolean {
    switch (action.kind) {
      case "pledge":
        this.promises = {
          ...this.promises,
          newestEpoch: Math.max(this.promises.newestEpoch, action.epoch) as Epoch,
          pledgedEpoch: Math.max(this.promises.pledgedEpoch, action.epoch) as Epoch,
        };
        if (this.settings !== null) this.settings = { ...this.settings, upstream: null };
        this.#reload();
        return true;
      case "configure":
        return this.#configure(action);
      case "reload":
        this.#reload();
        return true;
      case "start":
        if (this.kind !== "stopped" || action.epoch < this.promises.newestEpoch) return false;
        this.kind = "standby";
        this.isFinal = false;
        this.effective = this.settings;
        this.#beginServer(this.neededConnections);
        return true;
      case "restart-in-place":
        return this.#restartInPlace(action.epoch);
      case "stop":
        if (action.mode === "fast") this.#stopFast();
        else this.crash();
        return true;
      case "promote":
        return this.#promote(action);
      case "initdb":
        if (this.kind !== "absent") return false;
        this.kind = "stopped";
        this.system = this.#world.newSystem();
        return true;
      case "clone":
        return this.#clone(action);
      case "rewind":
        return this.#rewind(action);
      case "release-lease":
        return true;
      case "discard-aside":
        this.hasAside = false;
        return true;
      case "provision":
        this.hasRoles = true;
        return true;
      case "checkpoint":
        if (this.kind === "primary") this.checkpointTimeline = this.timeline;
        return true;
    }
  }

  /** Less than the data needs is raised to it. */
  #beginServer(needed: number): void {
    this.server += 1;
    this.runningConnections = Math.max(this.wantedConnections, needed);
  }

  #restartInPlace(epoch: Epoch): boolean {
    const isItsReign = this.promises.walEpoch === epoch && this.promises.pledgedEpoch < epoch;
    if (this.kind !== "primary" || !isItsReign) return false;
    this.#stopFast();
    this.kind = "primary";
    this.isFinal = false;
    this.#beginServer(0);
    return true;
  }

  #reload(): void {
    if (this.kind === "absent" || this.kind === "stopped") return;
    this.effective = this.settings;
    if (this.effective?.upstream === null) this.isReceiving = false;
  }

  #configure({ epoch, timelines, settings }: Extract<Action, { kind: "configure" }>): boolean {
    if (epoch < this.promises.newestEpoch) return false;
    if (settings.upstream !== null) {
      if (epoch <= this.promises.pledgedEpoch) return false;
      this.promises = { ...this.promises, newestEpoch: epoch, walEpoch: epoch, timelines };
    }
    this.settings = settings;
    return true;
  }

  /** A fast stop lets connected standbys have everything. */
  #drain(): void {
    if (this.kind !== "primary") return;
    for (const standby of this.standbys)
      if (standby.isReceivingFrom(this)) standby.receive(Number.POSITIVE_INFINITY);
  }

  /** Names the server that runs; null: none does. */
  get instance(): string | null {
    const isUp = this.isUp && (this.kind === "standby" || this.kind === "primary");
    return isUp ? `${this.name}-${this.server}` : null;
  }

  /** What its member says of its parameters. */
  get parameters(): Partial<MemberStatus> {
    const { instance, runningConnections: running, wantedConnections: wanted } = this;
    if (instance === null) return {};
    const others = STANDBY_LIMITS.map((name) => [name, { running: 10, wanted: 10 }]);
    const limits = { ...Object.fromEntries(others), max_connections: { running, wanted } };
    return { instance, limits, ...(running === wanted ? {} : { pendingRestart: ["max_connections"] }) };
  }

  /** What its data needs at least, to be started as a standby: what the primary that it followed last had. */
  get neededConnections(): number {
    const upstream = this.standbys.find((each) => this.isReceivingFrom(each) || each.kind === "primary");
    return upstream?.kind === "primary" ? upstream.runningConnections : this.runningConnections;
  }

  standbys: readonly ScriptedPostgres[] = [];

  #promote({ epoch, timelines }: Extract<Action, { kind: "promote" }>): boolean {
    const isStale = epoch < this.promises.newestEpoch || epoch <= this.promises.pledgedEpoch;
    if (isStale) return false;
    if (this.kind !== "standby") return false;
    this.promises = { ...this.promises, newestEpoch: epoch, walEpoch: epoch, timelines };
    this.kind = "primary";
    this.isReceiving = false;
    this.ancestors = [
      ...this.ancestors,
      { timeline: this.timeline as TimelineId, endLsn: this.wal.length as Lsn },
    ];
    this.timeline += 1;
    return true;
  }

  #clone(action: Extract<Action, { kind: "clone" }>): boolean {
    const source = this.#world.reach(this.name, action.source.host);
    if (source?.kind !== "primary" || !source.isUp || !source.hasRoles) return false;
    if (this.kind !== "absent" && action.replace === null) return false;
    if (action.epoch < this.promises.newestEpoch || action.epoch <= this.promises.pledgedEpoch) return false;
    this.hasAside = this.kind !== "absent";
    this.wal = [...source.wal];
    this.timeline = source.timeline;
    this.ancestors = [...source.ancestors];
    this.system = source.system;
    this.checkpointTimeline = source.timeline;
    this.hasRoles = true;
    this.promises = {
      ...this.promises,
      newestEpoch: action.epoch,
      walEpoch: action.epoch,
      timelines: action.timelines,
    };
    this.kind = "stopped";
    return true;
  }

  /** As pg_rewind does: back to the last common timeline, by number. */
  #rewind(action: Extract<Action, { kind: "rewind" }>): boolean {
    const { host } = action.source;
    const source = this.#world.reach(this.name, host);
    if (this.kind !== "stopped" || source?.kind !== "primary" || !source.isUp) return false;
    const own = [
      ...this.ancestors,
      { timeline: this.timeline as TimelineId, endLsn: this.wal.length as Lsn },
    ];
    const common = own.filter(({ timeline }) => source.endOf(timeline) >= 0).at(-1);
    if (common === undefined) return false;
    const fork = Math.min(common.endLsn, source.endOf(common.timeline));
    if (fork > 0 && this.wal[fork - 1] !== source.wal[fork - 1]) {
      this.#world.corrupted(
        `${this.name} rewinds to ${common.timeline}:${fork} of ${host} over another history`,
      );
    }
    this.promises = { ...this.promises, walEpoch: action.epoch, timelines: action.timelines };
    this.wal = this.wal.slice(0, fork);
    this.timeline = common.timeline;
    this.ancestors = this.ancestors.filter(({ timeline }) => timeline < common.timeline);
    return true;
  }

  look(): PostgresStatus {
    if (this.kind !== "primary") this.#synchronous = null;
    const systemIdentifier = this.system;
    const timeline = this.timeline as TimelineId;
    switch (this.kind) {
      case "absent":
        return { kind: "absent" };
      case "stopped":
        return {
          kind: "stopped",
          systemIdentifier,
          timeline,
          checkpointLsn: (this.isFinal ? this.wal.length - 1 : 0) as Lsn,
          isClean: this.isFinal,
          ...(this.isFinal ? { isFinal: true } : {}),
        };
      case "standby": {
        const upstream = this.effective?.upstream;
        const walReceiver =
          this.isReceiving && upstream ? { upstream: `${upstream.host}:5432`, status: "streaming" } : null;
        const receivedLsn = this.wal.length as Lsn;
        return {
          kind: "standby",
          systemIdentifier,
          timeline,
          receivedLsn,
          replayedLsn: receivedLsn,
          walReceiver,
        };
      }
      case "primary":
        return {
          kind: "primary",
          systemIdentifier,
          timeline,
          writtenLsn: this.wal.length as Lsn,
          ancestors: this.ancestors,
          checkpointTimeline: this.checkpointTimeline as TimelineId,
          synchronous: this.#lookAtRule(),
          standbys: this.#connections(),
          isProvisioned: this.hasRoles,
        };
    }
  }

  #lookAtRule(): SynchronousStatus {
    const rule = this.effective?.synchronousStandbyNames ?? null;
    const names = rule === null ? "" : renderSynchronousStandbyNames(rule.k, rule.names);
    if (this.#synchronous?.names === names) return this.#synchronous;
    this.#synchronous = { names, sinceLsn: this.wal.length as Lsn };
    return this.#synchronous;
  }

  #connections(): readonly StandbyConnection[] {
    return this.standbys
      .filter((standby) => standby.isReceivingFrom(this))
      .map(({ standbyName, wal }) => ({
        name: standbyName,
        state: "streaming",
        flushedLsn: wal.length as Lsn,
        replayedLsn: wal.length as Lsn,
        syncState: this.effective?.synchronousStandbyNames?.names.includes(standbyName) ? "quorum" : "async",
      }));
  }
}
