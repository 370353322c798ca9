/**
 * A model of the supervisor beside one PostgreSQL. What it promises and how it counts a lease is production code; what it
 * does to PostgreSQL it does to the model. What it keeps on disk survives its own end, what it has in memory does not.
 */
import type { ClusterId, Epoch, TimelineId } from "../../../src/base/ids.ts";
import type { Lsn, Position } from "../../../src/base/lsn.ts";
import type { MachineRequest } from "../../../src/cluster/machine-request.ts";
import type { ManagedSettings } from "../../../src/cluster/managed-settings.ts";
import type { DiskStatus, MemberStatus, Promises, WorkProgress } from "../../../src/cluster/observation.ts";
import {
  extended,
  isStanding,
  type Lease,
  type LeaseExtension,
  stopsAtMs,
} from "../../../src/supervisor/lease.ts";
import {
  NO_PROMISES,
  refusePledged,
  refuseStale,
  withNewest,
  withPledge,
  withWal,
} from "../../../src/supervisor/promises.ts";
import type { DataDirectory, SupervisorLook, SupervisorRequest } from "../../../src/supervisor/protocol.ts";
import type { ModelPostgres } from "./model-postgres.ts";

/** How long a server takes from its end to its start. */
const RESUME_MS = 60;
const RESTARTING = {
  kind: "start",
  phase: "restarting in place",
  doneBytes: null,
  totalBytes: null,
} as const;

export interface SupervisorWorld {
  /** The time of this host's own clock, which runs a little fast or slow. */
  hostMs(): number;
  clusterId(): ClusterId;
  newSystem(): string;
  /** How long a clone or a rewind takes. */
  workMs(): number;
  later(delayMs: number, happen: () => void): void;
  /** The PostgreSQL at an address, if a connection to it can be made. */
  connect(host: string): ModelPostgres | null;
}

/** What changes something. */
export type ChangeRequest = MachineRequest | Extract<SupervisorRequest, { kind: "stop" }>;

const MACHINE_REQUESTS: ReadonlySet<string> = new Set<ChangeRequest["kind"]>([
  "initdb",
  "clone",
  "rewind",
  "configure",
  "start",
  "reload",
  "promote",
  "release-lease",
  "pledge",
  "discard-aside",
  "restart-in-place",
  "stop",
]);

export function isMachineRequest(request: SupervisorRequest): request is ChangeRequest {
  return MACHINE_REQUESTS.has(request.kind);
}

const GIGABYTE = 1e9;

/** How a thing that was asked for went. */
export type Performed = "done" | "refused" | "ended-while-starting" | "ended-with-it";

type LongWork = Extract<MachineRequest, { kind: "clone" | "rewind" }>;

export class ModelSupervisor {
  readonly #postgres: ModelPostgres;
  readonly #world: SupervisorWorld;
  /** Its process is there. */
  isRunning = true;
  promises: Promises = NO_PROMISES;
  hasAside = false;
  needsClone: string | null = null;
  /** So many starts to come fail. */
  failingStarts = 0;
  /** So often the server ended since it last took connections. */
  failedStarts = 0;
  /** The next rewind breaks off in the middle. */
  breaksRewind = false;
  isDiskFull = false;
  /** Ways in which it is broken on purpose. */
  readonly faults = {
    ignoresLeases: false,
    liesAboutItsEnd: false,
    answersBeforeThePledge: false,
    forgetsWhatItPledged: false,
    promotesWithoutSaying: false,
    forgetsWhomItPromoted: false,
  };
  #kept: { readonly settings: ManagedSettings; readonly epoch: Epoch } | null = null;
  #lease: Lease | null = null;
  #isReigning = false;
  /** The lease on disk: the same, or one extension behind. */
  #keptLease: Lease | null = null;
  /** The server that was last told to promote; on disk. */
  #promoted: number | null = null;
  /** What takes long and is under way. */
  #work: { readonly request: LongWork; readonly done: (result: Performed) => void } | null = null;
  /** Sabotage: how far it says that it is, while it goes on receiving. */
  #lie: number | null = null;
  /** Between the end and the start of a primary that is started again in place. */
  #resuming: { readonly epoch: Epoch; readonly needsLease: boolean; readonly atMs: number } | null = null;
  #lastFollowed: { readonly settings: ManagedSettings; readonly epoch: Epoch } | null = null;

