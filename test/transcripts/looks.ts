/** Looking at members without touching them. */
import { isDeepStrictEqual } from "node:util";
import type { MemberId } from "../../src/base/ids.ts";
import type { EngineStatus, FollowerStatus } from "../../src/raft/engine/engine.ts";
import { type Actor, roleText } from "./actor.ts";
import type { Stage } from "./stage.ts";
import { configText, entriesText, idText } from "./wording.ts";

const ROLE_WIDTH = 26;

/** A line per member; below a leader, how it sees its followers. */
export function tellStatuses(stage: Stage, ids: readonly MemberId[]): void {
  for (const { id, status, store } of chosen(stage, ids)) {
    if (status === null) {
      stage.tell(`${id}  is down`);
      continue;
    }
    const { commitIndex, appliedIndex, lastIndex, floorIndex, config, isConfigPending } = status;
    const numbers = `commit ${commitIndex}  applied ${appliedIndex}  last ${lastIndex}  floor ${floorIndex}`;
    const pending = isConfigPending ? ", not committed" : "";
    stage.tell(`${id}  ${roleText(status).padEnd(ROLE_WIDTH)}${numbers}  ${configText(config)}${pending}`);
    const vote = store.hard.vote;
    if (vote !== null && status.leaderId !== vote) stage.tell(`      has voted for ${vote}`);
    for (const follower of status.followers) stage.tell(`      ${followerText(follower)}`);
  }
}

/** What is on their disks: committed entries, then `|`, then the others. */
export function tellLogs(stage: Stage, ids: readonly MemberId[]): void {
  for (const { id, status, store } of chosen(stage, ids)) {
    const commit = status?.commitIndex ?? store.hard.commit;
    const floor = store.floor.index === 0 ? "" : `(${idText(store.floor)}) `;
    const committed = store.entries.filter(({ index }) => index <= commit);
    const others = store.entries.filter(({ index }) => index > commit);
    stage.tell(`${id}  ${floor}${entriesText(committed)} | ${entriesText(others)}`.trimEnd());
  }
}

/** @throws if it is not so: what must be true is not left to whoever reads a recorded transcript. */
export function expectStatus(actor: Actor, pairs: readonly (readonly [key: string, value: string])[]): void {
  if (pairs.length === 0) throw new Error("expect what? (role=leader commit=5 …)");
  const facts = factsOf(actor);
  const wanted = Object.fromEntries(pairs);
  const found = Object.fromEntries(pairs.map(([key]) => [key, facts[key]]));
  if (isDeepStrictEqual(found, wanted)) return;
  throw new Error(`${actor.id} should be ${JSON.stringify(wanted)}, but is ${JSON.stringify(found)}`);
}

function factsOf({ status, store }: Actor): Readonly<Record<string, string>> {
  const holds = store.commands.map(({ data }) => new TextDecoder().decode(data)).join(",");
  const disk = { holds, "disk-last": idText(store.last), "disk-term": `${store.hard.term}` };
  return status === null ? { ...disk, role: "down" } : { ...disk, ...engineFacts(status) };
}

function engineFacts(status: EngineStatus): Readonly<Record<string, string>> {
  const { config } = status;
  return {
    role: status.role,
    term: `${status.term}`,
    leader: status.leaderId ?? "nobody",
    commit: `${status.commitIndex}`,
    applied: `${status.appliedIndex}`,
    last: `${status.lastIndex}`,
    floor: `${status.floorIndex}`,
    voters: config.voters.join(","),
    outgoing: config.outgoing.join(","),
    learners: config.learners.join(","),
    soon: config.learnersNext.join(","),
    pending: status.isConfigPending ? "yes" : "no",
    ready: status.isReady ? "yes" : "no",
    transferring: status.isTransferring ? "yes" : "no",
    ...Object.fromEntries(status.followers.map(({ id, state }) => [id, state])),
  };
}

function followerText({ id, state, matchIndex, isActive, isCaughtUp }: FollowerStatus): string {
  const notes = [...(isActive ? [] : ["silent"]), ...(isCaughtUp ? [] : ["not caught up"])];
  return [`${id} ${state} at ${matchIndex}`, ...notes].join(", ");
}

function chosen(stage: Stage, ids: readonly MemberId[]): readonly Actor[] {
  return ids.length === 0 ? stage.actors : ids.map((id) => stage.actor(id));
}
