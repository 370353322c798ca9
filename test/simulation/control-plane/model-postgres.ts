/**
 * A model of one PostgreSQL: WAL as a list of records, timelines, streaming, synchronous acknowledgement, crash, promotion.
 * Only what failover depends on, and as naive as the real one: it believes timeline *numbers*, so that following the wrong
 * history corrupts it silently.
 */
import type { TimelineId } from "../../../src/base/ids.ts";
import type { Lsn } from "../../../src/base/lsn.ts";
import type { ManagedSettings } from "../../../src/cluster/managed-settings.ts";
import type { Ancestor, StandbyConnection, WalReceiver } from "../../../src/cluster/observation.ts";

/** One commit. Two records are the same only if they are the same object. */
export interface WalRecord {
  readonly id: number;
  readonly by: string;
  /** Its client ended the wait for standbys: it is there, and nobody was ever told that it is safe. */
  readonly isCancelled?: true;
}

export interface ModelWorld {
  /** True time. */
  nowMs(): number;
  carries(from: string, to: string): boolean;
  /** The PostgreSQL at an address, if its host has power. */
  at(host: string): ModelPostgres | null;
  send(from: string, to: string, arrive: () => void): void;
  /** How many of the newest records a server keeps for others: checkpoints end the rest. */
  recordsKept(): number;
  /** The postmaster ended. */
  ended(): void;
  corrupted(what: string): void;
}

/** A standby as its upstream knows it: what it said last of how far it has flushed. */
interface WalSender {
  readonly connection: number;
  readonly name: string;
  flushed: number;
  heardAtMs: number;
}

/** `wal_receiver_timeout` and `wal_sender_timeout`, as guacamole sets them. */
const RECEIVER_TIMEOUT_MS = 1_500;
const SENDER_TIMEOUT_MS = 10_000;
/** From then on a look at a standby says that nothing comes. */
const SILENT_MS = 750;

export class ModelPostgres {
  readonly name: string;
  readonly #world: ModelWorld;
  kind: "absent" | "stopped" | "standby" | "primary" = "absent";
  /** On its way out of recovery: told to, or with the new timeline there already. */
  promotion: "none" | "told" | "opening" = "none";
  /** Names this start of the server. */
  server = 0;
  /** When it ended last, however it did; true time. */
  endedAtMs = Number.NEGATIVE_INFINITY;
  wal: WalRecord[] = [];
  /** The first record that it can still send; what is older it has replayed, and removed. */
  walFrom = 0;
  timeline = 1;
  ancestors: readonly Ancestor[] = [];
  system = "";
  hasStandbySignal = false;
  /** What the running server has read of its settings. */
  effective: ManagedSettings | null = null;
  checkpointTimeline = 1;
  hasRoles = false;
  /** All its processes are stopped by a signal. */
  isFrozen = false;
  /** Nothing can be written. */
  isDiskStuck = false;
  /** It ended as a primary, and its last record is the checkpoint that it ended with. */
  isFinal = false;
  /** Its data belongs to no history: where that came from. Only a clone mends it, and nothing may count on it before. */
  corruption: string | null = null;
  /**
   * Its files are of this point of the history that it was rewound to: before it has the WAL up to there it takes no connections.
   * Null: they hold nothing that its WAL does not.
   */
  consistentAt: { readonly timeline: number; readonly lsn: number; readonly record: WalRecord } | null = null;
  /** Of all timelines that its directory has the history of. */
  newestHistory = 1;
  /** Read when it thaws. */
  #unread: ManagedSettings | null = null;
  /** Where it streams from: the connection, and when something came last. */
  #receiver: { readonly from: ModelPostgres; readonly connection: number; heardAtMs: number } | null = null;
  #senders = new Map<ModelPostgres, WalSender>();
  #connections = 0;

  constructor(name: string, world: ModelWorld) {
    this.name = name;
    this.#world = world;
  }

  get isRunning(): boolean {
    return this.kind === "standby" || this.kind === "primary";
  }

  /** It takes connections. */
  get isOpen(): boolean {
    return this.isRunning && this.consistentAt === null;
  }

  get isReceiving(): boolean {
    return this.#receiver !== null;
  }

  // --- Its life ------------------------------------------------------------------------------------------------------

