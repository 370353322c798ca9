/** Plays a transcript: prose is kept, what came of a command last time is replaced by what comes of it now. */
import type { MemberId } from "../../src/base/ids.ts";
import { Arguments } from "./arguments.ts";
import { ARITHMETIC } from "./arithmetic.ts";
import { COMMANDS } from "./commands.ts";
import { Stage } from "./stage.ts";

const PROMPT = "> ";
/** A command goes on: one line would be too long to read. */
const CONTINUATION = ">   ";
const INDENT = "    ";
/** Before a command: of what came of it, only who leads, follows and counts whom in the end. */
const QUIETLY = "quietly";
const NEWS = /^ {2}((m\d+ (?:counts)?)(?:leads |follows |is )?.*)$/;

/** @returns the text with what came of it this time. @throws if a command is wrong or an expectation fails. */
export function play(text: string): string {
  let stage: Stage | null = null;
  const lines = text
    .trimEnd()
    .split("\n")
    .map((line, index) => ({ line, number: index + 1 }));
  const kept = lines.filter(({ line }) => !line.startsWith(INDENT));
  const played: string[] = [];
  for (const [index, { line, number }] of kept.entries()) {
    played.push(line);
    const isContinued = kept[index + 1]?.line.startsWith(CONTINUATION) === true;
    if (!line.startsWith(PROMPT) || isContinued) continue;
    const words = wordsUpTo(
      kept.map((other) => other.line),
      index,
    );
    try {
      if (words[0] === "group") stage = formGroup(new Arguments(words.slice(1)));
      else played.push(...carryOut(stage, words).map((told) => `${INDENT}${told}`));
    } catch (error) {
      throw new Error(`line ${number}, '${line}': ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
  }
  return `${played.join("\n")}\n`;
}

/** The words of the command that ends in line `last`. */
function wordsUpTo(lines: readonly string[], last: number): readonly string[] {
  let first = last;
  while (lines[first]?.startsWith(CONTINUATION) === true) first -= 1;
  return lines.slice(first, last + 1).flatMap((line) => line.slice(PROMPT.length).trim().split(/\s+/));
}

function carryOut(stage: Stage | null, words: readonly string[]): readonly string[] {
  const [name = "", ...rest] = words;
  if (name === QUIETLY) return lastNews(carryOut(stage, rest));
  const args = new Arguments(rest);
  const calculate = ARITHMETIC[name];
  if (calculate !== undefined) {
    const answer = calculate(args);
    args.end();
    return answer;
  }
  const command = COMMANDS[name];
  if (command === undefined) {
    const known = ["group", QUIETLY, ...Object.keys(COMMANDS), ...Object.keys(ARITHMETIC)];
    throw new Error(`unknown command '${name}'; there are ${known.join(", ")}`);
  }
  if (stage === null) throw new Error("there is no group yet; begin with 'group voters=m1,m2,m3'");
  command(stage, args);
  args.end();
  return stage.takeTold();
}

/** Of each member the last word on its role, and on whom it counts. */
function lastNews(lines: readonly string[]): readonly string[] {
  const last = new Map<string, string>();
  for (const line of lines) {
    const [, news, about] = NEWS.exec(line) ?? [];
    if (news !== undefined && about !== undefined) last.set(about, news);
  }
  return [...last.values()];
}

/**
 * `group voters=m1,m2,m3 learners=m4 log=1,1,2 commit=2`: members that have lived already. What is said with a member's
 * name (`log.m2=1,1`) is of that member only.
 */
function formGroup(args: Arguments): Stage {
  const stage = new Stage(args.limits());
  const config = args.config();
  const log = args.numberList("log") ?? [1];
  const commit = args.value("commit");
  const term = args.value("term");
  const members = [...new Set([...config.voters, ...config.outgoing, ...config.learners])];
  for (const id of members.sort(byNumber)) {
    const ownLog = args.numberList(`log.${id}`) ?? log;
    stage.add({
      id,
      log: ownLog,
      term: args.number(`term.${id}`, term === null ? (ownLog.at(-1) ?? 0) : Number(term)),
      commit: args.number(`commit.${id}`, Math.min(Number(commit ?? ownLog.length), ownLog.length)),
      config,
      promotableFrom: 0,
      patienceTicks: args.number(`patience.${id}`, 0) || null,
    });
  }
  args.end();
  stage.takeTold();
  return stage;
}

function byNumber(a: MemberId, b: MemberId): number {
  return Number(a.slice(1)) - Number(b.slice(1));
}
