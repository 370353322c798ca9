import { join } from "node:path";
import type { TimelineId } from "../base/ids.ts";
import { LSN_ZERO, type Lsn, type Position, parseLsn } from "../base/lsn.ts";
import { err, ok, type Result } from "../base/result.ts";
import { runProgram } from "./program.ts";
import type { StandbyLimits } from "./standby-limits.ts";

/** What the control file says of a data directory that nobody has open, by `pg_controldata`. */
export interface ControlData {
  readonly systemIdentifier: string;
  /**
   * The newest timeline that the control file knows of: that of the latest checkpoint, or that of the minimum recovery
   * end, which is ahead of it from a promotion (or a standby's first flush) until the next checkpoint.
   */
  readonly timeline: TimelineId;
  readonly checkpointTimeline: TimelineId;
  readonly checkpointLsn: Lsn;
  /** Where recovery begins, unless a backup label says otherwise. */
  readonly redoLsn: Lsn;
  /** For instance `in production`, `shut down`, `shut down in recovery`, `in archive recovery`. */
  readonly state: string;
  readonly walSegmentBytes: number;
  readonly walPageBytes: number;
  /**
   * A standby's data files hold nothing beyond this. Null: it is none, or it was cloned and waits for the end of its backup, of
   * which nobody knows beforehand where in WAL it is.
   */
  readonly consistentAt: Position | null;
  /** What a standby with this data needs at least. */
  readonly limits: StandbyLimits;
}

/** Runs `pg_controldata`. The error is what it said, for people. */
export async function readControlData(
  binDirectory: string,
  dataDirectory: string,
): Promise<Result<ControlData, string>> {
  const run = await runProgram({ command: [join(binDirectory, "pg_controldata"), "-D", dataDirectory] });
  if (!run.ok) return err(`pg_controldata failed: ${run.error.message}`);
  return parseControlData(run.value.stdout);
}

/** Reads the output of `pg_controldata` (with `LC_ALL=C`). */
export function parseControlData(text: string): Result<ControlData, string> {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.set(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
  }
  const systemIdentifier = fields.get("Database system identifier") ?? "";
  const state = fields.get("Database cluster state") ?? "";
  const checkpointTimeline = Number(fields.get("Latest checkpoint's TimeLineID"));
  const recoveryTimeline = Number(fields.get("Min recovery ending loc's timeline"));
  const checkpointLsn = parseLsn(fields.get("Latest checkpoint location") ?? "");
  const redoLsn = parseLsn(fields.get("Latest checkpoint's REDO location") ?? "");
  const walSegmentBytes = Number(fields.get("Bytes per WAL segment"));
  const walPageBytes = Number(fields.get("WAL block size"));
  if (
    !/^\d+$/.test(systemIdentifier) ||
    state === "" ||
    !(checkpointTimeline >= 1) ||
    !(walSegmentBytes > 0) ||
    !(walPageBytes > 0)
  ) {
    return err(`pg_controldata answers with something unexpected: ${text.slice(0, 300)}`);
  }
  if (!checkpointLsn.ok) return checkpointLsn;
  if (!redoLsn.ok) return redoLsn;
  return ok({
    systemIdentifier,
    timeline: Math.max(checkpointTimeline, recoveryTimeline || 0) as TimelineId,
    checkpointTimeline: checkpointTimeline as TimelineId,
    checkpointLsn: checkpointLsn.value,
    redoLsn: redoLsn.value,
    state,
    walSegmentBytes,
    walPageBytes,
    consistentAt: consistentAt(fields),
    limits: {
      max_connections: Number(fields.get("max_connections setting") ?? 0),
      max_locks_per_transaction: Number(fields.get("max_locks_per_xact setting") ?? 0),
      max_prepared_transactions: Number(fields.get("max_prepared_xacts setting") ?? 0),
      max_wal_senders: Number(fields.get("max_wal_senders setting") ?? 0),
      max_worker_processes: Number(fields.get("max_worker_processes setting") ?? 0),
    },
  });
}

function consistentAt(fields: ReadonlyMap<string, string>): Position | null {
  const lsnOf = (name: string): Lsn => {
    const parsed = parseLsn(fields.get(name) ?? "");
    return parsed.ok ? parsed.value : LSN_ZERO;
  };
  const timeline = Number(fields.get("Min recovery ending loc's timeline")) as TimelineId;
  const minRecovery = lsnOf("Minimum recovery ending location");
  // Of a rewind and of a backup of a standby it is known where they end; of a backup of a primary it is not.
  const backupEnd = lsnOf("Backup end location");
  const isBackup = lsnOf("Backup start location") > LSN_ZERO;
  if (!(timeline >= 1) || minRecovery === LSN_ZERO || (isBackup && backupEnd === LSN_ZERO)) return null;
  return { timeline, lsn: Math.max(backupEnd, minRecovery) as Lsn };
}
