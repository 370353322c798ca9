/** What a transcript can say. Each command tells the stage what came of it. */
import type { MemberId } from "../../src/base/ids.ts";
import type { ConfigAnswer } from "../../src/raft/engine/config-change.ts";
import type { ProposeAnswer } from "../../src/raft/engine/engine.ts";
import type { ReadAnswer } from "../../src/raft/engine/reads.ts";
import type { TransferAnswer } from "../../src/raft/engine/transfer.ts";
import { type Actor, at, TIMING } from "./actor.ts";
import type { Arguments } from "./arguments.ts";
import { expectStatus, tellLogs, tellStatuses } from "./looks.ts";
import type { Stage } from "./stage.ts";
import { idText, messageText } from "./wording.ts";

export type Command = (stage: Stage, args: Arguments) => void;

const EVERYTHING = Number.MAX_SAFE_INTEGER;
const MOST_TICKS = 2 * TIMING.electionTicksMax;

export const COMMANDS: Readonly<Record<string, Command>> = {
  // A member that has not been told anything yet.
  join: (stage, args) => {
    stage.add({
      id: args.member(),
      log: [],
      term: 0,
      commit: 0,
      config: null,
      promotableFrom: args.number("promotable-from", 0),
      patienceTicks: args.number("patience", 0) || null,
    });
  },
  // Ticks of one member, or of all that are up, in turn.
  ticks: (stage, args) => {
    const actors = actorsOf(stage, args.word());
    const count = args.count(1);
    for (let tick = 0; tick < count; tick += 1) {
      for (const actor of actors) actor.act((engine) => engine.tick());
    }
  },
  // The member stood still for so many ticks, and gets one now.
  pause: (stage, args) => {
    const actor = stage.actor(args.member());
    const trueTicks = args.count(1);
    actor.act((engine) => engine.tick(trueTicks));
  },
  patience: (stage, args) => {
    stage.actor(args.member()).patienceTicks = args.count(0);
  },
  campaign: (stage, args) => campaign(stage, stage.actor(args.member())),
  // A group that was just formed gets its first leader.
  elect: (stage, args) => {
    for (const actor of stage.actors) {
      for (let tick = 0; tick < TIMING.electionTicksMin; tick += 1) actor.act((engine) => engine.tick());
    }
    campaign(stage, stage.actor(args.member()));
    stage.stabilize(stage.actors.map(({ id }) => id));
  },
  // What a member does at its start: it need not wait for anybody if it is alone.
  stand: (stage, args) => stage.actor(args.member()).act((engine) => engine.campaign()),
  stabilize: (stage, args) => {
    const ids = args.members();
    stage.stabilize(ids.length === 0 ? stage.actors.map(({ id }) => id) : ids);
  },
  deliver: (stage, args) => stage.deliver(args.link(), args.count(EVERYTHING)),
  drop: (stage, args) => stage.drop(args.link(), args.count(EVERYTHING)),
  duplicate: (stage, args) => stage.duplicate(args.link()),
  // `cut m1|m2,m3` both ways, `cut m1>m2` one way.
  cut: (stage, args) => cut(stage, args.word()),
  heal: (stage) => stage.heal(),
  disk: (stage, args) => disk(stage, stage.actor(args.member()), args.optionalWord()),
  propose: (stage, args) => {
    const actor = stage.actor(args.member());
    const data = args.words().map((word) => new TextEncoder().encode(word));
    actor.act((engine) => tellAnswer(stage, engine.propose(data)));
  },
  change: (stage, args) => {
    const actor = stage.actor(args.member());
    const target = { voters: args.memberList("voters"), learners: args.memberList("learners") };
    actor.act((engine) => tellAnswer(stage, engine.changeConfig(target)));
  },
  read: (stage, args) => {
    const actor = stage.actor(args.member());
    const id = args.count(0);
    actor.act((engine) => tellAnswer(stage, engine.readIndex(id)));
  },
  // `transfer m1>m2`, or `transfer m1` to whoever is best.
  transfer: (stage, args) => {
    const [from = "", to] = args.word().split(">");
    const actor = stage.actor(from as MemberId);
    const target = to === undefined ? null : (to as MemberId);
    actor.act((engine) => tellAnswer(stage, engine.transferLeadership(target)));
  },
  compact: (stage, args) => compact(stage, stage.actor(args.member()), args.number("keep", 0)),
  snapshot,
  // The leader learns that the connection broke: `unreachable m1>m2`.
  unreachable: (stage, args) => {
    const { from, to } = args.way();
    stage.actor(from).act((engine) => engine.reportUnreachable(to));
  },
  // With `written`, an outstanding write has just made it to the disk.
  crash: (stage, args) => {
    const id = args.member();
    const word = args.optionalWord();
    if (word !== null && word !== "written") throw new Error(`'${word}' is no way to crash`);
    stage.crash(id, word === "written");
  },
  restart: (stage, args) => stage.actor(args.member()).start(),
  status: (stage, args) => tellStatuses(stage, args.members()),
  log: (stage, args) => tellLogs(stage, args.members()),
  "under-way": (stage) => {
    for (const message of stage.underWay) stage.tell(messageText(message));
    if (stage.underWay.length === 0) stage.tell("(nothing is under way)");
  },
  expect: (stage, args) => expectStatus(stage.actor(args.member()), args.pairs()),
};

