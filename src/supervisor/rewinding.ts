import type { Log } from "../base/log.ts";
import { forgetCommonWal, keepCommonWal, putCommonWalBack } from "../postgres/common-wal.ts";
import { ensureStandbySignal, markDataDirectory } from "../postgres/data-directory.ts";
import { archiveFork, failedBeforeTouching, runRewind } from "../postgres/rewind.ts";
import type { Configuration } from "./configuration.ts";
import type { LocalData } from "./local-data.ts";
import { type PromiseBook, refusePledged, withNewest, withWal } from "./promises.ts";
import type { SupervisorRequest } from "./protocol.ts";
import { RequestRefused, refuseIf } from "./refused.ts";
import { separateWalOf } from "./separate-wal.ts";
import type { StatePaths } from "./state-directory.ts";
import { requireSuccess, type Workbench } from "./workbench.ts";

export interface RewindingOptions {
  readonly paths: StatePaths;
  readonly binDirectory: string;
  readonly promises: PromiseBook;
  readonly configuration: Configuration;
  readonly data: LocalData;
  readonly bench: Workbench;
  readonly log: Log;
}

const FORKS_KEPT = 3;

/** Makes a data directory that forked off a copy of another again, and keeps what it forked. */
export class Rewinding {
  readonly #options: RewindingOptions;
  readonly #paths: StatePaths;

  constructor(options: RewindingOptions) {
    this.#options = options;
    this.#paths = options.paths;
  }

  /** What a rewind that was cut short left behind. */
  recover(): void {
    for (const directory of this.#keptPlaces()) forgetCommonWal(directory);
  }

  async rewind(request: RewindRequest): Promise<void> {
    const { promises, configuration, data, bench, binDirectory, log } = this.#options;
    refuseIf(refusePledged(promises.current, request.epoch));
    data.requireStopped();
    configuration.requireCertificates();
    const clusterId = data.requireOurs("rewind");
    data.requireTrusted("not rewound");
    promises.keep(withNewest(promises.current, request.epoch));
    configuration.apply();
    bench.begin("rewind", "keeping the WAL after the fork");
    try {
      const control = await data.readControl();
      if (control === null)
        throw new RequestRefused("unavailable", "pg_controldata cannot read the data directory");
      const kept = await archiveFork({
        dataDirectory: this.#paths.dataDirectory,
        forkedDirectory: this.#paths.forkedDirectory,
        timeline: request.forkTimeline,
        forkLsn: request.forkLsn,
        segmentBytes: control.walSegmentBytes,
        keep: FORKS_KEPT,
      });
      data.requireStopped();
      const keptDirectory = this.#keepCommon(request, control.walSegmentBytes);
      log.info("supervisor.rewind.started", { epoch: request.epoch, kept });
      const directory = await data.inspect();
      data.distrust(
        "a rewind was interrupted, so the data directory is half one and half the other",
        directory,
      );
      bench.progressed("rewind", "comparing", null);
      const rewound = await runRewind({
        binDirectory,
        dataDirectory: this.#paths.dataDirectory,
        configFile: this.#paths.configFile,
        source: configuration.connection(request.source, "guacamole_rewind", "postgres"),
        onStarted: (pid) => bench.noteProgram(pid),
        onProgress: (progress) => bench.progressed("rewind", "copying", progress),
      });
      data.forgetControl();
      if (!rewound.ok && !failedBeforeTouching(rewound.error.stderr)) {
        data.giveUpOn(`a rewind failed: ${rewound.error.message}`, directory);
        requireSuccess(rewound);
      }
      if (rewound.ok && keptDirectory !== null) this.#putCommonBack(keptDirectory);
      ensureStandbySignal(this.#paths.dataDirectory);
      markDataDirectory(this.#paths.dataDirectory, clusterId);
      if (rewound.ok) promises.keep(withWal(promises.current, request));
      data.trust();
      requireSuccess(rewound);
    } finally {
      this.recover();
      bench.finish();
    }
  }

  /** Null: it cannot be kept. Whoever lacks it after the rewind is built anew. */
  #keepCommon({ forkTimeline, forkLsn }: RewindRequest, segmentBytes: number): string | null {
    const { dataDirectory } = this.#paths;
    const [keptDirectory] = this.#keptPlaces();
    try {
      if (keptDirectory === undefined) throw new Error("its directory is a mount point of its own");
      keepCommonWal({ dataDirectory, keptDirectory, segmentBytes, forkTimeline, forkLsn });
      return keptDirectory;
    } catch (error) {
      this.#options.log.warn("supervisor.rewind.wal-not-kept", {
        why: error instanceof Error ? error.message : String(error),
      });
      return null;
    }
  }

  /** What could not be put back is missed by whoever looks how far the WAL goes: then the member is built anew. */
  #putCommonBack(keptDirectory: string): void {
    const { log } = this.#options;
    try {
      const segments = putCommonWalBack({ dataDirectory: this.#paths.dataDirectory, keptDirectory });
      if (segments > 0) log.info("supervisor.rewind.wal-put-back", { segments });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      log.warn("supervisor.rewind.wal-not-put-back", { why });
    }
  }

  /** Where WAL is kept during a rewind: beside the WAL itself. Empty: nowhere on its file system. */
  #keptPlaces(): readonly string[] {
    const wal = separateWalOf(this.#paths.dataDirectory);
    if (!wal.ok) return [];
    return [wal.value === null ? this.#paths.commonWalDirectory : `${wal.value}.guacamole-common`];
  }
}

type RewindRequest = Extract<SupervisorRequest, { kind: "rewind" }>;
