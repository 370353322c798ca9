import { existsSync, lstatSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Epoch } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { ManagedSettings, Upstream } from "../cluster/managed-settings.ts";
import type { Parameters } from "../cluster/parameters.ts";
import { AutoConfWatch, cleanAutoConf } from "../postgres/auto-conf.ts";
import type { ReplicationConnection } from "../postgres/conninfo.ts";
import { writeDurably, writeWhole } from "../postgres/durable-file.ts";
import {
  type ConfigPlaces,
  hashSettings,
  renderCommandLine,
  renderHba,
  renderIdent,
  renderPostgresqlConf,
  settledSettings,
} from "../postgres/render-config.ts";
import { tryConfiguration } from "../postgres/try-config.ts";
import type { AccessRules } from "./access-rules.ts";
import { readJson } from "./json-file.ts";
import { type PromiseBook, refusePledged, refuseStale, withNewest, withWal } from "./promises.ts";
import type { SupervisorRequest } from "./protocol.ts";
import { RequestRefused, refuseIf } from "./refused.ts";
import type { StatePaths } from "./state-directory.ts";

/** What `configure` was told last, and under which epoch its upstream may be followed. */
interface KeptSettings {
  readonly settings: ManagedSettings;
  readonly epoch: Epoch;
}

export interface ConfigurationOptions {
  readonly paths: StatePaths;
  readonly promises: PromiseBook;
  readonly access: AccessRules;
  /** Lines for those who are let in for a while, before the rules of applications. */
  readonly glassRules: () => readonly string[];
  /** Of the programs. */
  readonly major: number;
  readonly superuserSystemUsers: readonly string[];
  readonly log: Log;
}

/** PostgreSQL's configuration files and TLS material, as they follow from what was asked and what was promised. */
export class Configuration {
  readonly #options: ConfigurationOptions;
  readonly #paths: StatePaths;
  readonly #promises: PromiseBook;
  readonly #autoConf = new AutoConfWatch();
  readonly #takenOut = new Set<string>();
  #kept: KeptSettings | null;
  #trying: Promise<void> = Promise.resolve();

  constructor(options: ConfigurationOptions) {
    this.#options = options;
    this.#paths = options.paths;
    this.#promises = options.promises;
    // Written by us, whole or not at all; a settings file of another version is replaced by the next `configure`.
    this.#kept = readJson(options.paths.settingsFile) as KeptSettings | null;
  }

