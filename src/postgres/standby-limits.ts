/**
 * A server that starts as a standby ends at once if its configuration says less of some settings than the primary had that
 * wrote its data. Every server here starts as a standby: where the files say less, what the data needs is put on the command
 * line, and the wish waits.
 *
 * @see https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-ADMIN
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ManagedSettings } from "../cluster/managed-settings.ts";
import { STANDBY_LIMITS, type StandbyLimit } from "../cluster/parameter-rules.ts";
import { runProgram } from "./program.ts";

/** What the data needs, by the control file. */
export type StandbyLimits = Readonly<Record<StandbyLimit, number>>;

/** What PostgreSQL has where no file says anything. */
const BUILT_IN: StandbyLimits = {
  max_connections: 100,
  max_locks_per_transaction: 64,
  max_prepared_transactions: 0,
  max_wal_senders: 10,
  max_worker_processes: 8,
};

/** Arguments of `postgres` that raise what its files say too little of. */
export async function renderRaisedLimits(options: {
  readonly binDirectory: string;
  readonly dataDirectory: string;
  /** As `renderCommandLine` has it. */
  readonly commandLine: readonly string[];
  readonly settings: ManagedSettings;
  readonly needed: StandbyLimits;
}): Promise<readonly string[]> {
  const { binDirectory, dataDirectory, commandLine, settings, needed } = options;
  const wanted = Object.entries(settings.parameters ?? {}).map(([name, value]) => `${name} = '${value}'`);
  const files = ["postgresql.conf", "postgresql.auto.conf"].map((name) => join(dataDirectory, name));
  const texts = files.filter(existsSync).map((file) => readFileSync(file, "utf8"));
  const doubtful = doubtfulLimits([...texts, wanted.join("\n")], needed);
  const raised = await Promise.all(
    doubtful.map(async (name) => {
      const asked = await runProgram({
        command: [join(binDirectory, "postgres"), ...commandLine, "-C", name],
      });
      // Files that cannot be read: the start itself says why.
      const isLess = asked.ok && Number(asked.value.stdout.trim()) < needed[name];
      return isLess ? ["-c", `${name}=${needed[name]}`] : [];
    }),
  );
  return raised.flat();
}

/** Those of which these files may say less than is needed: PostgreSQL knows for certain, and costs a program to ask. */
export function doubtfulLimits(texts: readonly string[], needed: StandbyLimits): readonly StandbyLimit[] {
  const hasMoreFiles = texts.some((text) => /^\s*include/im.test(text));
  return STANDBY_LIMITS.filter((name) => {
    const said = texts.flatMap((text) => valuesOf(name, text));
    const isEnough =
      said.length === 0 ? BUILT_IN[name] >= needed[name] : said.every((value) => value >= needed[name]);
    return hasMoreFiles || !isEnough;
  });
}

/** Every value that a file gives; NaN for one that is no plain number, which is never enough. */
function valuesOf(name: StandbyLimit, text: string): readonly number[] {
  const line = new RegExp(`^[ \\t]*${name}[ \\t]*(?:=[ \\t]*|[ \\t])('?)([^'#\\n]*)`, "gim");
  return [...text.matchAll(line)].map(([, , value = ""]) =>
    /^[1-9][0-9]*$|^0$/.test(value.trim()) ? Number(value) : Number.NaN,
  );
}