  constructor(postgres: ModelPostgres, world: SupervisorWorld) {
    this.#postgres = postgres;
    this.#world = world;
  }

  /** The settings as they may be used: without an upstream that was pledged away. */
  get settings(): ManagedSettings | null {
    if (this.#kept === null) return null;
    const { settings, epoch } = this.#kept;
    return epoch > this.promises.pledgedEpoch ? settings : { ...settings, upstream: null };
  }

  /** The lease that it holds PostgreSQL to, as it counts; null: none. */
  get lease(): { readonly epoch: Epoch; readonly leftMs: number } | null {
    if (this.#lease === null) return null;
    return { epoch: this.#lease.epoch, leftMs: this.#lease.untilMs - this.#world.hostMs() };
  }

  // --- Its life ------------------------------------------------------------------------------------------------------

  /** Its process is killed. PostgreSQL lives on. */
  end(): void {
    this.isRunning = false;
    this.#resuming = null;
    this.#breakOff("ended-with-it");
  }

  /** Half of a clone is removed; half of a rewind can only be mended by a clone. */
  #breakOff(result: Performed): void {
    const work = this.#work;
    this.#work = null;
    if (work?.request.kind === "rewind") this.needsClone = "a rewind broke off";
    work?.done(result);
  }

  /** Another begins, with what is on disk. */
  begin(): void {
    this.isRunning = true;
    this.#lease = this.#keptLease;
    if (this.faults.forgetsWhomItPromoted) this.#promoted = null;
    if (this.faults.forgetsWhatItPledged) this.forgetPledges();
    const { settings } = this;
    if (settings !== null) this.#postgres.reload(settings);
  }

  /** The host goes down: whatever comes next is another boot, and an earlier lease says nothing. */
  losePower(): void {
    this.#lease = null;
    this.#keptLease = null;
    this.#isReigning = false;
    this.#promoted = null;
    this.#resuming = null;
    this.isRunning = true;
    this.#breakOff("ended-with-it");
  }

  /** Sabotage: what was promised does not survive, and what was followed is followed again. */
  forgetPledges(): void {
    this.promises = { ...this.promises, pledgedEpoch: 0 as Epoch };
    this.#kept = this.#lastFollowed ?? this.#kept;
  }

  // --- Leases --------------------------------------------------------------------------------------------------------

  /** The dead man's switch: at the end of its lease a primary ends. @returns whether one did. */
  tick(): boolean {
    const lease = this.#lease;
    if (lease === null || !this.isRunning || this.faults.ignoresLeases) return false;
    if (this.#world.hostMs() < stopsAtMs(lease)) return false;
    const mayReign = this.#isReigning || (this.#postgres.isRunning && !this.#postgres.hasStandbySignal);
    this.#drop();
    if (!mayReign || !this.#postgres.isRunning) return false;
    this.#postgres.stop();
    return true;
  }

  /** @param isWrittenLate what the next supervisor finds is one extension behind. */
  extendLease(extension: LeaseExtension, isWrittenLate: boolean): void {
    if (!this.isRunning || refusePledged(this.promises, extension.epoch) !== null) return;
    const before = this.#lease;
    const lease = extended(before, extension, this.#world.hostMs());
    if (lease === null || lease === before) return;
    const isSame = lease.epoch === before?.epoch;
    this.#lease = lease;
    this.#isReigning = (isSame && this.#isReigning) || !this.#postgres.hasStandbySignal;
    this.#keptLease = isSame && isWrittenLate ? before : lease;
  }

  #holdsLease(epoch: Epoch): boolean {
    if (this.faults.ignoresLeases) return true;
    return this.#lease?.epoch === epoch && isStanding(this.#lease, this.#world.hostMs());
  }

  #drop(): void {
    this.#lease = null;
    this.#keptLease = null;
    this.#isReigning = false;
  }

  #heldLease(): NonNullable<MemberStatus["lease"]> | null {
    const lease = this.#lease;
    const nowMs = this.#world.hostMs();
    if (!isStanding(lease, nowMs) || lease.epoch <= this.promises.pledgedEpoch) return null;
    return { epoch: lease.epoch, remainingMs: lease.untilMs - nowMs };
  }

  // --- What it is asked ----------------------------------------------------------------------------------------------

  /** This host's own time. */
  get stampMs(): number {
    return Math.floor(this.#world.hostMs());
  }

  /** @param isStarting with what it takes to become consistent. */
  look(isStarting?: true): SupervisorLook {
    const { settings, stampMs } = this;
    const { kind, isFrozen, isRunning, server, hasStandbySignal, ancestors, newestHistory } = this.#postgres;
    const isPromoted = this.#promoted === server && !this.faults.promotesWithoutSaying;
    return {
      postgresVersion: "18",
      dataDirectory: this.#lookAtData(isStarting === true),
      postmaster: isRunning
        ? { pid: server, startedAtMs: 0, state: isFrozen ? "stopped" : "running", isPromoted }
        : null,
      hasStandbySignal: kind === "absent" || hasStandbySignal,
      stampMs,
      lease: this.#heldLease(),
      disks: [this.#lookAtDisk()],
      promises: this.promises,
      work: this.#resuming === null ? this.#progress() : RESTARTING,
      settingsHash: settings === null ? null : JSON.stringify(settings),
      needsClone: this.needsClone,
      ancestors,
      ancestorsOf: newestHistory as TimelineId,
      lastExit: null,
      hasAside: this.hasAside,
    };
  }

  #progress(): WorkProgress | null {
    if (this.#work === null) return null;
    return { kind: this.#work.request.kind, phase: "copying", doneBytes: null, totalBytes: null };
  }

  #lookAtDisk(): DiskStatus {
    const isStalled = this.#postgres.isDiskStuck && !this.isDiskFull;
    return {
      place: "data",
      lastSyncMs: 1,
      pendingMs: isStalled ? 60_000 : null,
      freeBytes: this.isDiskFull ? 0 : GIGABYTE,
      totalBytes: GIGABYTE,
      isFull: this.isDiskFull,
    };
  }

  /** Sabotage: how far it says that PostgreSQL has received; null: it tells the truth. */
  get lie(): number | null {
    return this.#lie;
  }

  #lookAtData(isStarting: boolean): DataDirectory {
    const { kind, isFinal, wal, system, timeline, consistentAt } = this.#postgres;
    if (kind === "absent") return { kind };
    const at = consistentAt === null ? null : positionOf(consistentAt);
    return {
      ...(isStarting ? { consistentAt: at } : {}),
      kind: "present",
      clusterId: this.#world.clusterId(),
      systemIdentifier: system,
      timeline: timeline as TimelineId,
      checkpointLsn: (isFinal ? wal.length - 1 : 0) as Lsn,
      state: isFinal || this.faults.liesAboutItsEnd ? "shut down" : "in production",
    };
  }

  /** Carries out what it is asked to; `done` is called when it is through, at once or after a while. */
  perform(request: ChangeRequest, done: (result: Performed) => void): void {
    if (request.kind === "clone" || request.kind === "rewind") this.#begin(request, done);
    else if (request.kind === "start") done(this.#work === null ? this.#start(request.epoch) : "refused");
    else done(this.#isDone(request) ? "done" : "refused");
  }

  /** A clone or a rewind that comes too late: nothing comes of it. */
  refusesWork(request: ChangeRequest): boolean {
    if (request.kind !== "clone" && request.kind !== "rewind") return false;
    const isPledged = refusePledged(this.promises, request.epoch) !== null;
    return !this.isRunning || this.#work !== null || this.#postgres.isRunning || isPledged;
  }

  /** Long work: one at a time. A stop ends a clone, and so does a pledge of its reign. */
  #begin(request: LongWork, done: (result: Performed) => void): void {
    if (this.#work !== null || refusePledged(this.promises, request.epoch) !== null) {
      done("refused");
      return;
    }
    const work = { request, done };
    this.#work = work;
    this.promises = withNewest(this.promises, request.epoch);
    this.#world.later(this.#world.workMs(), () => {
      if (this.#work !== work) return;
      this.#work = null;
      const isDone = request.kind === "clone" ? this.#clone(request) : this.#rewind(request);
      done(isDone ? "done" : "refused");
    });
  }

  #endClone(epoch: Epoch | null): void {
    const request = this.#work?.request;
    if (request?.kind === "clone" && (epoch === null || request.epoch <= epoch)) this.#breakOff("refused");
  }

  #isDone(action: Exclude<ChangeRequest, { kind: "start" | "clone" | "rewind" }>): boolean {
    switch (action.kind) {
      case "pledge":
        return this.#pledge(action.epoch);
      case "configure":
        return this.#configure(action);
      case "reload":
        this.#reload();
        return this.#postgres.isRunning;
      case "stop":
        this.#endClone(null);
        if (action.mode === "fast") this.#postgres.stop();
        else this.#postgres.crash();
        this.#isReigning = false;
        this.#resuming = null;
        return true;
      case "restart-in-place":
        return this.#restartInPlace(action);
      case "promote":
        return this.#promote(action);
      case "initdb":
        return this.#initdb();
      case "release-lease":
        if (refusePledged(this.promises, action.epoch) !== null) return false;
        if (this.#lease !== null && this.#lease.epoch <= action.epoch) this.#drop();
        return true;
      case "discard-aside":
        this.hasAside = false;
        return true;
    }
  }

  #reload(): void {
    const { settings } = this;
    if (settings !== null) this.#postgres.reload(settings);
  }

  #pledge(epoch: Epoch): boolean {
    if (this.#postgres.isDiskStuck && !this.isDiskFull) return false;
    this.promises = withPledge(this.promises, epoch);
    this.#endClone(epoch);
    if (this.faults.answersBeforeThePledge) this.#lie = this.#postgres.wal.length;
    else this.#endPledgedReign();
    return true;
  }

  /** What was opened, or is being opened, under an epoch that is pledged away does not come true. */
  #endPledgedReign(): void {
    if (this.#mayReign()) this.#postgres.crash();
    this.#reload();
  }

  /** It reigns, or was told to. */
  #mayReign(): boolean {
    const { server, isRunning, hasStandbySignal } = this.#postgres;
    return isRunning && (this.#promoted === server || !hasStandbySignal);
  }

  #configure({
    epoch,
    timelines,
    settings,
    needsLease,
  }: Extract<MachineRequest, { kind: "configure" }>): boolean {
    if (this.#postgres.isDiskStuck || this.#resuming !== null) return false;
    if (needsLease === true && !this.#holdsLease(epoch)) return false;
    if (needsLease === true) this.#isReigning = true;
    const isFollower = settings.upstream !== null;
    if (isFollower && this.#mayReign()) return false;
    const refused = isFollower ? refusePledged(this.promises, epoch) : refuseStale(this.promises, epoch);
    if (refused !== null) return false;
    this.promises = isFollower
      ? withWal(this.promises, { epoch, timelines })
      : withNewest(this.promises, epoch);
    this.#kept = { settings, epoch };
    if (isFollower) this.#lastFollowed = this.#kept;
    this.#lie = null;
    return true;
  }

  #start(epoch: Epoch): Performed {
    const { settings } = this;
    const isRefused = refuseStale(this.promises, epoch) !== null || this.needsClone !== null;
    if (isRefused || settings === null || this.#resuming !== null) return "refused";
    if (this.#postgres.isRunning) return "done";
    this.promises = withNewest(this.promises, epoch);
    if (this.failingStarts > 0 || this.#postgres.isDiskStuck) {
      this.failingStarts = Math.max(0, this.failingStarts - 1);
      this.failedStarts += 1;
      return "ended-while-starting";
    }
    if (!this.#postgres.start(settings)) return "refused";
    this.#isReigning = false;
    return "done";
  }

  #restartInPlace(request: Extract<MachineRequest, { kind: "restart-in-place" }>): boolean {
    const { epoch, needsLease } = request;
    if (this.#postgres.kind !== "primary" || !this.#mayGoOn(epoch, needsLease)) return false;
    this.#postgres.stop();
    if (this.#postgres.isFinal)
      this.#resuming = { epoch, needsLease, atMs: this.#world.hostMs() + RESUME_MS };
    return this.#resuming !== null;
  }

  #mayGoOn(epoch: Epoch, needsLease: boolean): boolean {
    const { promises } = this;
    const isItsReign = refusePledged(promises, epoch) === null && refuseStale(promises, epoch) === null;
    return isItsReign && promises.walEpoch === epoch && (!needsLease || this.#holdsLease(epoch));
  }

  /** The second half of a start in place: whatever came meanwhile is looked at last. */
  resume(): void {
    if (this.#resuming === null || !this.isRunning) return;
    const { epoch, needsLease, atMs } = this.#resuming;
    if (this.#world.hostMs() < atMs) return;
    this.#resuming = null;
    const { settings } = this;
    if (settings !== null && this.#mayGoOn(epoch, needsLease)) this.#postgres.resume(settings);
  }

  #promote({ epoch, timelines, needsLease }: Extract<MachineRequest, { kind: "promote" }>): boolean {
    if (refusePledged(this.promises, epoch) !== null || this.#postgres.isDiskStuck) return false;
    if (needsLease && !this.#holdsLease(epoch)) return false;
    if (!this.#postgres.isRunning) return false;
    if (needsLease) this.#isReigning = true;
    this.#promoted = this.#postgres.server;
    this.promises = withWal(this.promises, { epoch, timelines });
    this.#postgres.tellToPromote();
    return true;
  }

  #initdb(): boolean {
    if (this.#postgres.kind !== "absent") return false;
    this.#postgres.kind = "stopped";
    this.#postgres.system = this.#world.newSystem();
    return true;
  }

  #clone(action: Extract<MachineRequest, { kind: "clone" }>): boolean {
    const source = this.#world.connect(action.source.host);
    if (source === null || source.isFrozen || !source.isOpen || !source.hasRoles) return false;
    if (this.#postgres.isRunning || this.#postgres.isDiskStuck) return false;
    const hasData = this.#postgres.kind !== "absent";
    if (hasData && action.replace === null) return false;
    if (refusePledged(this.promises, action.epoch) !== null) return false;
    this.hasAside = hasData;
    this.#postgres.copyFrom(source);
    this.promises = withWal(this.promises, action);
    this.needsClone = null;
    this.failedStarts = 0;
    return true;
  }

  #rewind(action: Extract<MachineRequest, { kind: "rewind" }>): boolean {
    const source = this.#world.connect(action.source.host);
    if (this.#postgres.kind !== "stopped" || this.#postgres.isDiskStuck || this.needsClone !== null)
      return false;
    if (source?.kind !== "primary" || source.isFrozen) return false;
    if (this.breaksRewind) {
      this.breaksRewind = false;
      this.needsClone = "a rewind failed";
      return false;
    }
    if (!this.#postgres.rewindTo(source)) return false;
    this.promises = withWal(this.promises, action);
    return true;
  }
}

function positionOf({ timeline, lsn }: { readonly timeline: number; readonly lsn: number }): Position {
  return { timeline: timeline as TimelineId, lsn: lsn as Lsn };
}
