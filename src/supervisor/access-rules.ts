import { createHash } from "node:crypto";
import { type AccessTrial, describeFault } from "../cluster/access-trial.ts";
import type { AccessLines } from "../cluster/managed-settings.ts";
import type { AccessStatus } from "../cluster/observation.ts";
import { removeLeftOverTrials, tryAccess } from "../postgres/access-trial.ts";
import { writeDurably } from "../postgres/durable-file.ts";
import { renderHba, renderIdent } from "../postgres/render-config.ts";
import type { Installation } from "../postgres/versions.ts";
import { readJson } from "./json-file.ts";
import type { StatePaths } from "./state-directory.ts";

export interface AccessRulesOptions {
  readonly paths: StatePaths;
  readonly installation: Installation;
  readonly superuserSystemUsers: readonly string[];
}

interface Kept {
  /** Of the PostgreSQL that read the lines of `proven`. */
  readonly version: string;
  /** Hashes of lines that it took. */
  readonly proven: readonly string[];
  /** Null: guacamole's defaults. */
  readonly inForce: AccessLines | null;
  /** Of what was asked for last. */
  readonly askedRevision: number | null;
  /** Why what is wanted is not in force; null: it is. */
  readonly problem: string | null;
}

/** Lines that were taken once are not tried again; more than these are forgotten. */
const PROVEN_MAX = 5_000;

/**
 * Which rules for applications PostgreSQL gets: what is wanted, as soon as this host's PostgreSQL is known to read it, and
 * until then what it had. A file that it cannot read would keep it from starting.
 */
export class AccessRules {
  readonly #options: AccessRulesOptions;
  #kept: Kept;
  #trials: Promise<unknown> = Promise.resolve();

  constructor(options: AccessRulesOptions) {
    this.#options = options;
    // Written by us, whole or not at all.
    const kept = readJson(options.paths.accessFile) as Kept | null;
    const { version } = options.installation;
    this.#kept = kept ?? { version, proven: [], inForce: null, askedRevision: null, problem: null };
    removeLeftOverTrials(options.paths.stateDirectory);
  }

  get inForce(): AccessLines | null {
    return this.#kept.inForce;
  }

  get status(): AccessStatus {
    const { inForce, askedRevision, problem } = this.#kept;
    return { revision: inForce?.revision ?? null, askedRevision, problem };
  }

  /** Puts these in force if PostgreSQL reads them; else what was in force stays, and the problem is told. */
  async settle(wanted: AccessLines | null): Promise<void> {
    const { inForce, problem } = this.#kept;
    if (problem === null && JSON.stringify(inForce) === JSON.stringify(wanted)) return;
    const isProven = wanted === null || this.#isProven(wanted);
    const why = isProven ? null : whyNot(await this.try(wanted));
    const askedRevision = wanted?.revision ?? null;
    this.#keep({ ...this.#kept, askedRevision, problem: why, ...(why === null ? { inForce: wanted } : {}) });
  }

  /** Before PostgreSQL starts: another version than the one that took the rules may not take them. */
  async recheck(): Promise<void> {
    const { inForce } = this.#kept;
    if (inForce === null || this.#isProven(inForce)) return;
    const trial = await this.try(inForce);
    // What cannot be tried was read by a server once, and most likely is again.
    if (trial.kind === "bad") this.#keep({ ...this.#kept, inForce: null, problem: whyNot(trial) });
  }

  /** Has PostgreSQL read them; changes nothing of what is in force. One trial at a time. */
  try(lines: AccessLines): Promise<AccessTrial> {
    const trial = this.#trials.then(() => this.#try(lines));
    this.#trials = trial.catch(() => undefined);
    return trial;
  }

  async #try(lines: AccessLines): Promise<AccessTrial> {
    const { paths, installation, superuserSystemUsers } = this.#options;
    const { version, binDirectory } = installation;
    const trial = await tryAccess({
      ...paths,
      binDirectory,
      version,
      workDirectory: paths.stateDirectory,
      hba: renderHba(lines),
      ident: renderIdent(superuserSystemUsers, lines),
    });
    if (trial.kind === "good") {
      const before = this.#kept.version === version ? this.#kept.proven : [];
      const proven = [...new Set([...hashesOf(lines), ...before])].slice(0, PROVEN_MAX);
      this.#keep({ ...this.#kept, version, proven });
    }
    return trial;
  }

  /** Each line means what it means by itself: what was taken in one file is taken in another. */
  #isProven(lines: AccessLines): boolean {
    const { version, proven } = this.#kept;
    return (
      version === this.#options.installation.version && hashesOf(lines).every((hash) => proven.includes(hash))
    );
  }

  #keep(kept: Kept): void {
    if (JSON.stringify(kept) === JSON.stringify(this.#kept)) return;
    this.#kept = kept;
    writeDurably(this.#options.paths.accessFile, `${JSON.stringify(kept)}\n`, 0o600);
  }
}

function whyNot(trial: AccessTrial): string | null {
  if (trial.kind === "good") return null;
  if (trial.kind === "untried")
    return `the rules for connections could not be tried here, the old ones stay: ${trial.why}`;
  const [first] = trial.faults;
  const what = first === undefined ? "" : `: ${describeFault(first)}`;
  return `PostgreSQL ${trial.version} does not take the rules for connections, the old ones stay${what}`;
}

function hashesOf({ hba, identMaps }: AccessLines): readonly string[] {
  const isRule = (line: string) => line !== "" && !line.startsWith("#");
  const lines = [...hba.filter(isRule), ...identMaps.map((line) => `ident ${line}`)];
  return lines.map((line) => createHash("sha256").update(line).digest("base64").slice(0, 16));
}
