import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unreachable } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { Epoch } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import { isStandby } from "../postgres/data-directory.ts";
import { listForks } from "../postgres/forks.ts";
import { renderRaisedLimits } from "../postgres/standby-limits.ts";
import type { Installation } from "../postgres/versions.ts";
import { AccessRules } from "./access-rules.ts";
import { Cloning } from "./cloning.ts";
import { Configuration } from "./configuration.ts";
import { DiskWatch } from "./disk-watch.ts";
import { GlassKeeper } from "./glass-keeper.ts";
import type { HostTime } from "./host-time.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import { LocalData } from "./local-data.ts";
import { moveTold, readTrace } from "./local-trace.ts";
import { machineFacts } from "./machine.ts";
import type { MemberGuard } from "./member-guard.ts";
import { Postmaster, type PostmasterExit, type RunningPostmaster } from "./postmaster.ts";
import { processState } from "./process-table.ts";
import { PromiseBook, refusePledged, refuseStale, withNewest, withPledge, withWal } from "./promises.ts";
import { PromotionMark } from "./promotion-mark.ts";
import type { SupervisorEvent, SupervisorLook, SupervisorRequest, SupervisorResponse } from "./protocol.ts";
import { notRunning, RequestRefused, refuseIf, refuseSuperseded } from "./refused.ts";
import { Restarting } from "./restarting.ts";
import { Rewinding } from "./rewinding.ts";
import type { StateLock, StatePaths } from "./state-directory.ts";
import { WalReach } from "./wal-reach.ts";
import type { Watchdog } from "./watchdog.ts";
import { Workbench } from "./workbench.ts";

export interface SupervisorOptions {
  readonly paths: StatePaths;
  readonly installation: Installation;
  readonly superuserSystemUsers: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  readonly onEvent: (event: SupervisorEvent) => void;
  readonly hostTime: HostTime;
  readonly watchdog: Watchdog;
  /** Null in a container: the member's process is not to be seen from here. */
  readonly memberGuard: MemberGuard | null;
}

