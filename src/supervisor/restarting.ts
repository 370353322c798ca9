import type { Epoch } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { MachineRequest } from "../cluster/machine-request.ts";
import { isStandby } from "../postgres/data-directory.ts";
import { waitsFromItsStart } from "../postgres/synchronous-from-start.ts";
import type { Installation } from "../postgres/versions.ts";
import type { Configuration } from "./configuration.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { LocalData } from "./local-data.ts";
import type { Postmaster } from "./postmaster.ts";
import { type PromiseBook, refusePledged, refuseStale } from "./promises.ts";
import { notRunning, RequestRefused, refuseIf } from "./refused.ts";
import type { StatePaths } from "./state-directory.ts";
import type { Workbench } from "./workbench.ts";

export interface RestartingParts {
  readonly paths: StatePaths;
  readonly installation: Installation;
  readonly promises: PromiseBook;
  readonly configuration: Configuration;
  readonly postmaster: Postmaster;
  readonly data: LocalData;
  readonly bench: Workbench;
  readonly leases: LeaseKeeper;
  readonly log: Log;
}

/**
 * Ends a primary cleanly and starts it again as the primary of the same reign: the only start that is none of a standby.
 *
 * It is as safe as a primary that was frozen for as long and goes on: what could have ended the reign meanwhile is a pledge
 * here, which forbids the start, or pledges elsewhere, which keep its commits from being acknowledged. What it must never
 * do is acknowledge with less than the rule: so it is the very same configuration that it is started with.
 */
export class Restarting {
  readonly #parts: RestartingParts;
  #isUnderWay = false;

  constructor(parts: RestartingParts) {
    this.#parts = parts;
  }

  /** Between the end and the start nothing may change what it is started with. */
  get isUnderWay(): boolean {
    return this.#isUnderWay;
  }

  async restartInPlace(
    request: Extract<MachineRequest, { kind: "restart-in-place" }>,
    recheckAccess: () => Promise<void>,
  ): Promise<void> {
    const { bench, configuration } = this.#parts;
    this.#requireReigning(request.epoch);
    const settings = this.#requireSettings();
    const { stopCount } = bench;
    await recheckAccess();
    bench.begin("start", "restarting in place");
    this.#isUnderWay = true;
    try {
      const isSame = () =>
        JSON.stringify(configuration.effective) === settings && bench.stopCount === stopCount;
      if (!isSame()) throw new RequestRefused("unavailable", "its configuration is just being changed");
      configuration.apply();
      await this.#end(request);
      await this.#begin(request, isSame);
    } finally {
      this.#isUnderWay = false;
      bench.finish();
    }
  }

  #requireReigning(epoch: Epoch): void {
    const { promises, postmaster, paths } = this.#parts;
    const { current } = promises;
    refuseIf(refusePledged(current, epoch));
    if (current.walEpoch !== epoch) throw new RequestRefused("stale-epoch", "it is not of this reign");
    postmaster.adopt();
    if (postmaster.running === null) throw notRunning();
    if (isStandby(paths.dataDirectory)) throw new RequestRefused("unavailable", "it is no primary");
  }

  #requireSettings(): string {
    const { configuration, installation } = this.#parts;
    const settings = configuration.effective;
    if (settings === null || settings.upstream !== null)
      throw new RequestRefused("unavailable", "it is not configured as a primary");
    if (settings.synchronousStandbyNames !== null && !waitsFromItsStart(installation.version)) {
      throw new RequestRefused(
        "unavailable",
        `PostgreSQL ${installation.version} may acknowledge commits alone for a moment after its start: upgrade it, or switch over`,
      );
    }
    return JSON.stringify(settings);
  }

  async #end({ withinMs }: Extract<MachineRequest, { kind: "restart-in-place" }>): Promise<void> {
    const { postmaster, data } = this.#parts;
    const isGone = await postmaster.stop("fast", withinMs);
    if (!isGone) throw new RequestRefused("unavailable", "processes of PostgreSQL do not end, even killed");
    data.forgetControl();
    const control = await data.readControl();
    if (control?.state === "shut down") return;
    throw new RequestRefused(
      "unavailable",
      `it did not end cleanly within ${withinMs} ms, so it is not opened again before it is appointed`,
    );
  }

  async #begin(
    { epoch, needsLease }: Extract<MachineRequest, { kind: "restart-in-place" }>,
    isSame: () => boolean,
  ): Promise<void> {
    const { postmaster, configuration, promises, leases, installation, log } = this.#parts;
    if (needsLease) await leases.beginReign(epoch);
    else leases.reignIsOver();
    const isWanted = () => {
      const { current } = promises;
      const isItsReign = refusePledged(current, epoch) === null && refuseStale(current, epoch) === null;
      const mayReign = !needsLease || leases.held?.epoch === epoch;
      return isItsReign && mayReign && isSame();
    };
    const command = [`${installation.binDirectory}/postgres`, ...configuration.commandLine()];
    const started = await postmaster.start(command, isWanted, "primary");
    if (started.ok) {
      log.info("supervisor.primary.restarted", { epoch });
      return;
    }
    if (started.error === "unwanted")
      throw new RequestRefused("unavailable", "its reign was ended meanwhile, or a stop came");
    throw new RequestRefused("program-failed", started.error.message);
  }
}
