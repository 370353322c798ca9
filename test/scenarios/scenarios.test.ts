/**
 * Stories with their outcome. A scenario is a text file: prose, and commands on lines that begin with `> `; the indented
 * lines below a command say what came of it. `make record` writes those lines anew (read the diff before you commit it).
 */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ScriptedWorld } from "../support/scripted-world.ts";

const PROMPT = "> ";
const INDENT = "    ";
const LEAST_SCENARIOS = 12;
const isRecording = process.env["RECORD"] === "1";

const scenarios = readdirSync(import.meta.dir)
  .filter((name) => name.endsWith(".txt"))
  .sort();

type Command = (world: ScriptedWorld, args: readonly string[]) => void;

/** Each takes members' names, unless it says otherwise. */
const COMMANDS: Readonly<Record<string, Command>> = {
  initialize: (world, args) => each(args, (name) => world.initialize(name)),
  switchover: (world, args) => each(args, (name) => world.switchover(name)),
  // A member's name, and in how many seconds.
  schedule: (world, [name, seconds]) => world.schedule(name ?? "", Number(seconds)),
  unschedule: (world) => world.unschedule(),
  // Members' names; none: all.
  restart: (world, args) => world.restart(args),
  "restart-in-place": (world, args) => world.restart(args, "in-place"),
  steer: (world, [wish]) => world.steer(wish === "pause" || wish === "resume" ? wish : "cancel"),
  "want-connections": (world, [count]) => world.wantConnections(Number(count)),
  // Words that say why.
  pause: (world, words) => world.pause(words.join(" ")),
  resume: (world) => world.resume(),
  reinitialize: (world, args) => each(args, (name) => world.reinitialize(name)),
  join: (world, args) => each(args, (name) => world.join(name)),
  remove: (world, args) => each(args, (name) => world.remove(name)),
  replace: (world, args) => each(args, (name) => world.replace(name)),
  // A member's name, and what is wanted of its vote.
  vote: (world, [name, wish]) =>
    world.wish(name ?? "", wish === "voter" || wish === "learner" ? wish : "auto"),
  "show-group": (world) => world.showGroup(),
  "fence-needlessly": (world) => world.fenceNeedlessly(),
  "kill-postmaster": (world, args) => each(args, (name) => world.killPostmaster(name)),
  "power-off": (world, args) => each(args, (name) => world.powerOff(name)),
  boot: (world, args) => each(args, (name) => world.boot(name)),
  "kill-member": (world, args) => each(args, (name) => world.killMember(name)),
  "start-member": (world, args) => each(args, (name) => world.startMember(name)),
  // The first is cut from all that follow.
  cut: (world, [name, ...others]) => world.cut(name ?? "", others),
  "cut-off": (world, args) => each(args, (name) => world.cutOff(name)),
  heal: (world) => world.heal(),
  stall: (world, args) => world.setStalled(args, true),
  unstall: (world, args) => world.setStalled(args, false),
  "break-disk": (world, args) => each(args, (name) => world.setDiskBroken(name, true)),
  "mend-disk": (world, args) => each(args, (name) => world.setDiskBroken(name, false)),
  occupy: (world, args) => each(args, (name) => world.occupy(name)),
  // A number of commits.
  write: (world, [count]) => world.write(Number(count)),
  // Milliseconds.
  run: (world, [durationMs]) => world.run(Number(durationMs)),
  settle: (world) => world.settle(),
  // Words of a line that is told.
  until: (world, words) => world.until(words.join(" ")),
  show: (world) => world.show(),
};

function each(names: readonly string[], act: (name: string) => void): void {
  if (names.length === 0) throw new Error("this command needs a member's name");
  for (const name of names) act(name);
}

/** Plays a scenario. @returns its text with what came of it this time. */
function play(text: string): string {
  let world: ScriptedWorld | null = null;
  const lines: string[] = [];
  for (const line of text.trimEnd().split("\n")) {
    if (line.startsWith(INDENT)) continue;
    lines.push(line);
    if (!line.startsWith(PROMPT)) continue;
    world ??= ready(3, []);
    const [name = "", ...args] = line.slice(PROMPT.length).trim().split(/\s+/);
    if (name === "cluster") {
      world = ready(Number(args[0]), args.slice(1));
      continue;
    }
    const command = COMMANDS[name];
    if (command === undefined)
      throw new Error(`unknown command '${name}'; there are ${Object.keys(COMMANDS).join(", ")}`);
    command(world, args);
    lines.push(...world.takeTold().map((told) => `${INDENT}${told}`));
  }
  return `${lines.join("\n")}\n`;
}

/** `cluster 5 k=2 degrade running`; where nothing is said: one synchronous standby, `block`, and not initialised. */
function ready(members: number, options: readonly string[]): ScriptedWorld {
  const world = new ScriptedWorld({
    members,
    synchronousStandbys: options.includes("k=2") ? 2 : 1,
    onQuorumLoss: options.includes("degrade") ? "degrade" : "block",
  });
  if (!options.includes("running")) return world;
  world.initialize("m1");
  world.settle();
  world.takeTold();
  return world;
}

test("the scan saw the scenarios", () => {
  expect(scenarios.length).toBeGreaterThanOrEqual(LEAST_SCENARIOS);
});

describe("scenario", () => {
  test.each(scenarios)("%s", (name) => {
    const file = join(import.meta.dir, name);
    const text = readFileSync(file, "utf8");
    const played = play(text);
    if (isRecording) writeFileSync(file, played);
    else expect(played).toBe(text);
  });
});

describe("the runner", () => {
  test("tells an outcome that is not the expected one", () => {
    expect(play("> show\n    m1 takes writes\n")).not.toContain("m1 takes writes");
  });

  test("keeps prose, and refuses a command that it does not know", () => {
    expect(play("Once upon a time.\n")).toBe("Once upon a time.\n");
    expect(() => play("> dance m1\n")).toThrow("unknown command 'dance'");
    expect(() => play("> boot\n")).toThrow("needs a member's name");
  });
});