  /** @returns whether anything is new. */
  installCertificates(request: Extract<SupervisorRequest, { kind: "install-certificates" }>): boolean {
    const files = [
      [this.#paths.keyFile, request.privateKeyPem],
      [this.#paths.certificateFile, request.certificatePem],
      [this.#paths.caFile, request.caPem],
    ] as const;
    const changed = files.filter(
      ([file, contents]) => !existsSync(file) || readFileSync(file, "utf8") !== contents,
    );
    for (const [file, contents] of changed) writeDurably(file, contents, 0o600);
    return changed.length > 0;
  }

  requireCertificates(): void {
    const missing = [this.#paths.caFile, this.#paths.certificateFile, this.#paths.keyFile].filter(
      (file) => !existsSync(file),
    );
    if (missing.length === 0) return;
    throw new RequestRefused(
      "unavailable",
      `certificates are not installed yet: ${missing.join(", ")} missing`,
    );
  }

  configure(request: Extract<SupervisorRequest, { kind: "configure" }>): void {
    const { epoch, settings } = request;
    const promises = this.#promises.current;
    refuseIf(settings.upstream === null ? refuseStale(promises, epoch) : refusePledged(promises, epoch));
    this.#promises.keep(
      settings.upstream === null ? withNewest(promises, epoch) : withWal(promises, request),
    );
    this.#kept = { settings, epoch };
    writeDurably(this.#paths.settingsFile, `${JSON.stringify(this.#kept)}\n`, 0o600);
    this.apply();
  }

  /** The settings as they may be used: without an upstream that was pledged away. Null: none were given yet. */
  get effective(): ManagedSettings | null {
    if (this.#kept === null) return null;
    const { settings, epoch } = this.#kept;
    return epoch > this.#promises.current.pledgedEpoch ? settings : { ...settings, upstream: null };
  }

  /** Writes the files anew, where there are settings. PostgreSQL reads them at the next reload or start. */
  apply(): void {
    const settings = this.effective;
    if (settings === null) return;
    this.#arrangeUpstreamKeys(settings);
    const places = this.#places();
    const { superuserSystemUsers, access } = this.#options;
    writeIfChanged(this.#paths.hbaFile, this.#hba());
    writeIfChanged(this.#paths.identFile, renderIdent(superuserSystemUsers, access.inForce));
    writeIfChanged(this.#paths.configFile, renderPostgresqlConf(settings, places));
    if (!existsSync(this.#paths.dataDirectory)) return;
    const found = cleanAutoConf(this.#paths.dataDirectory, settledSettings(settings, places));
    for (const name of found) this.#takenOut.add(name);
    if (found.length > 0)
      this.#options.log.warn("supervisor.alter-system.undone", { names: found.join(", ") });
  }

  /** The rules alone, never on the thread: it must not wait for a disk that hangs. Nothing where there are no settings yet. */
  async applyRules(): Promise<void> {
    if (this.effective === null) return;
    const { hbaFile } = this.#paths;
    let written: string | null = null;
    // Whatever else wrote the file meanwhile may have been overtaken.
    while (written !== this.#hba()) {
      written = this.#hba();
      await writeFile(`${hbaFile}.rules`, written, { mode: 0o600 });
      await rename(`${hbaFile}.rules`, hbaFile);
    }
  }

  #hba(): string {
    return renderHba(this.#options.access.inForce, this.#options.glassRules());
  }

  /** What ALTER SYSTEM had said of what is settled here, since this process started. */
  get takenOut(): readonly string[] {
    return [...this.#takenOut].sort();
  }

  /** Names the settings that PostgreSQL's files say; null: there are none, or ALTER SYSTEM says otherwise. */
  get hash(): string | null {
    const settings = this.effective;
    if (settings === null) return null;
    const settled = settledSettings(settings, this.#places());
    return this.#autoConf.isClean(this.#paths.dataDirectory, settled) ? hashSettings(settings) : null;
  }

  /** The arguments of `postgres`. @throws {RequestRefused} if nothing was configured yet. */
  commandLine(): readonly string[] {
    const settings = this.effective;
    if (settings === null)
      throw new RequestRefused("unavailable", "PostgreSQL is not configured yet: send `configure` first");
    return renderCommandLine(settings, this.#places());
  }

  /** Whether PostgreSQL would start with these parameters. One at a time. @throws {RequestRefused} with what it said. */
  try(binDirectory: string, parameters: Parameters): Promise<void> {
    const tried = this.#trying.then(() => this.#try(binDirectory, parameters));
    this.#trying = tried.catch(() => undefined);
    return tried;
  }

  async #try(binDirectory: string, parameters: Parameters): Promise<void> {
    const settings = this.effective;
    if (settings === null || !existsSync(this.#paths.dataDirectory))
      throw new RequestRefused("unavailable", "there is no configured PostgreSQL here to try it with");
    const { trialDirectory } = this.#paths;
    const places = this.#places();
    const trial = { binDirectory, places, trialDirectory, settings: { ...settings, parameters } };
    const tried = await tryConfiguration(trial);
    if (!tried.ok) throw new RequestRefused("program-failed", tried.error);
  }

  connection(source: Upstream, applicationName: string, database: string | null): ReplicationConnection {
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
      major: this.#options.major,
      superuserSystemUsers: this.#options.superuserSystemUsers,
    };
  }
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function writeIfChanged(file: string, contents: string): void {
  if (existsSync(file) && readFileSync(file, "utf8") === contents) return;
  writeWhole(file, contents, 0o600);
}
