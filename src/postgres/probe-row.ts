import type { TimelineId } from "../base/ids.ts";
import { LSN_ZERO, type Lsn, parseLsn } from "../base/lsn.ts";
import type { PrimaryStatus, StandbyConnection, StandbyStatus, WalReceiver } from "../cluster/observation.ts";
import type { LookRow, StandbyRow } from "./probe-query.ts";

/** What a server says of itself. What only the member knows (since when a setting is in effect) is not in it. */
export type ProbedServer =
  | StandbyStatus
  | (Omit<PrimaryStatus, "synchronous" | "ancestors" | "commitWaitMs"> & {
      readonly synchronousStandbyNames: string;
      readonly waitingCommits: readonly string[];
    });

/** A row of the look query as a status. @throws {Error} on an LSN that is none: the server speaks another language. */
export function parseLookRow(row: LookRow): ProbedServer {
  const common = { systemIdentifier: row.system_identifier, timeline: row.timeline as TimelineId };
  if (row.is_standby) {
    return {
      ...common,
      kind: "standby",
      receivedLsn: lsnOrZero(row.received_lsn),
      replayedLsn: lsnOrZero(row.replayed_lsn),
      walReceiver: walReceiver(row),
    };
  }
  return {
    ...common,
    kind: "primary",
    writtenLsn: lsnOrZero(row.written_lsn),
    checkpointTimeline: row.checkpoint_timeline as TimelineId,
    synchronousStandbyNames: row.synchronous_standby_names,
    standbys: (row.standbys ?? []).map(standbyConnection),
    isProvisioned: row.is_provisioned,
    waitingCommits: row.waiting_commits ?? [],
    ...(row.unguarded === null || row.unguarded.length === 0 ? {} : { unguarded: row.unguarded }),
  };
}

/** A living upstream is asked for a sign of life earlier than this (`wal_receiver_timeout`), and gives it at once. */
const SILENT_MS = 900;

function walReceiver(row: LookRow): WalReceiver | null {
  if (row.receiver_status !== null) {
    const receiver = { upstream: row.receiver_upstream ?? "", status: row.receiver_status };
    const silentMs = Math.round(row.receiver_silent_ms ?? 0);
    return silentMs >= SILENT_MS ? { ...receiver, silentMs } : receiver;
  }
  return row.has_receiver ? { upstream: "", status: "starting" } : null;
}

function standbyConnection(row: StandbyRow): StandbyConnection {
  return {
    name: row.name,
    state: row.state ?? "startup",
    flushedLsn: row.flushed === null ? null : lsn(row.flushed),
    replayedLsn: row.replayed === null ? null : lsn(row.replayed),
    syncState: row.sync ?? "async",
  };
}

/** Null before anything was replayed. */
function lsnOrZero(text: string | null): Lsn {
  return text === null ? LSN_ZERO : lsn(text);
}

function lsn(text: string): Lsn {
  const parsed = parseLsn(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
}
