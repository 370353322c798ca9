import type { Log } from "../base/log.ts";
import { ensureStandbySignal, markDataDirectory } from "../postgres/data-directory.ts";
import { archiveFork, failedBeforeTouching, runRewind } from "../postgres/rewind.ts";
import type { Configuration } from "./configuration.ts";
import type { LocalData } from "./local-data.ts";
import { type PromiseBook, refusePledged, withNewest, withWal } from "./promises.ts";
import type { SupervisorRequest } from "./protocol.ts";
import { RequestRefused, refuseIf } from "./refused.ts";
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

  async rewind(request: Extract<SupervisorRequest, { kind: "rewind" }>): Promise<void> {
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
      ensureStandbySignal(this.#paths.dataDirectory);
      markDataDirectory(this.#paths.dataDirectory, clusterId);
      if (rewound.ok) promises.keep(withWal(promises.current, request));
      data.trust();
      requireSuccess(rewound);
    } finally {
      bench.finish();
    }
  }
}