/** A disk that hangs does not hold up the end of this process for longer. */
const DISKS_STOP_MS = 500;
const GUARD_TICK_MS = 20;
/** How long an immediate stop may take before it becomes a kill, where a pledge waits for it. */
const PLEDGE_STOP_MS = 2_000;

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
  readonly #configuration: Configuration;
  readonly #access: AccessRules;
  readonly #postmaster: Postmaster;
  readonly #data: LocalData;
  readonly #bench: Workbench;
  readonly #cloning: Cloning;
  readonly #rewinding: Rewinding;
  readonly #walReach: WalReach;
  readonly #disks: DiskWatch;
  readonly #leases: LeaseKeeper;
  readonly #glass: GlassKeeper;
  readonly #restarting: Restarting;
  readonly #promotion: PromotionMark;
  #lastExit: SupervisorLook["lastExit"] = null;

  /** Loads what was promised, finishes or undoes what an earlier life left half done, and finds PostgreSQL again. */
  constructor(options: SupervisorOptions) {
    const { paths, installation, superuserSystemUsers, clock, log } = options;
    this.#options = options;
    this.#paths = paths;
    this.#installation = installation;
    const promises = new PromiseBook(paths.promisesFile);
    this.#promises = promises;
    this.#access = new AccessRules({ paths, installation, superuserSystemUsers });
    this.#promotion = new PromotionMark(paths.promotionFile);
    this.#glass = new GlassKeeper({
      file: paths.breakGlassFile,
      dataDirectory: paths.dataDirectory,
      binDirectory: installation.binDirectory,
      hostTime: options.hostTime,
      wallMs: () => clock.wallMs(),
      log,
      isRunning: () => this.#postmaster.running !== null,
      primarySocket: () => this.#primarySocket(),
      applyRules: async () => {
        await this.#configuration.applyRules();
        this.#postmaster.reload();
      },
    });
    this.#configuration = new Configuration({
      paths,
      promises,
      access: this.#access,
      glassRules: () => this.#glass.rules,
      major: installation.major,
      superuserSystemUsers,
      log,
    });
    this.#postmaster = new Postmaster({
      dataDirectory: paths.dataDirectory,
      logFile: paths.postgresLogFile,
      clock,
      log,
      onStarted: ({ pid }) => options.onEvent({ kind: "postmaster-started", pid }),
      onExited: (exit) => this.#postmasterExited(exit),
    });
    this.#data = new LocalData({ paths, installation, postmaster: this.#postmaster, log });
    this.#bench = new Workbench({
      programFile: paths.programFile,
      clock,
      onProgress: (work) => options.onEvent({ kind: "progress", work }),
      onFinished: () => this.#data.forgetControl(),
    });
    const parts = {
      paths,
      binDirectory: installation.binDirectory,
      promises,
      configuration: this.#configuration,
      data: this.#data,
      bench: this.#bench,
      log,
    };
    this.#cloning = new Cloning(parts);
    this.#rewinding = new Rewinding(parts);
    this.#disks = new DiskWatch(paths, clock);
    const { dataDirectory } = paths;
    this.#walReach = new WalReach({ dataDirectory, data: this.#data, nowMs: () => clock.nowMs() });
    this.#bench.endLeftOverProgram();
    this.#cloning.recover();
    this.#rewinding.recover();
    this.#postmaster.adopt();
    if (this.#configuration.effective !== null) {
      this.#configuration.apply();
      this.#postmaster.reload();
    }
    // Last: a lease that is over ends what was found.
    this.#leases = new LeaseKeeper({
      leaseFile: paths.leaseFile,
      hostTime: options.hostTime,
      postmaster: this.#postmaster,
      watchdog: options.watchdog,
      log,
      isPrimary: () => this.#postmaster.running !== null && !isStandby(paths.dataDirectory),
      isPledged: (epoch) => epoch <= promises.current.pledgedEpoch,
      onReigning: ({ durationMs }) => options.memberGuard?.consider(durationMs),
      onEnded: (epoch) => options.onEvent({ kind: "lease-ended", epoch }),
    });
    this.#glass.start();
    this.#restarting = new Restarting({
      ...parts,
      installation,
      postmaster: this.#postmaster,
      leases: this.#leases,
    });
    this.#disks.start();
  }

  /** Ends what can be ended, waits for what cannot. PostgreSQL lives on. */
  async close(): Promise<void> {
    this.#leases.stopTicking();
    this.#glass.stopTicking();
    this.#bench.stopAll();
    await this.#bench.idle();
    await this.#disks.stop(DISKS_STOP_MS);
    this.#postmaster.release();
  }

  /**
   * PostgreSQL must not be left alone under a lease, or while somebody is let in for a while: holds it to that until the next
   * supervisor does, which has `lock` then, or until it is over.
   */
  async guardTerms(lock: StateLock): Promise<void> {
    this.#leases.stopTicking();
    this.#glass.stopTicking();
    while ((this.#leases.isHolding || this.#glass.isHolding) && lock.take()) {
      const isEnding = this.#leases.tick();
      this.#glass.tick();
      if (!isEnding) lock.release();
      await this.#options.clock.sleep(GUARD_TICK_MS);
    }
  }

  /** @param maySpeak false once whoever asked has a successor: then nothing is begun any more, and no rule is written. */
  async handle(request: SupervisorRequest, maySpeak = () => true): Promise<SupervisorResponse> {
    this.#options.memberGuard?.heard();
    try {
      if (request.kind === "list-forks") return await this.#listForks();
      if (request.kind === "try-access") {
        const trial = await this.#access.try(request.lines);
        return { ok: true, look: await this.#look(), trial };
      }
      if (request.kind === "describe-machine") {
        const machine = machineFacts(this.#paths.dataDirectory);
        return { ok: true, look: await this.#look(), machine };
      }
      if (request.kind === "list-local-access") return await this.#listLocalAccess(request.told);
      refuseSuperseded(maySpeak);
      await this.#carryOut(request, maySpeak);
      return { ok: true, look: await this.#look(request.kind === "look" && request.wantsWal === true) };
    } catch (error) {
      if (error instanceof RequestRefused) return { ok: false, code: error.code, message: error.message };
      const message = error instanceof Error ? error.message : String(error);
      this.#options.log.error("supervisor.request.failed", { kind: request.kind, message });
      return { ok: false, code: "unavailable", message };
    }
  }

  /** Beside all other work: it only reads. */
  async #listForks(): Promise<SupervisorResponse> {
    const forks = await listForks(this.#paths.forkedDirectory, this.#installation.binDirectory);
    return { ok: true, look: await this.#look(), forks };
  }

  async #listLocalAccess(told: readonly string[]): Promise<SupervisorResponse> {
    const { localAccessDirectory } = this.#paths;
    if (told.length > 0) moveTold(localAccessDirectory, new Set(told));
    return { ok: true, look: await this.#look(), localAccess: readTrace(localAccessDirectory) };
  }

  #carryOut(
    request: Exclude<
      SupervisorRequest,
      { kind: "list-forks" | "try-access" | "list-local-access" | "describe-machine" }
    >,
    maySpeak: () => boolean,
  ): Promise<void> | void {
    const { stopCount } = this.#bench;
    switch (request.kind) {
      case "look":
        if (request.isStarting === true) this.#data.forgetControl();
        return this.#postmaster.adopt();
      case "configure":
        return this.#configure(request, maySpeak);
      case "reload":
        return this.#reload();
      case "promote":
        return this.#promote(request);
      case "pledge":
        return this.#pledge(request.epoch);
      case "stop":
        return this.#stop(request.mode, request.deadlineMs);
      case "try-parameters":
        return this.#configuration.try(this.#installation.binDirectory, request.parameters);
      case "install-certificates":
        if (this.#configuration.installCertificates(request)) this.#postmaster.reload();
        return;
      case "extend-lease":
        refuseIf(refusePledged(this.#promises.current, request.epoch));
        return this.#leases.extend(request);
      case "guard-break-glass":
        return this.#glass.tell(request.grants);
      case "release-lease":
        refuseIf(refusePledged(this.#promises.current, request.epoch));
        return this.#leases.release(request.epoch);
      case "hello":
        return this.#options.memberGuard?.introduce(request);
      case "initdb":
        return this.#bench.enqueue(() => this.#cloning.initdb(request));
      case "clone":
        return this.#bench.enqueue(() => this.#cloning.clone(request));
      case "rewind":
        return this.#bench.enqueue(() => this.#rewinding.rewind(request));
      case "start":
        return this.#bench.enqueue(() => this.#start(request.epoch, stopCount));
      case "restart-in-place":
        return this.#bench.enqueue(() =>
          this.#restarting.restartInPlace(request, () => this.#access.recheck()),
        );
      case "discard-aside":
        return this.#bench.enqueue(() => this.#cloning.discardAside());
      default:
        return unreachable(request);
    }
  }

  #reload(): void {
    if (!this.#postmaster.reload()) throw notRunning();
  }

  async #pledge(epoch: Epoch): Promise<void> {
    this.#promises.keep(withPledge(this.#promises.current, epoch));
    this.#bench.endUpTo(epoch);
    this.#configuration.apply();
    this.#postmaster.adopt();
    const { running } = this.#postmaster;
    // Told to promote, it would open the reign that is pledged away whenever its recovery ends: no signal takes that back.
    if (running !== null && this.#mayReign(running)) {
      this.#options.log.warn("supervisor.pledge.ends-promotion", { epoch });
      await this.#stop("immediate", PLEDGE_STOP_MS);
      return;
    }
    const settings = this.#configuration.effective;
    if (!this.#postmaster.reload() || settings === null) return;
    if (settings.upstream === null) this.#postmaster.endWalReceiver(settings.memberName);
  }

  #mayReign(running: RunningPostmaster): boolean {
    return this.#promotion.isOn(running) || !isStandby(this.#paths.dataDirectory);
  }

  async #configure(
    request: Extract<SupervisorRequest, { kind: "configure" }>,
    maySpeak: () => boolean,
  ): Promise<void> {
    if (this.#restarting.isUnderWay)
      throw new RequestRefused("unavailable", "PostgreSQL is just being started again with what it has");
    const { running } = this.#postmaster;
    // What it writes would count as of the reign that it was asked to follow (F2).
    if (request.settings.upstream !== null && running !== null && this.#mayReign(running))
      throw new RequestRefused(
        "running",
        "PostgreSQL reigns, or was told to: it follows nobody before it was stopped",
      );
    // A reign may have ended long ago without this host knowing: only a lease that stands says that it has not (F6).
    if (request.needsLease === true) await this.#leases.beginReign(request.epoch);
    // What its PostgreSQL cannot read it does not get, and all else it does: no rule holds up a promotion.
    await this.#access.settle(request.settings.access ?? null);
    // All of the above took its time, and the member may have ended: its successor has seen the rule for commits as it is (F1).
    refuseSuperseded(maySpeak);
    this.#configuration.configure(request);
  }

  async #promote(request: Extract<SupervisorRequest, { kind: "promote" }>): Promise<void> {
    const { epoch } = request;
    refuseIf(refusePledged(this.#promises.current, epoch));
    if (request.needsLease) {
      await this.#leases.beginReign(epoch);
      // A pledge may have come while the lease was written.
      refuseIf(refusePledged(this.#promises.current, epoch));
    }
    this.#postmaster.adopt();
    const { running } = this.#postmaster;
    if (running === null) throw notRunning();
    this.#promotion.set(running);
    this.#promises.keep(withWal(this.#promises.current, request));
    this.#data.forgetControl();
    if (!isStandby(this.#paths.dataDirectory)) return;
    writeFileSync(join(this.#paths.dataDirectory, "promote"), "", { mode: 0o600 });
    this.#postmaster.tellToPromote();
    this.#options.log.info("supervisor.promote.signalled", { epoch });
  }

  async #start(epoch: Epoch, stopCountWhenAsked: number): Promise<void> {
    refuseIf(refuseStale(this.#promises.current, epoch));
    this.#data.requireOurs("start");
    this.#data.requireTrusted("PostgreSQL is not started");
    this.#configuration.requireCertificates();
    this.#promises.keep(withNewest(this.#promises.current, epoch));
    await this.#access.recheck();
    this.#configuration.apply();
    const command = [join(this.#installation.binDirectory, "postgres"), ...(await this.#commandLine())];
    this.#bench.begin("start", "starting");
    try {
      const isWanted = () => this.#bench.stopCount === stopCountWhenAsked;
      this.#postmaster.adopt();
      const wasRunning = this.#postmaster.running !== null;
      const started = await this.#postmaster.start(command, isWanted);
      if (started.ok) {
        if (!wasRunning) this.#leases.reignIsOver();
        return;
      }
      if (started.error === "unwanted")
        throw new RequestRefused("unavailable", "a stop came after this start");
      throw new RequestRefused("program-failed", started.error.message);
    } finally {
      this.#bench.finish();
    }
  }

  /** With what the data needs at least, where the files say less. */
  async #commandLine(): Promise<readonly string[]> {
    const commandLine = this.#configuration.commandLine();
    const settings = this.#configuration.effective;
    const needed = (await this.#data.readControl())?.limits;
    if (needed === undefined || settings === null) return commandLine;
    const { binDirectory } = this.#installation;
    const { dataDirectory } = this.#paths;
    const raised = await renderRaisedLimits({ binDirectory, dataDirectory, commandLine, settings, needed });
    if (raised.length > 0) this.#options.log.warn("supervisor.limits.raised", { to: raised.join(" ") });
    return [...commandLine, ...raised];
  }

  async #stop(mode: "fast" | "immediate", deadlineMs: number): Promise<void> {
    this.#bench.stopAll();
    if (!(await this.#postmaster.stop(mode, deadlineMs))) {
      throw new RequestRefused(
        "unavailable",
        "processes of PostgreSQL do not end, even killed: is its disk gone?",
      );
    }
    this.#leases.reignIsOver();
  }

  #postmasterExited(exit: PostmasterExit): void {
    this.#data.forgetControl();
    const { code, signal, logTail, wasStopped } = exit;
    if (!wasStopped) this.#lastExit = { code, signal, logTail };
    this.#options.onEvent({ kind: "postmaster-exited", code, signal });
    this.#options.log.info("supervisor.postmaster.exited", { code, signal, wasStopped });
  }

  async #look(wantsWal = false): Promise<SupervisorLook> {
    // First: what is seen after it is as true as at that moment, or truer.
    const stampMs = this.#options.hostTime.nowMs();
    const dataDirectory = await this.#data.inspect();
    const { takenOut } = this.#configuration;
    const wal = this.#postmaster.running === null ? {} : await this.#lookAtWal(wantsWal);
    return {
      ...wal,
      postgresVersion: this.#installation.version,
      dataDirectory,
      postmaster: this.#lookAtPostmaster(),
      hasStandbySignal: isStandby(this.#paths.dataDirectory),
      stampMs,
      lease: this.#leases.held,
      disks: this.#disks.status,
      promises: this.#promises.current,
      work: this.#bench.work,
      settingsHash: this.#configuration.hash,
      ...(takenOut.length === 0 ? {} : { takenOut }),
      needsClone: this.#data.needsClone,
      access: this.#access.status,
      breakGlass: this.#glass.statuses,
      ...(dataDirectory.kind === "present"
        ? this.#data.history(dataDirectory.timeline)
        : { ancestors: [], ancestorsOf: null }),
      lastExit: this.#lastExit,
      hasAside: existsSync(this.#paths.asideDirectory),
    };
  }

  async #lookAtWal(wantsWal: boolean): Promise<Pick<SupervisorLook, "walFromLsn" | "walUntilLsn">> {
    if (!isStandby(this.#paths.dataDirectory)) {
      const walFromLsn = await this.#walReach.from();
      return walFromLsn === null ? {} : { walFromLsn };
    }
    const walUntilLsn = wantsWal ? await this.#walReach.until() : null;
    return walUntilLsn === null ? {} : { walUntilLsn };
  }

  #primarySocket(): { readonly directory: string; readonly port: number } | null {
    const settings = this.#configuration.effective;
    const isPrimary = this.#postmaster.running !== null && !isStandby(this.#paths.dataDirectory);
    if (settings === null || !isPrimary) return null;
    return { directory: settings.socketDirectory, port: settings.port };
  }

  #lookAtPostmaster(): SupervisorLook["postmaster"] {
    const { running } = this.#postmaster;
    // Where it has just ended, its end is told in a moment.
    return running === null
      ? null
      : {
          ...running,
          state: processState(running.pid) ?? "running",
          isPromoted: this.#promotion.isOn(running),
        };
  }
}