  /** @returns false if it ended before it took connections. */
  start(settings: ManagedSettings): boolean {
    if (this.kind !== "stopped" || this.isDiskStuck) return false;
    this.kind = "standby";
    this.server += 1;
    this.isFinal = false;
    this.hasStandbySignal = true;
    this.effective = settings;
    return true;
  }

  /** Goes on as the primary that it ended as. */
  resume(settings: ManagedSettings): boolean {
    if (this.kind !== "stopped" || this.isDiskStuck || !this.isFinal) return false;
    this.kind = "primary";
    this.server += 1;
    this.isFinal = false;
    this.hasStandbySignal = false;
    this.effective = settings;
    return true;
  }

  /** The postmaster is killed: what was flushed stays. */
  crash(): void {
    if (this.isRunning) {
      this.kind = "stopped";
      this.endedAtMs = this.#world.nowMs();
      this.#world.ended();
    }
    this.#disconnect();
    this.#senders.clear();
    this.promotion = "none";
    this.isFrozen = false;
    this.isFinal = false;
    this.#unread = null;
  }

  /** A fast stop: a primary ends with a checkpoint, and lets connected standbys have it. */
  stop(): void {
    const isClean = this.kind === "primary" && !this.isFrozen && !this.isDiskStuck;
    if (isClean) {
      this.wal.push({ id: -1, by: `${this.name}'s end` });
      for (const standby of [...this.#senders.keys()]) {
        if (standby.isReceivingFrom(this)) standby.receive(Number.POSITIVE_INFINITY);
      }
    }
    this.crash();
    this.isFinal = isClean;
  }

  reload(settings: ManagedSettings): void {
    if (!this.isRunning) return;
    if (this.isFrozen) {
      this.#unread = settings;
      return;
    }
    this.effective = settings;
    if (settings.upstream === null) this.#disconnect();
  }

  thaw(): void {
    this.isFrozen = false;
    if (this.#unread !== null) this.reload(this.#unread);
    this.#unread = null;
  }

  /** The promote file and the signal. */
  tellToPromote(): void {
    if (this.kind === "standby" && this.promotion === "none") this.promotion = "told";
  }

  /** One step out of recovery: the new timeline is there before the server leaves recovery. */
  promoteFurther(): void {
    if (this.isFrozen || this.isDiskStuck || this.kind !== "standby" || this.consistentAt !== null) return;
    if (this.promotion === "told") {
      if (this.corruption !== null) this.#world.corrupted(`${this.corruption}, and is promoted`);
      this.#disconnect();
      this.promotion = "opening";
      const fork = { timeline: this.timeline as TimelineId, endLsn: this.wal.length as Lsn };
      this.ancestors = [...this.ancestors, fork];
      this.timeline += 1;
      this.newestHistory = Math.max(this.newestHistory, this.timeline);
    } else if (this.promotion === "opening") {
      this.promotion = "none";
      this.hasStandbySignal = false;
      this.kind = "primary";
    }
  }

  // --- As a primary --------------------------------------------------------------------------------------------------

  /** A commit on a primary; it is acknowledged only when `acknowledgedUpTo` says so. */
  write(record: WalRecord): void {
    this.wal.push(record);
    this.#forgetWal();
  }

  #forgetWal(): void {
    this.walFrom = Math.max(this.walFrom, this.wal.length - this.#world.recordsKept());
  }

  /** Which of the primary's records may be acknowledged now: up to this LSN. */
  acknowledgedUpTo(): number {
    const rule = this.effective?.synchronousStandbyNames ?? null;
    if (rule === null) return this.wal.length;
    const counted: number[] = [];
    for (const [standby, sender] of this.#senders) {
      if (!rule.names.includes(sender.name)) continue;
      if (standby.corruption !== null && standby.isReceivingFrom(this))
        this.#world.corrupted(`${standby.corruption}, and ${this.name} counts on it`);
      counted.push(sender.flushed);
    }
    return counted.sort((a, b) => b - a)[rule.k - 1] ?? 0;
  }

  /** `pg_stat_replication`. */
  connections(): readonly StandbyConnection[] {
    this.#dropSilentSenders();
    const names = this.effective?.synchronousStandbyNames?.names ?? [];
    return [...this.#senders.values()].map(({ name, flushed }) => ({
      name,
      state: "streaming",
      flushedLsn: flushed as Lsn,
      replayedLsn: flushed as Lsn,
      syncState: names.includes(name) ? "quorum" : "async",
    }));
  }

