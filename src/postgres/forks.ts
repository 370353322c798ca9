/** Reads the forks that were kept before rewinds (`archiveFork`): which transactions were on this server only. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { TimelineId } from "../base/ids.ts";
import { formatLsn, type Lsn, parseLsn } from "../base/lsn.ts";
import type { Fork, ForkTransaction } from "../cluster/fork.ts";
import { runProgram } from "./program.ts";

const TRANSACTIONS_TOLD_MAX = 1_000;

/** Newest first. */
export async function listForks(forkedDirectory: string, binDirectory: string): Promise<readonly Fork[]> {
  if (!existsSync(forkedDirectory)) return [];
  const kept = readdirSync(forkedDirectory).flatMap((name) => {
    const place = parseForkName(name);
    return place === null ? [] : [{ ...place, directory: join(forkedDirectory, name) }];
  });
  const forks: Fork[] = [];
  for (const { timeline, forkLsn, directory } of kept) {
    const files = readdirSync(directory).map((name) => statSync(join(directory, name)));
    const read = await readTransactions(directory, timeline, forkLsn, binDirectory);
    forks.push({
      timeline,
      forkLsn,
      keptAtMs: statSync(directory).mtimeMs,
      bytes: files.reduce((sum, { size }) => sum + size, 0),
      ...read,
    });
  }
  return forks.sort((a, b) => b.keptAtMs - a.keptAtMs);
}

/** `2-0_3000148` is timeline 2, left at 0/3000148; null: no fork of ours. */
export function parseForkName(name: string): { readonly timeline: TimelineId; readonly forkLsn: Lsn } | null {
  const match = /^([0-9]{1,10})-([0-9A-F]{1,8})_([0-9A-F]{1,8})$/.exec(name);
  const lsn = parseLsn(`${match?.[2]}/${match?.[3]}`);
  return match === null || !lsn.ok ? null : { timeline: Number(match[1]) as TimelineId, forkLsn: lsn.value };
}

/** WAL ends where it ends: pg_waldump calls that an error. */
const END_OF_WAL = /could not find file|error in WAL record|could not read from file/;

async function readTransactions(
  directory: string,
  timeline: TimelineId,
  forkLsn: Lsn,
  binDirectory: string,
): Promise<Pick<Fork, "transactions" | "transactionCount" | "problem">> {
  const transactions: ForkTransaction[] = [];
  let transactionCount = 0;
  const dumped = await runProgram({
    command: [
      join(binDirectory, "pg_waldump"),
      "--rmgr=Transaction",
      `--path=${directory}`,
      `--timeline=${timeline}`,
      `--start=${formatLsn(forkLsn)}`,
    ],
    onOutputLine: (line) => {
      const transaction = parseTransaction(line);
      if (transaction === null) return;
      transactionCount += 1;
      if (transactions.length < TRANSACTIONS_TOLD_MAX) transactions.push(transaction);
    },
  });
  const problem = dumped.ok || END_OF_WAL.test(dumped.error.stderr) ? null : dumped.error.message;
  return { transactions, transactionCount, problem };
}

const KINDS = { COMMIT: "commit", COMMIT_PREPARED: "commit", PREPARE: "prepare" } as const;

/** A line of pg_waldump; null for one that commits nothing. */
export function parseTransaction(line: string): ForkTransaction | null {
  const match =
    /tx: +(\d+), lsn: ([0-9A-F]+\/[0-9A-F]+), .*desc: (COMMIT|COMMIT_PREPARED|PREPARE) (?:\d+: |gid [^:]*: )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^;]*?)(?:;|$)/.exec(
      line,
    );
  const lsn = parseLsn(match?.[2] ?? "");
  if (match === null || !lsn.ok) return null;
  return {
    transactionId: Number(match[1]),
    kind: KINDS[match[3] as keyof typeof KINDS],
    at: match[4] ?? "",
    lsn: lsn.value,
  };
}
