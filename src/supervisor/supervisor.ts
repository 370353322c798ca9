import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { unreachable } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { ClusterId, Epoch, TimelineId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { Result } from "../base/result.ts";
import type { ManagedSettings, Upstream } from "../cluster/managed-settings.ts";
import type { TimelineEpoch, WorkProgress } from "../cluster/observation.ts";
import { cleanAutoConf } from "../postgres/auto-conf.ts";
import { type CopyProgress, runBaseBackup } from "../postgres/clone.ts";
import type { ReplicationConnection } from "../postgres/conninfo.ts";
import { type ControlData, readControlData } from "../postgres/control-data.ts";
import {
  ensureStandbySignal,
  inspectDataDirectory,
  isStandby,
  markDataDirectory,
} from "../postgres/data-directory.ts";
import { removeDurably, renameDurably, writeDurably, writeWhole } from "../postgres/durable-file.ts";
import { initdbWorkDirectory, runInitdb } from "../postgres/initdb.ts";
import { killGroup, type ProgramFailure } from "../postgres/program.ts";
import {
  type ConfigPlaces,
  hashSettings,
  ownedSettings,
  renderCommandLine,
  renderHba,
  renderIdent,
  renderPostgresqlConf,
} from "../postgres/render-config.ts";
import { archiveFork, failedBeforeTouching, runRewind } from "../postgres/rewind.ts";
import { newestHistory, readAncestors } from "../postgres/timeline-history.ts";
import type { Installation } from "../postgres/versions.ts";
import { hostUptimeMs } from "./libc.ts";
import { Postmaster, type PostmasterExit } from "./postmaster.ts";
import { processStartTicks, processState } from "./process-table.ts";
import { PromiseBook, refusePledged, refuseStale, withNewest, withPledge, withWal } from "./promises.ts";
import type {
  DataDirectory,
  SupervisorErrorCode,
  SupervisorEvent,
  SupervisorLook,
  SupervisorRequest,
  SupervisorResponse,
} from "./protocol.ts";
import type { StatePaths } from "./state-directory.ts";

export interface SupervisorOptions {
  readonly paths: StatePaths;
  readonly installation: Installation;
  readonly superuserSystemUsers: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  readonly onEvent: (event: SupervisorEvent) => void;
}

/** Why a request is not carried out: becomes the answer. */
class RequestRefused extends Error {
  override readonly name = "RequestRefused";
  readonly code: SupervisorErrorCode;
  constructor(code: SupervisorErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** What `configure` was told last, and under which epoch its upstream may be followed. */
interface KeptSettings {
  readonly settings: ManagedSettings;
  readonly epoch: Epoch;
}

/** What stands on disk while the directory is not to be trusted. */
interface RewindMark {
  readonly reason: string;
  readonly directory: DataDirectory;
}

const PROGRESS_INTERVAL_MS = 250;
const FORKS_KEPT = 3;

/**
 * Carries out requests on one data directory, and decides nothing.
 *
 * Long work (initdb, clone, rewind, start) is done one at a time. `look`, `pledge`, `stop`, `promote`, `reload` and
 * `configure` never wait behind it: what makes a member safe must not stand in a queue.
 */
export class Supervisor {
  readonly #paths: StatePaths;
  readonly #installation: Installation;
  readonly #options: SupervisorOptions;
  readonly #promises: PromiseBook;
  readonly #postmaster: Postmaster;
  #kept: KeptSettings | null;
  #needsClone: string | null;
  #lastExit: SupervisorLook["lastExit"] = null;
  #work: WorkProgress | null = null;
  #progressSentAtMs = Number.NEGATIVE_INFINITY;
  #queue: Promise<void> = Promise.resolve();
  /** The clone (or initdb) under way: what a stop or a pledge ends. */
  #cancellable: { readonly controller: AbortController; readonly epoch: Epoch | null } | null = null;
  #stopCount = 0;
  #control: { readonly key: string; readonly data: ControlData } | null = null;

  /** Loads what was promised, finishes or undoes what an earlier life left half done, and finds PostgreSQL again. */
  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#paths = options.paths;
    this.#installation = options.installation;
    this.#promises = new PromiseBook(options.paths.promisesFile);
    this.#kept = readKeptSettings(options.paths.settingsFile);
    this.#postmaster = new Postmaster({
      dataDirectory: options.paths.dataDirectory,
      logFile: options.paths.postgresLogFile,
      clock: options.clock,
      log: options.log,
      onStarted: ({ pid }) => options.onEvent({ kind: "postmaster-started", pid }),
      onExited: (exit) => this.#postmasterExited(exit),
    });
    this.#endLeftOverProgram();
    this.#finishClone();
    rmSync(initdbWorkDirectory(this.#paths.dataDirectory), { recursive: true, force: true });
    rmSync(this.#paths.cloneWorkDirectory, { recursive: true, force: true });
    const mark = readRewindMark(this.#paths.rewindMarkFile);
    this.#needsClone = mark?.reason ?? null;
    this.#postmaster.adopt();
    if (this.#kept !== null) {
      this.#applySettings();
      this.#postmaster.reload();
    }
  }

  /** Ends what can be ended, waits for what cannot. PostgreSQL lives on. */
  async close(): Promise<void> {
    this.#stopCount += 1;
    this.#cancellable?.controller.abort();
    await this.#queue;
    this.#postmaster.release();
  }

  async handle(request: SupervisorRequest): Promise<SupervisorResponse> {
    try {
      await this.#carryOut(request);
      return { ok: true, look: await this.#look() };
    } catch (error) {
      if (error instanceof RequestRefused) return { ok: false, code: error.code, message: error.message };
      const message = error instanceof Error ? error.message : String(error);
      this.#options.log.error("supervisor.request.failed", { kind: request.kind, message });
      return { ok: false, code: "unavailable", message };
    }
  }

  #carryOut(request: SupervisorRequest): Promise<void> | void {
    const stopCount = this.#stopCount;
    switch (request.kind) {
      case "look":
        return this.#postmaster.adopt();
      case "configure":
        return this.#configure(request);
      case "reload":
        return this.#reload();
      case "promote":
        return this.#promote(request);
      case "pledge":
        return this.#pledge(request.epoch);
      case "stop":
        return this.#stop(request.mode, request.deadlineMs);
      case "install-certificates":
        return this.#installCertificates(request);
      case "extend-lease":
      case "release-lease":
        throw new RequestRefused("unavailable", "this supervisor keeps no leases");
      case "initdb":
        return this.#enqueue(() => this.#initdb(request));
      case "clone":
        return this.#enqueue(() => this.#clone(request));
      case "rewind":
        return this.#enqueue(() => this.#rewind(request));
      case "start":
        return this.#enqueue(() => this.#start(request.epoch, stopCount));
      case "discard-aside":
        return this.#enqueue(() => rm(this.#paths.asideDirectory, { recursive: true, force: true }));
      default:
        return unreachable(request);
    }
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(work);
    this.#queue = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  // ---- configuration ------------------------------------------------------------------------------------------------

  #installCertificates(request: Extract<SupervisorRequest, { kind: "install-certificates" }>): void {
    const files = [
      [this.#paths.keyFile, request.privateKeyPem],
      [this.#paths.certificateFile, request.certificatePem],
      [this.#paths.caFile, request.caPem],
    ] as const;
    const changed = files.filter(
      ([file, contents]) => !existsSync(file) || readFileSync(file, "utf8") !== contents,
    );
    for (const [file, contents] of changed) writeDurably(file, contents, 0o600);
    if (changed.length === 0) return;
    this.#postmaster.reload();
  }

  #configure(request: Extract<SupervisorRequest, { kind: "configure" }>): void {
    const { epoch, settings } = request;
    const promises = this.#promises.current;
    refuseIf(settings.upstream === null ? refuseStale(promises, epoch) : refusePledged(promises, epoch));
    this.#promises.keep(
      settings.upstream === null ? withNewest(promises, epoch) : withWal(promises, request),
    );
    this.#kept = { settings, epoch };
    writeDurably(this.#paths.settingsFile, `${JSON.stringify(this.#kept)}\n`, 0o600);
    this.#applySettings();
  }

  /** The settings as they may be used: without an upstream that was pledged away. */
  #effectiveSettings(): ManagedSettings | null {
    if (this.#kept === null) return null;
    const { settings, epoch } = this.#kept;
    return epoch > this.#promises.current.pledgedEpoch ? settings : { ...settings, upstream: null };
  }

  #applySettings(): void {
    const settings = this.#effectiveSettings();
    if (settings === null) return;
    this.#arrangeUpstreamKeys(settings);
    const places = this.#places();
    writeIfChanged(this.#paths.hbaFile, renderHba());
    writeIfChanged(this.#paths.identFile, renderIdent(this.#options.superuserSystemUsers));
    writeIfChanged(this.#paths.configFile, renderPostgresqlConf(settings, places));
    if (existsSync(this.#paths.dataDirectory)) {
      cleanAutoConf(this.#paths.dataDirectory, ownedSettings(settings, places));
    }
  }

  /**
   * The walreceiver reaches its key by a name that belongs to the epoch. A pledge takes the name away: a walreceiver that
   * PostgreSQL starts a moment later, still with the old connection string, cannot log in any more.
   */
  #arrangeUpstreamKeys(settings: ManagedSettings): void {
    const wanted = settings.upstream === null ? null : this.#upstreamKeyFile();
    for (const name of readdirSync(this.#paths.stateDirectory)) {
      const file = join(this.#paths.stateDirectory, name);
      if (/^upstream-\d+\.key$/.test(name) && file !== wanted) rmSync(file, { force: true });
    }
    if (wanted !== null && !isLink(wanted)) symlinkSync("server.key", wanted);
  }

  #upstreamKeyFile(): string {
    return join(this.#paths.stateDirectory, `upstream-${this.#kept?.epoch ?? 0}.key`);
  }

  #places(): ConfigPlaces {
    return {
      ...this.#paths,
      upstreamKeyFile: this.#upstreamKeyFile(),
      major: this.#installation.major,
      superuserSystemUsers: this.#options.superuserSystemUsers,
    };
  }

  #reload(): void {
    if (!this.#postmaster.reload()) throw notRunning();
  }

  // ---- promises -----------------------------------------------------------------------------------------------------

  #pledge(epoch: Epoch): void {
    this.#promises.keep(withPledge(this.#promises.current, epoch));
    if (this.#cancellable !== null && this.#cancellable.epoch !== null && this.#cancellable.epoch <= epoch) {
      this.#cancellable.controller.abort();
    }
    this.#applySettings();
    this.#postmaster.adopt();
    const settings = this.#effectiveSettings();
    if (!this.#postmaster.reload() || settings === null) return;
    if (settings.upstream === null) this.#postmaster.endWalReceiver(settings.memberName);
  }

  #promote(request: Extract<SupervisorRequest, { kind: "promote" }>): void {
    const { epoch } = request;
    refuseIf(refusePledged(this.#promises.current, epoch));
    if (request.needsLease) throw new RequestRefused("no-lease", "this supervisor keeps no leases");
    this.#postmaster.adopt();
    if (this.#postmaster.running === null) throw notRunning();
    this.#promises.keep(withWal(this.#promises.current, request));
    this.#control = null;
    if (!isStandby(this.#paths.dataDirectory)) return;
    writeFileSync(join(this.#paths.dataDirectory, "promote"), "", { mode: 0o600 });
    this.#postmaster.tellToPromote();
    this.#options.log.info("supervisor.promote.signalled", { epoch });
  }

  // ---- the server process -------------------------------------------------------------------------------------------

  async #start(epoch: Epoch, stopCountWhenAsked: number): Promise<void> {
    refuseIf(refuseStale(this.#promises.current, epoch));
    this.#requireOurs("start");
    if (this.#needsClone !== null)
      throw new RequestRefused("unavailable", `PostgreSQL is not started: ${this.#needsClone}`);
    this.#requireCertificates();
    this.#promises.keep(withNewest(this.#promises.current, epoch));
    this.#applySettings();
    const settings = this.#effectiveSettings();
    if (settings === null)
      throw new RequestRefused("unavailable", "PostgreSQL is not configured yet: send `configure` first");
    this.#begin("start", "starting");
    try {
      const started = await this.#postmaster.start(
        [join(this.#installation.binDirectory, "postgres"), ...renderCommandLine(settings, this.#places())],
        () => this.#stopCount === stopCountWhenAsked,
      );
      if (started.ok) return;
      if (started.error === "unwanted")
        throw new RequestRefused("unavailable", "a stop came after this start");
      throw new RequestRefused("program-failed", started.error.message);
    } finally {
      this.#finish();
    }
  }

  async #stop(mode: "fast" | "immediate", deadlineMs: number): Promise<void> {
    this.#stopCount += 1;
    this.#cancellable?.controller.abort();
    if (!(await this.#postmaster.stop(mode, deadlineMs))) {
      throw new RequestRefused(
        "unavailable",
        "processes of PostgreSQL do not end, even killed: is its disk gone?",
      );
    }
  }

  #postmasterExited(exit: PostmasterExit): void {
    this.#control = null;
    const { code, signal, logTail, wasStopped } = exit;
    if (!wasStopped) this.#lastExit = { code, signal, logTail };
    this.#options.onEvent({ kind: "postmaster-exited", code, signal });
    this.#options.log.info("supervisor.postmaster.exited", { code, signal, wasStopped });
  }

  // ---- the data directory -------------------------------------------------------------------------------------------

  async #initdb(request: Extract<SupervisorRequest, { kind: "initdb" }>): Promise<void> {
    const contents = inspectDataDirectory(this.#paths.dataDirectory, this.#installation.major);
    if (contents.kind !== "absent")
      throw this.#notEmpty(contents.kind === "foreign" ? contents.detail : null);
    this.#begin("initdb", "making a new PostgreSQL");
    const controller = this.#beginCancellable(null);
    try {
      const made = await runInitdb({
        binDirectory: this.#installation.binDirectory,
        dataDirectory: this.#paths.dataDirectory,
        clusterId: request.clusterId,
        options: request.options,
        signal: controller.signal,
        onStarted: (pid) => this.#noteProgram(pid),
      });
      this.#requireSuccess(made);
    } finally {
      this.#finish();
    }
  }

  async #clone(request: Extract<SupervisorRequest, { kind: "clone" }>): Promise<void> {
    refuseIf(refusePledged(this.#promises.current, request.epoch));
    this.#requireStopped();
    this.#requireCertificates();
    const contents = inspectDataDirectory(this.#paths.dataDirectory, this.#installation.major);
    if (contents.kind !== "absent" && request.replace === null) {
      throw this.#notEmpty(contents.kind === "foreign" ? contents.detail : null);
    }
    if (contents.kind === "foreign" && this.#needsClone === null) {
      throw new RequestRefused("foreign", `not replaced: ${contents.detail}`);
    }
    this.#promises.keep(withNewest(this.#promises.current, request.epoch));
    this.#options.log.info("supervisor.clone.started", { epoch: request.epoch, replace: request.replace });
    this.#begin("clone", "waiting for a checkpoint");
    const controller = this.#beginCancellable(request.epoch);
    try {
      const copied = await runBaseBackup({
        binDirectory: this.#installation.binDirectory,
        workDirectory: this.#paths.cloneWorkDirectory,
        clusterId: request.clusterId,
        source: this.#connection(request.source, "guacamole_clone", null),
        signal: controller.signal,
        onStarted: (pid) => this.#noteProgram(pid),
        onProgress: (progress) => this.#progressed("clone", "copying", progress),
      });
      this.#requireSuccess(copied);
      await rm(this.#paths.asideDirectory, { recursive: true, force: true });
      // A pledge or a stop may have come while the old copy was removed.
      if (controller.signal.aborted) throw new RequestRefused("unavailable", "the clone was cancelled");
      writeDurably(
        this.#paths.cloneMarkFile,
        `${JSON.stringify({ epoch: request.epoch, timelines: request.timelines })}\n`,
        0o600,
      );
      this.#finishClone();
    } finally {
      this.#finish();
    }
  }

  /** Puts a complete clone in its place. Done again after a crash, from wherever it stopped. */
  #finishClone(): void {
    const reign = readCloneMark(this.#paths.cloneMarkFile);
    if (reign === null) return;
    const { dataDirectory, asideDirectory, cloneWorkDirectory } = this.#paths;
    if (existsSync(cloneWorkDirectory)) {
      const hasOld = existsSync(dataDirectory) && readdirSync(dataDirectory).length > 0;
      if (hasOld) {
        rmSync(asideDirectory, { recursive: true, force: true });
        renameDurably(dataDirectory, asideDirectory);
      }
      renameDurably(cloneWorkDirectory, dataDirectory);
    }
    this.#promises.keep(withWal(this.#promises.current, reign));
    this.#needsClone = null;
    this.#control = null;
    removeDurably(this.#paths.rewindMarkFile);
    removeDurably(this.#paths.cloneMarkFile);
  }

  async #rewind(request: Extract<SupervisorRequest, { kind: "rewind" }>): Promise<void> {
    refuseIf(refusePledged(this.#promises.current, request.epoch));
    this.#requireStopped();
    this.#requireCertificates();
    const clusterId = this.#requireOurs("rewind");
    if (this.#needsClone !== null)
      throw new RequestRefused("unavailable", `not rewound: ${this.#needsClone}`);
    this.#promises.keep(withNewest(this.#promises.current, request.epoch));
    this.#applySettings();
    this.#begin("rewind", "keeping the WAL after the fork");
    try {
      const control = await this.#readControl();
      if (control === null)
        throw new RequestRefused("unavailable", "pg_controldata cannot read the data directory");
      const kept = await archiveFork({
        dataDirectory: this.#paths.dataDirectory,
        forkedDirectory: this.#paths.forkedDirectory,
        timeline: request.forkTimeline,
        forkLsn: request.forkLsn,
        segmentBytes: control.data.walSegmentBytes,
        keep: FORKS_KEPT,
      });
      this.#requireStopped();
      this.#options.log.info("supervisor.rewind.started", { epoch: request.epoch, kept });
      const mark = { directory: await this.#inspect() };
      this.#markRewind({
        ...mark,
        reason: "a rewind was interrupted, so the data directory is half one and half the other",
      });
      this.#progressed("rewind", "comparing", null);
      const rewound = await runRewind({
        binDirectory: this.#installation.binDirectory,
        dataDirectory: this.#paths.dataDirectory,
        configFile: this.#paths.configFile,
        source: this.#connection(request.source, "guacamole_rewind", "postgres"),
        onStarted: (pid) => this.#noteProgram(pid),
        onProgress: (progress) => this.#progressed("rewind", "copying", progress),
      });
      this.#control = null;
      if (!rewound.ok && !failedBeforeTouching(rewound.error.stderr)) {
        this.#markRewind({ ...mark, reason: `a rewind failed: ${rewound.error.message}` });
        this.#needsClone = `a rewind failed: ${rewound.error.message}`;
        this.#requireSuccess(rewound);
      }
      ensureStandbySignal(this.#paths.dataDirectory);
      markDataDirectory(this.#paths.dataDirectory, clusterId);
      if (rewound.ok) this.#promises.keep(withWal(this.#promises.current, request));
      removeDurably(this.#paths.rewindMarkFile);
      this.#requireSuccess(rewound);
    } finally {
      this.#finish();
    }
  }

  #markRewind(mark: RewindMark): void {
    writeDurably(this.#paths.rewindMarkFile, `${JSON.stringify(mark)}\n`, 0o600);
  }

  #connection(source: Upstream, applicationName: string, database: string | null): ReplicationConnection {
    return {
      host: source.host,
      port: source.port,
      applicationName,
      caFile: this.#paths.caFile,
      certificateFile: this.#paths.certificateFile,
      keyFile: this.#paths.keyFile,
      database,
    };
  }

  // ---- what stands in the way ---------------------------------------------------------------------------------------

  #requireOurs(what: string): ClusterId {
    const contents = inspectDataDirectory(this.#paths.dataDirectory, this.#installation.major);
    if (contents.kind === "ours") return contents.clusterId;
    if (contents.kind === "foreign") throw new RequestRefused("foreign", contents.detail);
    throw new RequestRefused("unavailable", `there is no data in ${this.#paths.dataDirectory} to ${what}`);
  }

  #requireStopped(): void {
    this.#postmaster.adopt();
    if (this.#postmaster.running === null) return;
    throw new RequestRefused(
      "running",
      `PostgreSQL runs (process ${this.#postmaster.running.pid}): stop it first`,
    );
  }

  #requireCertificates(): void {
    const missing = [this.#paths.caFile, this.#paths.certificateFile, this.#paths.keyFile].filter(
      (file) => !existsSync(file),
    );
    if (missing.length === 0) return;
    throw new RequestRefused(
      "unavailable",
      `certificates are not installed yet: ${missing.join(", ")} missing`,
    );
  }

  #requireSuccess(result: Result<unknown, ProgramFailure>): void {
    if (result.ok) return;
    throw new RequestRefused(
      result.error.wasCancelled ? "unavailable" : "program-failed",
      result.error.message,
    );
  }

  #notEmpty(detail: string | null): RequestRefused {
    const what = detail ?? `${this.#paths.dataDirectory} holds data of this cluster`;
    return new RequestRefused(
      "not-empty",
      `${what}; nothing was touched. Empty the directory, or name another one`,
    );
  }

  // ---- work and its progress ----------------------------------------------------------------------------------------

  #begin(kind: WorkProgress["kind"], phase: string): void {
    this.#progressSentAtMs = Number.NEGATIVE_INFINITY;
    this.#progressed(kind, phase, null);
  }

  #beginCancellable(epoch: Epoch | null): AbortController {
    const controller = new AbortController();
    this.#cancellable = { controller, epoch };
    return controller;
  }

  #finish(): void {
    this.#work = null;
    this.#cancellable = null;
    this.#control = null;
    rmSync(this.#paths.programFile, { force: true });
  }

  #progressed(kind: WorkProgress["kind"], phase: string, progress: CopyProgress | null): void {
    const isNewPhase = this.#work?.phase !== phase;
    const work: WorkProgress = {
      kind,
      phase,
      doneBytes: progress?.doneBytes ?? null,
      totalBytes: progress?.totalBytes ?? null,
    };
    this.#work = work;
    const nowMs = this.#options.clock.nowMs();
    if (!isNewPhase && nowMs - this.#progressSentAtMs < PROGRESS_INTERVAL_MS) return;
    this.#progressSentAtMs = nowMs;
    this.#options.onEvent({ kind: "progress", work });
  }

  /** Programs outlive a supervisor that is killed: the next one must find and end them before it does anything. */
  #noteProgram(pid: number): void {
    const note = { pid, startTicks: processStartTicks(pid) };
    writeFileSync(this.#paths.programFile, JSON.stringify(note), { mode: 0o600 });
  }

  #endLeftOverProgram(): void {
    const note = readJson(this.#paths.programFile);
    if (typeof note === "object" && note !== null && "pid" in note && "startTicks" in note) {
      const { pid, startTicks } = note;
      if (typeof pid === "number" && startTicks !== null && processStartTicks(pid) === startTicks)
        killGroup(pid);
    }
    rmSync(this.#paths.programFile, { force: true });
  }

  // ---- look ---------------------------------------------------------------------------------------------------------

  async #look(): Promise<SupervisorLook> {
    const dataDirectory = await this.#inspect();
    const settings = this.#effectiveSettings();
    return {
      postgresVersion: this.#installation.version,
      dataDirectory,
      postmaster: this.#lookAtPostmaster(),
      hasStandbySignal: isStandby(this.#paths.dataDirectory),
      stampMs: hostUptimeMs(),
      lease: null,
      disks: [],
      promises: this.#promises.current,
      work: this.#work,
      settingsHash: settings === null ? null : hashSettings(settings),
      needsClone: this.#needsClone,
      ...(dataDirectory.kind === "present"
        ? this.#history(dataDirectory.timeline)
        : { ancestors: [], ancestorsOf: null }),
      lastExit: this.#lastExit,
      hasAside: existsSync(this.#paths.asideDirectory),
    };
  }

  #lookAtPostmaster(): SupervisorLook["postmaster"] {
    const { running } = this.#postmaster;
    // Where it has just ended, its end is told in a moment.
    return running === null ? null : { ...running, state: processState(running.pid) ?? "running" };
  }

  async #inspect(): Promise<DataDirectory> {
    const mark = this.#needsClone === null ? null : readRewindMark(this.#paths.rewindMarkFile);
    const contents = inspectDataDirectory(this.#paths.dataDirectory, this.#installation.major);
    if (contents.kind === "absent") return contents;
    const control = contents.kind === "ours" ? await this.#readControl() : null;
    // A half-rewound directory may look like anything: what it was before is told, beside `needsClone`.
    if (control === null && mark !== null) return mark.directory;
    if (contents.kind === "foreign") return contents;
    if (control === null) {
      return {
        kind: "foreign",
        detail: `pg_controldata cannot read ${this.#paths.dataDirectory}: is it damaged?`,
      };
    }
    const { systemIdentifier, timeline, checkpointLsn, state } = control.data;
    return {
      kind: "present",
      clusterId: contents.clusterId,
      systemIdentifier,
      timeline,
      checkpointLsn,
      state,
    };
  }

  /** While PostgreSQL runs, the control file lags behind a promotion: then the newest history file is the present one. */
  #history(timeline: TimelineId): Pick<SupervisorLook, "ancestors" | "ancestorsOf"> {
    const { dataDirectory } = this.#paths;
    const newest = this.#postmaster.running === null ? null : newestHistory(dataDirectory);
    const ancestorsOf = newest ?? timeline;
    return { ancestors: readAncestors(dataDirectory, ancestorsOf), ancestorsOf };
  }

  /**
   * The control file, read once while PostgreSQL runs (SQL knows better then), and whenever it changed otherwise.
   */
  async #readControl(): Promise<{ readonly data: ControlData } | null> {
    const { dataDirectory } = this.#paths;
    const cached = this.#control;
    const key = this.#controlKey();
    if (cached !== null && (this.#postmaster.running !== null || cached.key === key)) return cached;
    const read = await readControlData(this.#installation.binDirectory, dataDirectory);
    if (!read.ok) {
      this.#options.log.warn("supervisor.control-data.unreadable", { message: read.error });
      return null;
    }
    const fresh = { key, data: read.value };
    // Something may have changed the file meanwhile: then it is read again next time.
    if (this.#controlKey() === key) this.#control = fresh;
    return fresh;
  }

  #controlKey(): string {
    const file = join(this.#paths.dataDirectory, "global", "pg_control");
    if (!existsSync(file)) return "absent";
    const { ino, mtimeMs } = statSync(file);
    return `${ino}:${mtimeMs}`;
  }
}

function refuseIf(refusal: { readonly code: SupervisorErrorCode; readonly message: string } | null): void {
  if (refusal !== null) throw new RequestRefused(refusal.code, refusal.message);
}

function notRunning(): RequestRefused {
  return new RequestRefused("not-running", "PostgreSQL does not run");
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function writeIfChanged(file: string, contents: string): void {
  if (existsSync(file) && readFileSync(file, "utf8") === contents) return;
  writeWhole(file, contents, 0o600);
}

function readJson(file: string): unknown {
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : null;
}

function readKeptSettings(file: string): KeptSettings | null {
  // Written by us, whole or not at all; a settings file of another version is replaced by the next `configure`.
  return readJson(file) as KeptSettings | null;
}

function readRewindMark(file: string): RewindMark | null {
  return readJson(file) as RewindMark | null;
}

function readCloneMark(
  file: string,
): { readonly epoch: Epoch; readonly timelines: readonly TimelineEpoch[] } | null {
  return readJson(file) as { readonly epoch: Epoch; readonly timelines: readonly TimelineEpoch[] } | null;
}
