import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import type { ClusterId, TimelineId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import { type ControlData, readControlData } from "../postgres/control-data.ts";
import { type DirectoryContents, inspectDataDirectory } from "../postgres/data-directory.ts";
import { removeDurably, writeDurably } from "../postgres/durable-file.ts";
import { newestHistory, readAncestors } from "../postgres/timeline-history.ts";
import type { Installation } from "../postgres/versions.ts";
import { readJson } from "./json-file.ts";
import type { Postmaster } from "./postmaster.ts";
import type { DataDirectory, SupervisorLook } from "./protocol.ts";
import { RequestRefused } from "./refused.ts";
import type { StatePaths } from "./state-directory.ts";

/** What stands on disk while the directory is not to be trusted. */
interface DistrustMark {
  readonly reason: string;
  readonly directory: DataDirectory;
}

export interface LocalDataOptions {
  readonly paths: StatePaths;
  readonly installation: Installation;
  readonly postmaster: Postmaster;
  readonly log: Log;
}

/** What the data directory is and holds, and whether it may be trusted. */
export class LocalData {
  readonly #options: LocalDataOptions;
  readonly #paths: StatePaths;
  #needsClone: string | null;
  #control: { readonly key: string; readonly data: ControlData } | null = null;

  constructor(options: LocalDataOptions) {
    this.#options = options;
    this.#paths = options.paths;
    this.#needsClone = this.#readMark()?.reason ?? null;
  }

  /** Why only a clone mends this directory, or null. */
  get needsClone(): string | null {
    return this.#needsClone;
  }

  /** Durably: from here on the directory is not to be trusted, whatever becomes of this process. */
  distrust(reason: string, directory: DataDirectory): void {
    const mark: DistrustMark = { reason, directory };
    writeDurably(this.#paths.rewindMarkFile, `${JSON.stringify(mark)}\n`, 0o600);
  }

  /** As `distrust`, and said at once, not only by the next supervisor. */
  giveUpOn(reason: string, directory: DataDirectory): void {
    this.distrust(reason, directory);
    this.#needsClone = reason;
  }

  /** What stands there is whole again. */
  trust(): void {
    this.#needsClone = null;
    removeDurably(this.#paths.rewindMarkFile);
  }

  /** Something may have changed what the control file says. */
  forgetControl(): void {
    this.#control = null;
  }

  contents(): DirectoryContents {
    return inspectDataDirectory(this.#paths.dataDirectory, this.#options.installation.major);
  }

  requireOurs(what: string): ClusterId {
    const contents = this.contents();
    if (contents.kind === "ours") return contents.clusterId;
    if (contents.kind === "foreign") throw new RequestRefused("foreign", contents.detail);
    throw new RequestRefused("unavailable", `there is no data in ${this.#paths.dataDirectory} to ${what}`);
  }

  requireTrusted(what: string): void {
    if (this.#needsClone !== null) throw new RequestRefused("unavailable", `${what}: ${this.#needsClone}`);
  }

  requireStopped(): void {
    const { postmaster } = this.#options;
    postmaster.adopt();
    if (postmaster.running === null) return;
    throw new RequestRefused("running", `PostgreSQL runs (process ${postmaster.running.pid}): stop it first`);
  }

  refuseNotEmpty(detail: string | null): RequestRefused {
    const what = detail ?? `${this.#paths.dataDirectory} holds data of this cluster`;
    return new RequestRefused(
      "not-empty",
      `${what}; nothing was touched. Empty the directory, or name another one`,
    );
  }

  async inspect(): Promise<DataDirectory> {
    const mark = this.#needsClone === null ? null : this.#readMark();
    const contents = this.contents();
    if (contents.kind === "absent") return contents;
    const control = contents.kind === "ours" ? await this.readControl() : null;
    // A half-rewound directory may look like anything: what it was before is told, beside `needsClone`.
    if (control === null && mark !== null) return mark.directory;
    if (contents.kind === "foreign") return contents;
    if (control === null) {
      return {
        kind: "foreign",
        detail: `pg_controldata cannot read ${this.#paths.dataDirectory}: is it damaged?`,
      };
    }
    const { systemIdentifier, timeline, checkpointLsn, state, consistentAt } = control;
    return {
      kind: "present",
      clusterId: contents.clusterId,
      systemIdentifier,
      timeline,
      checkpointLsn,
      state,
      consistentAt,
    };
  }

  /** While PostgreSQL runs, the control file lags behind a promotion: then the newest history file is the present one. */
  history(timeline: TimelineId): Pick<SupervisorLook, "ancestors" | "ancestorsOf"> {
    const { dataDirectory } = this.#paths;
    const newest = this.#options.postmaster.running === null ? null : newestHistory(dataDirectory);
    const ancestorsOf = newest ?? timeline;
    return { ancestors: readAncestors(dataDirectory, ancestorsOf), ancestorsOf };
  }

  /**
   * The control file, read once while PostgreSQL runs (SQL knows better then), and whenever it changed otherwise. Null:
   * it cannot be read.
   */
  async readControl(): Promise<ControlData | null> {
    const { dataDirectory } = this.#paths;
    const { postmaster, installation, log } = this.#options;
    const cached = this.#control;
    const key = this.#controlKey();
    if (cached !== null && (postmaster.running !== null || cached.key === key)) return cached.data;
    const read = await readControlData(installation.binDirectory, dataDirectory);
    if (!read.ok) {
      log.warn("supervisor.control-data.unreadable", { message: read.error });
      return null;
    }
    // Something may have changed the file meanwhile: then it is read again next time.
    if (this.#controlKey() === key) this.#control = { key, data: read.value };
    return read.value;
  }

  #controlKey(): string {
    const file = join(this.#paths.dataDirectory, "global", "pg_control");
    if (!existsSync(file)) return "absent";
    const { ino, mtimeMs } = statSync(file);
    return `${ino}:${mtimeMs}`;
  }

  #readMark(): DistrustMark | null {
    return readJson(this.#paths.rewindMarkFile) as DistrustMark | null;
  }
}