function actorsOf(stage: Stage, word: string): readonly Actor[] {
  if (word === "all") return stage.actors.filter(({ isUp }) => isUp);
  return word.split(",").map((id) => stage.actor(id as MemberId));
}

/** Time passes for this member alone, until it asks for votes. */
function campaign(stage: Stage, actor: Actor): void {
  const isLeading = (): boolean => actor.status?.role === "leader";
  if (isLeading()) throw new Error(`${actor.id} leads already`);
  const before = stage.underWay.length;
  const lostBefore = stage.lostCount;
  for (let tick = 1; tick <= MOST_TICKS; tick += 1) {
    actor.act((engine) => engine.tick());
    if (stage.underWay.length === before && stage.lostCount === lostBefore && !isLeading()) continue;
    stage.tellFirst(`(after ${tick} tick${tick === 1 ? "" : "s"})`);
    return;
  }
  stage.tell(`(${actor.id} does not campaign within ${MOST_TICKS} ticks)`);
}

function cut(stage: Stage, word: string): void {
  const isOneWay = word.includes(">");
  const [left = "", right = ""] = word.split(isOneWay ? ">" : "|");
  for (const a of left.split(",")) {
    for (const b of right.split(",")) {
      const [from, to] = [stage.actor(a as MemberId).id, stage.actor(b as MemberId).id];
      stage.cut(from, to);
      if (!isOneWay) stage.cut(to, from);
    }
  }
}

function disk(stage: Stage, actor: Actor, mode: string | null): void {
  if (mode === "slow") {
    actor.isDiskSlow = true;
    return;
  }
  if (mode !== null && mode !== "quick") throw new Error(`a disk is slow or quick, not '${mode}'`);
  if (mode === "quick") actor.isDiskSlow = false;
  if (actor.isWaitingForDisk) actor.letDiskGoOn();
  else if (mode === null) stage.tell(`(${actor.id} does not wait for its disk)`);
}

function compact(stage: Stage, actor: Actor, keep: number): void {
  const floor = actor.store.compact(at(actor.store.applied - keep));
  actor.act((engine) => engine.compactedTo(floor));
  stage.tell(`${actor.id} has forgotten everything up to ${idText(floor)}`);
}

/** `snapshot m1>m2` all of it, or one step of it: `take`, `arrive`, `done`; `lost` is done without arriving. */
function snapshot(stage: Stage, args: Arguments): void {
  const { from, to } = args.way();
  const step = args.optionalWord() ?? "whole";
  const steps = { whole: ["take", "arrive", "done"], lost: ["done"] }[step] ?? [step];
  for (const name of steps) {
    if (name === "take") stage.takeSnapshot(from, to);
    else if (name === "arrive") stage.deliverSnapshot(from, to);
    else if (name === "done") stage.actor(from).act((engine) => engine.reportSnapshot(to));
    else throw new Error(`'${name}' is no step of a snapshot: take, arrive, done, lost`);
  }
}

function tellAnswer(stage: Stage, answer: ProposeAnswer | ConfigAnswer | ReadAnswer | TransferAnswer): void {
  if (!answer.ok) {
    const hint = answer.leaderId === null ? "nobody leads" : `${answer.leaderId} leads`;
    stage.tell(`refused: ${answer.reason} (${hint})`);
  } else if ("ids" in answer) stage.tell(`taken as ${answer.ids.map(idText).join(", ")}`);
  else if ("id" in answer) stage.tell(answer.id === null ? "nothing to do" : `taken as ${idText(answer.id)}`);
  else if ("to" in answer) stage.tell(`to ${answer.to}`);
}
