import { existsSync, readdirSync, rmSync } from "node:fs";
import type { Epoch } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { TimelineEpoch } from "../cluster/observation.ts";
import { runBaseBackup } from "../postgres/clone.ts";
import { removeDurably, renameDurably, writeDurably } from "../postgres/durable-file.ts";
import { initdbWorkDirectory, runInitdb } from "../postgres/initdb.ts";
import type { Configuration } from "./configuration.ts";
import { readJson } from "./json-file.ts";
import type { LocalData } from "./local-data.ts";
import { type PromiseBook, refusePledged, withNewest, withWal } from "./promises.ts";
import type { SupervisorRequest } from "./protocol.ts";
import { RequestRefused, refuseIf } from "./refused.ts";
import {
  putWalInPlace,
  removeAside,
  removeWalWork,
  separateWalOf,
  walWorkDirectory,
} from "./separate-wal.ts";
import type { StatePaths } from "./state-directory.ts";
import { requireSuccess, type Workbench } from "./workbench.ts";

export interface CloningOptions {
  readonly paths: StatePaths;
  readonly binDirectory: string;
  readonly promises: PromiseBook;
  readonly configuration: Configuration;
  readonly data: LocalData;
  readonly bench: Workbench;
  readonly log: Log;
}

/** Brings data where none stands: a new PostgreSQL, or a copy of a running one. */
export class Cloning {
  readonly #options: CloningOptions;
  readonly #paths: StatePaths;

  constructor(options: CloningOptions) {
    this.#options = options;
    this.#paths = options.paths;
  }

  /** Finishes or undoes what an earlier life left half done. */
  recover(): void {
    this.#putInPlace();
    rmSync(initdbWorkDirectory(this.#paths.dataDirectory), { recursive: true, force: true });
    rmSync(this.#paths.cloneWorkDirectory, { recursive: true, force: true });
    removeWalWork(this.#paths.dataDirectory);
  }

  /** The present data is whole: what it replaced is not needed any more. */
  discardAside(): Promise<void> {
    return removeAside(this.#paths.asideDirectory);
  }

  async initdb(request: Extract<SupervisorRequest, { kind: "initdb" }>): Promise<void> {
    const { bench, data, binDirectory } = this.#options;
    const contents = data.contents();
    if (contents.kind !== "absent")
      throw data.refuseNotEmpty(contents.kind === "foreign" ? contents.detail : null);
    bench.begin("initdb", "making a new PostgreSQL");
    const controller = bench.beginCancellable(null);
    try {
      const made = await runInitdb({
        binDirectory,
        dataDirectory: this.#paths.dataDirectory,
        clusterId: request.clusterId,
        options: request.options,
        signal: controller.signal,
        onStarted: (pid) => bench.noteProgram(pid),
      });
      requireSuccess(made);
    } finally {
      bench.finish();
    }
  }

  async clone(request: Extract<SupervisorRequest, { kind: "clone" }>): Promise<void> {
    const { promises, configuration, data, bench, binDirectory, log } = this.#options;
    refuseIf(refusePledged(promises.current, request.epoch));
    data.requireStopped();
    configuration.requireCertificates();
    const contents = data.contents();
    if (contents.kind !== "absent" && request.replace === null) {
      throw data.refuseNotEmpty(contents.kind === "foreign" ? contents.detail : null);
    }
    if (contents.kind === "foreign" && data.needsClone === null) {
      throw new RequestRefused("foreign", `not replaced: ${contents.detail}`);
    }
    promises.keep(withNewest(promises.current, request.epoch));
    log.info("supervisor.clone.started", { epoch: request.epoch, replace: request.replace });
    const walDirectory = this.#keptWalDirectory();
    bench.begin("clone", "waiting for a checkpoint");
    const controller = bench.beginCancellable(request.epoch);
    try {
      const copied = await runBaseBackup({
        binDirectory,
        workDirectory: this.#paths.cloneWorkDirectory,
        walDirectory: walDirectory === null ? null : walWorkDirectory(walDirectory),
        clusterId: request.clusterId,
        source: configuration.connection(request.source, "guacamole_clone", null),
        signal: controller.signal,
        onStarted: (pid) => bench.noteProgram(pid),
        onProgress: (progress) => bench.progressed("clone", "copying", progress),
      });
      requireSuccess(copied);
      await this.discardAside();
      // A pledge or a stop may have come while the old copy was removed.
      if (controller.signal.aborted) throw new RequestRefused("unavailable", "the clone was cancelled");
      const { epoch, timelines } = request;
      const mark: CloneMark = { epoch, timelines, ...(walDirectory === null ? {} : { walDirectory }) };
      writeDurably(this.#paths.cloneMarkFile, `${JSON.stringify(mark)}\n`, 0o600);
      this.#putInPlace();
    } finally {
      bench.finish();
    }
  }

  /** The WAL directory that the clone shall have, too; null: none of its own, or one that cannot be kept. */
  #keptWalDirectory(): string | null {
    const { log } = this.#options;
    const wal = separateWalOf(this.#paths.dataDirectory);
    if (wal.ok) return wal.value;
    log.warn("supervisor.clone.wal-directory-not-kept", { message: wal.error });
    return null;
  }

  /** Puts a complete clone in its place. Done again after a crash, from wherever it stopped. */
  #putInPlace(): void {
    const { promises, data } = this.#options;
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
    if (reign.walDirectory !== undefined) putWalInPlace(reign.walDirectory, dataDirectory, asideDirectory);
    promises.keep(withWal(promises.current, reign));
    data.forgetControl();
    data.trust();
    removeDurably(this.#paths.cloneMarkFile);
  }
}

interface CloneMark {
  readonly epoch: Epoch;
  readonly timelines: readonly TimelineEpoch[];
  /** Absent: the WAL lies in the data directory. */
  readonly walDirectory?: string;
}

function readCloneMark(file: string): CloneMark | null {
  return readJson(file) as CloneMark | null;
}
