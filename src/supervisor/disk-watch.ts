import { access, lstat, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock } from "../base/clock.ts";
import type { DiskStatus } from "../cluster/observation.ts";
import { MARKER } from "../postgres/data-directory.ts";
import { DiskProbe, PROBE_FILE, type ProbedPlace } from "./disk-probe.ts";
import type { StatePaths } from "./state-directory.ts";

const INTERVAL_MS = 1_000;

/** Watches the disks that PostgreSQL and its supervisor depend on, each by a probe of its own. */
export class DiskWatch {
  readonly #places: readonly ProbedPlace[];
  readonly #probes: readonly DiskProbe[];
  readonly #clock: Clock;
  #timer: Timer | null = null;

  constructor(paths: StatePaths, clock: Clock) {
    this.#clock = clock;
    this.#places = placesOf(paths);
    this.#probes = this.#places.map((place) => new DiskProbe(place, clock));
  }

  get status(): readonly DiskStatus[] {
    return this.#probes.map(({ status }) => status).filter((status) => status !== null);
  }

  start(): void {
    this.#begin();
    this.#timer ??= setInterval(() => this.#begin(), INTERVAL_MS);
  }

  /** Ends the watching and removes the files. Waits for nothing that hangs longer than `deadlineMs`. */
  async stop(deadlineMs: number): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    const idle = Promise.all(this.#probes.map((probe) => probe.idle()));
    const removed = idle.then(() =>
      Promise.all(this.#places.map(({ directory }) => rm(join(directory, PROBE_FILE), { force: true }))),
    );
    await Promise.race([removed, this.#clock.sleep(deadlineMs)]);
  }

  #begin(): void {
    for (const probe of this.#probes) probe.begin();
  }
}

/** `pg_wal` is one of its own only where it lies on another disk, or might. */
function placesOf({ dataDirectory, stateDirectory }: StatePaths): readonly ProbedPlace[] {
  const walDirectory = join(dataDirectory, "pg_wal");
  const isOurs = (): Promise<boolean> => exists(join(dataDirectory, MARKER));
  const isElsewhere = async (): Promise<boolean> =>
    (await isOurs()) && ((await lstat(walDirectory)).isSymbolicLink() || (await isOtherDisk(walDirectory)));
  return [
    { place: "data", directory: dataDirectory, isWanted: isOurs },
    { place: "wal", directory: walDirectory, isWanted: isElsewhere },
    { place: "state", directory: stateDirectory, isWanted: () => exists(stateDirectory) },
  ];
}

async function isOtherDisk(directory: string): Promise<boolean> {
  const [inner, outer] = await Promise.all([stat(directory), stat(dirname(directory))]);
  return inner.dev !== outer.dev;
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    // Absent, or not to be reached: there is nothing to probe.
    return false;
  }
}