  #dropSilentSenders(): void {
    const nowMs = this.#world.nowMs();
    for (const [standby, { heardAtMs }] of this.#senders)
      if (nowMs - heardAtMs > SENDER_TIMEOUT_MS) this.#senders.delete(standby);
  }

  /** A standby connects. @returns the connection's number. */
  accept(standby: ModelPostgres): number {
    this.#connections += 1;
    // What it has flushed it says with its first message.
    const sender = { connection: this.#connections, name: standby.standbyName, flushed: 0 };
    this.#senders.set(standby, { ...sender, heardAtMs: this.#world.nowMs() });
    return this.#connections;
  }

  hear(standby: ModelPostgres, connection: number, flushed: number): void {
    const sender = this.#senders.get(standby);
    if (sender?.connection !== connection || this.isFrozen) return;
    sender.flushed = Math.max(sender.flushed, flushed);
    sender.heardAtMs = this.#world.nowMs();
  }

  hangUp(standby: ModelPostgres, connection: number): void {
    if (this.#senders.get(standby)?.connection === connection) this.#senders.delete(standby);
  }

  knows(standby: ModelPostgres, connection: number): boolean {
    return this.#senders.get(standby)?.connection === connection;
  }

  // --- As a standby --------------------------------------------------------------------------------------------------

  /** `application_name`, as its upstream sees it. */
  get standbyName(): string {
    return this.effective?.memberName ?? this.name;
  }

  isReceivingFrom(upstream: ModelPostgres): boolean {
    return this.kind === "standby" && !this.isFrozen && this.#receiver?.from === upstream;
  }

  /** The walreceiver, as `pg_stat_wal_receiver` shows it. */
  lookAtReceiver(): WalReceiver | null {
    const upstream = this.effective?.upstream;
    if (this.#receiver === null || !upstream) return null;
    const silentMs = Math.round(this.#world.nowMs() - this.#receiver.heardAtMs);
    const receiver = { upstream: `${upstream.host}:5432`, status: "streaming" };
    return silentMs >= SILENT_MS ? { ...receiver, silentMs } : receiver;
  }

  /** The walreceiver connects, receives up to `countMax` records, or finds that it cannot. */
  receive(countMax: number): void {
    if (this.kind !== "standby" || this.isFrozen || this.promotion !== "none") return;
    const host = this.effective?.upstream?.host;
    if (host === undefined) return;
    const upstream = this.#world.at(host);
    const comesThrough = this.#world.carries(host, this.name) && upstream !== null && !upstream.isFrozen;
    if (!comesThrough) {
      this.#awaitSign();
      return;
    }
    if (this.#receiver !== null && !this.#isConnectedTo(upstream)) this.#disconnect();
    if (!upstream.isRunning || !this.#canFollow(upstream)) {
      this.#disconnect();
      return;
    }
    if (this.#receiver === null) {
      if (!this.#world.carries(this.name, host)) return;
      this.#receiver = { from: upstream, connection: upstream.accept(this), heardAtMs: 0 };
    }
    this.#receiver.heardAtMs = this.#world.nowMs();
    this.#take(upstream, countMax);
    this.#say(upstream, this.#receiver.connection);
  }

  /** A connection to a dead or frozen server stands until nothing has come for too long. */
  #awaitSign(): void {
    if (this.#receiver === null) return;
    if (this.#world.nowMs() - this.#receiver.heardAtMs > RECEIVER_TIMEOUT_MS) this.#disconnect();
  }

  #isConnectedTo(upstream: ModelPostgres): boolean {
    return this.#receiver?.from === upstream && upstream.knows(this, this.#receiver.connection);
  }

  #take(upstream: ModelPostgres, countMax: number): void {
    this.#switchTimeline(upstream);
    const wanted = this.isDiskStuck ? 0 : countMax;
    const end = Math.min(upstream.wal.length, upstream.endOf(this.timeline), this.wal.length + wanted);
    const last = this.wal.length - 1;
    if (last >= 0 && end > this.wal.length && upstream.wal[last] !== this.wal[last]) {
      // Nobody notices: its member may be frozen, and the server that it followed was built anew meanwhile.
      this.corruption ??= `${this.name} followed ${upstream.name} on timeline ${this.timeline} over another history`;
    }
    this.corruption ??= upstream.corruption;
    for (let at = this.wal.length; at < end; at += 1) {
      const record = upstream.wal[at];
      if (record !== undefined) this.wal.push(record);
    }
    this.#forgetWal();
    this.#switchTimeline(upstream);
    this.#becomeConsistent();
  }

  /** By position alone, as PostgreSQL does. */
  #becomeConsistent(): void {
    if (this.consistentAt === null || this.wal.length < this.consistentAt.lsn) return;
    const { lsn, record } = this.consistentAt;
    if (this.wal[lsn - 1] !== record)
      this.corruption ??= `${this.name} has files of a history that its WAL is not of`;
    this.consistentAt = null;
  }

  #say(upstream: ModelPostgres, connection: number): void {
    const flushed = this.wal.length;
    const { server } = upstream;
    this.#world.send(this.name, upstream.name, () => {
      if (upstream.server === server) upstream.hear(this, connection, flushed);
    });
  }

  #disconnect(): void {
    if (this.#receiver === null) return;
    const { from, connection } = this.#receiver;
    const { server } = from;
    this.#receiver = null;
    this.#world.send(this.name, from.name, () => {
      if (from.server === server) from.hangUp(this, connection);
    });
  }

  /** As PostgreSQL decides: by timeline numbers and fork points alone. */
  #canFollow(upstream: ModelPostgres): boolean {
    if (this.wal.length > upstream.wal.length || this.wal.length < upstream.walFrom) return false;
    return this.wal.length <= upstream.endOf(this.timeline);
  }

  #switchTimeline(upstream: ModelPostgres): void {
    while (this.timeline !== upstream.timeline && this.wal.length === upstream.endOf(this.timeline)) {
      const at = upstream.ancestors.findIndex(({ timeline }) => timeline === this.timeline);
      this.timeline = upstream.ancestors[at + 1]?.timeline ?? upstream.timeline;
      this.ancestors = upstream.ancestors.slice(0, at + 1);
      this.newestHistory = Math.max(this.newestHistory, this.timeline);
    }
  }

  /** Where a timeline ends in this server's history; -1 if it is no part of it. */
  endOf(timeline: number): number {
    if (timeline === this.timeline) return this.wal.length;
    return this.ancestors.find((each) => each.timeline === timeline)?.endLsn ?? -1;
  }

  // --- Its data ------------------------------------------------------------------------------------------------------

  /** As pg_basebackup does. */
  copyFrom(source: ModelPostgres): void {
    this.wal = [...source.wal];
    this.walFrom = source.walFrom;
    this.corruption = source.corruption;
    this.timeline = source.timeline;
    this.ancestors = source.ancestors;
    this.system = source.system;
    this.checkpointTimeline = source.timeline;
    this.consistentAt = null;
    this.newestHistory = source.timeline;
    this.hasRoles = true;
    this.hasStandbySignal = true;
    this.isFinal = false;
    this.kind = "stopped";
  }

  /** As pg_rewind does: back to the last common timeline, by number. @returns false where there is none. */
  rewindTo(source: ModelPostgres): boolean {
    const own = [
      ...this.ancestors,
      { timeline: this.timeline as TimelineId, endLsn: this.wal.length as Lsn },
    ];
    const common = own.filter(({ timeline }) => source.endOf(timeline) >= 0).at(-1);
    if (common === undefined) return false;
    const fork = Math.min(common.endLsn, source.endOf(common.timeline));
    if (fork > 0 && this.wal[fork - 1] !== source.wal[fork - 1]) {
      this.#world.corrupted(
        `${this.name} rewinds to ${common.timeline}:${fork} of ${source.name} over another history`,
      );
    }
    const record = source.wal.at(-1);
    const lsn = source.wal.length;
    this.consistentAt =
      record === undefined || lsn <= fork ? null : { timeline: source.timeline, lsn, record };
    this.newestHistory = source.timeline;
    this.corruption = source.corruption;
    this.wal = this.wal.slice(0, fork);
    // What was before the fork is kept.
    this.walFrom = Math.min(this.walFrom, fork);
    this.timeline = common.timeline;
    this.ancestors = this.ancestors.filter(({ timeline }) => timeline < common.timeline);
    this.hasStandbySignal = true;
    this.isFinal = false;
    return true;
  }
}
