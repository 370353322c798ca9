/**
 * Has PostgreSQL itself read rules for connections, without any server that serves: the very program that would load them
 * starts in an empty directory beside the data, reads them, and then ends, since that directory has no WAL to begin with.
 *
 * Nothing of the running server is touched, and it works as well where none runs. (`pg_hba_file_rules` reads only the file
 * that a running server has: a candidate would have to lie there, and a reload or a crash in that moment would take it.)
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { AccessFault, AccessTrial } from "../cluster/access-trial.ts";
import { runProgram } from "./program.ts";

export interface AccessTrialOptions {
  readonly binDirectory: string;
  readonly version: string;
  /** Its control file is copied: a server does not start without one. */
  readonly dataDirectory: string;
  /** Where a directory for the trial may be made. */
  readonly workDirectory: string;
  readonly caFile: string;
  readonly certificateFile: string;
  readonly keyFile: string;
  /** The whole text of the two files. */
  readonly hba: string;
  readonly ident: string;
}

const TRIAL_MS_MAX = 4_000;
const TRIAL_PREFIX = "access-trial-";
/** What a data directory has beside `pg_wal`: without that one it can be started to this point and no further. */
const DIRECTORIES = [
  ...["global", "base", "base/1", "pg_commit_ts", "pg_dynshmem", "pg_logical", "pg_logical/snapshots"],
  ...["pg_logical/mappings", "pg_multixact", "pg_multixact/members", "pg_multixact/offsets", "pg_notify"],
  ...["pg_replslot", "pg_serial", "pg_snapshots", "pg_stat", "pg_stat_tmp", "pg_subtrans", "pg_tblspc"],
  ...["pg_twophase", "pg_xact"],
];

/** Never rejects because of the rules: what could not be tried says why. */
export async function tryAccess(options: AccessTrialOptions): Promise<AccessTrial> {
  const { dataDirectory, workDirectory, caFile, certificateFile, keyFile, hba, ident, version } = options;
  const needed = [
    join(dataDirectory, "global/pg_control"),
    join(dataDirectory, "PG_VERSION"),
    caFile,
    certificateFile,
    keyFile,
  ];
  const missing = needed.find((file) => !existsSync(file));
  if (missing !== undefined) return { kind: "untried", why: `there is no ${missing} yet` };
  const directory = mkdtempSync(join(workDirectory, TRIAL_PREFIX));
  try {
    const data = join(directory, "data");
    mkdirSync(data, { mode: 0o700 });
    for (const name of DIRECTORIES) mkdirSync(join(data, name), { mode: 0o700 });
    for (const name of ["PG_VERSION", "global/pg_control"])
      copyFileSync(join(dataDirectory, name), join(data, name));
    const files = { conf: "", hba, ident };
    for (const [name, text] of Object.entries(files))
      writeFileSync(join(directory, name), text, { mode: 0o600 });
    const run = await runProgram({
      command: [join(options.binDirectory, "postgres"), "-D", data, ...argumentsOf(options, directory)],
      signal: AbortSignal.timeout(TRIAL_MS_MAX),
    });
    // It cannot have begun to serve: that it ends with an error is its way to end.
    return judge(run.ok ? run.value.stderr : run.error.stderr, {
      hba,
      hbaFile: join(directory, "hba"),
      version,
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Whoever was killed in the middle of a trial left its directory. */
export function removeLeftOverTrials(workDirectory: string): void {
  if (!existsSync(workDirectory)) return;
  for (const name of readdirSync(workDirectory)) {
    if (name.startsWith(TRIAL_PREFIX)) rmSync(join(workDirectory, name), { recursive: true, force: true });
  }
}

function argumentsOf(options: AccessTrialOptions, directory: string): readonly string[] {
  const settings: readonly (readonly [string, string])[] = [
    ["config_file", join(directory, "conf")],
    ["hba_file", join(directory, "hba")],
    ["ident_file", join(directory, "ident")],
    // A server must listen somewhere; in its own directory nobody finds it, and the name is never too long.
    ["listen_addresses", ""],
    ["unix_socket_directories", "."],
    ["ssl", "on"],
    ["ssl_ca_file", options.caFile],
    ["ssl_cert_file", options.certificateFile],
    ["ssl_key_file", options.keyFile],
    ["shared_buffers", "16"],
    ["max_connections", "4"],
    ["max_wal_senders", "0"],
    ["wal_level", "minimal"],
    ["huge_pages", "off"],
    ["fsync", "off"],
    ["log_line_prefix", ""],
    ["log_min_messages", "log"],
    ["lc_messages", "C"],
  ];
  return settings.flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

interface Tried {
  readonly hba: string;
  readonly hbaFile: string;
  readonly version: string;
}

/** From what the server said: what it complains of between listening and looking for its WAL is about the two files. */
export function judge(stderr: string, { hba, hbaFile, version }: Tried): AccessTrial {
  const entries = entriesOf(stderr);
  const from = entries.findIndex(({ text }) => text.startsWith("LOG:  listening on Unix socket"));
  const after = entries.slice(from + 1);
  const to = after.findIndex(({ text }) => /^(FATAL|PANIC):|^LOG: {2}database system /.test(text));
  const end = after[to]?.text ?? "";
  if (from === -1 || to === -1)
    return { kind: "untried", why: `the trial said: ${stderr.trim().slice(-500)}` };
  const lines = hba.split("\n");
  const faults = after.slice(0, to).map(({ text, context }): AccessFault => {
    const message = text.replace(/^[A-Z]+:\s+/, "");
    const number = /line (\d+) of configuration file "(.*)"/.exec(context ?? "");
    return { line: number?.[2] === hbaFile ? (lines[Number(number[1]) - 1] ?? null) : null, message };
  });
  const hasLoaded = end.startsWith("LOG:  database system ");
  if (!hasLoaded && !end.includes("could not load"))
    return { kind: "untried", why: `the trial ended before the rules were read: ${end}` };
  if (faults.length > 0) return { kind: "bad", version, faults };
  return hasLoaded
    ? { kind: "good", version }
    : { kind: "bad", version, faults: [{ line: null, message: end.replace(/^[A-Z]+:\s+/, "") }] };
}

interface Entry {
  readonly text: string;
  readonly context: string | null;
}

function entriesOf(stderr: string): readonly Entry[] {
  const entries: { text: string; context: string | null }[] = [];
  for (const line of stderr.split("\n")) {
    const last = entries.at(-1);
    if (/^(LOG|WARNING|ERROR|FATAL|PANIC|NOTICE|INFO):/.test(line))
      entries.push({ text: line, context: null });
    else if (line.startsWith("CONTEXT:") && last !== undefined) last.context = line;
  }
  return entries;
}
