/** Messages, entries and work of an engine in the words of a transcript: an entry is `term/index`, a term is `t2`. */
import type { MemberId } from "../../src/base/ids.ts";
import { decodeConfig } from "../../src/raft/engine/membership.ts";
import type { ClusterConfig, Entry, EntryId, HardState, Message } from "../../src/raft/engine/message.ts";

const TYPE_WIDTH = 12;

/** `m1>m2  append        t2  after 1/1: 2/2 noop; commit 1`. */
export function messageText(message: Message): string {
  const { name, details } = wordsOf(message);
  const parts = [`${message.from}>${message.to}`, name.padEnd(TYPE_WIDTH), `t${message.term}`, details];
  return parts.filter((part) => part !== "").join("  ");
}

export function idText({ term, index }: EntryId): string {
  return `${term}/${index}`;
}

export function entryText(entry: Entry): string {
  return `${idText(entry)} ${contentText(entry)}`;
}

export function entriesText(entries: readonly Entry[]): string {
  return entries.map(entryText).join(", ");
}

/** `(m4 m2 m3) and (m1 m2 m3) learners (m5) soon (m1)`. */
export function configText({ voters, outgoing, learners, learnersNext }: ClusterConfig): string {
  const set = (ids: readonly MemberId[]): string => `(${ids.join(" ")})`;
  return [
    outgoing.length > 0 ? `${set(voters)} and ${set(outgoing)}` : set(voters),
    ...(learners.length > 0 ? [`learners ${set(learners)}`] : []),
    ...(learnersNext.length > 0 ? [`soon ${set(learnersNext)}`] : []),
  ].join(" ");
}

/** What of it is new. */
export function hardText(hard: HardState, before: HardState): readonly string[] {
  const isSameVote = hard.vote === before.vote && hard.term === before.term;
  return [
    ...(hard.term === before.term ? [] : [`term ${hard.term}`]),
    ...(isSameVote || hard.vote === null ? [] : [`vote for ${hard.vote}`]),
    ...(hard.commit === before.commit ? [] : [`commit ${hard.commit}`]),
  ];
}

function contentText({ kind, data }: Entry): string {
  switch (kind) {
    case "noop":
      return "noop";
    case "command":
      return new TextDecoder().decode(data);
    case "config":
      return configText(decodeConfig(data));
  }
}

interface Words {
  readonly name: string;
  readonly details: string;
}

function wordsOf(message: Message): Words {
  switch (message.type) {
    case "pre-vote":
    case "vote":
      return {
        name: message.type,
        details: `log ends ${idText(message.last)}${message.isTransfer ? "; the leader's wish" : ""}`,
      };
    case "pre-vote-response":
    case "vote-response": {
      const name = message.type === "vote-response" ? "vote" : "pre-vote";
      return { name: `${name} ${message.isGranted ? "yes" : "no"}`, details: "" };
    }
    case "append": {
      const entries = message.entries.length === 0 ? "nothing" : entriesText(message.entries);
      return {
        name: "append",
        details: `after ${idText(message.previous)}: ${entries}; commit ${message.commit}`,
      };
    }
    case "append-response": {
      if (message.rejection === null) return { name: "append yes", details: `up to ${message.index}` };
      return {
        name: "append no",
        details: `not at ${message.index}, perhaps at ${idText(message.rejection)}`,
      };
    }
    case "heartbeat":
      return { name: "heartbeat", details: `round ${message.round}; commit ${message.commit}` };
    case "heartbeat-response":
      return { name: "heard", details: `round ${message.round}` };
    case "timeout-now":
      return { name: "stand now", details: "" };
    case "snapshot": {
      const { meta } = message;
      const config = `${configText(meta.config.config)} of ${meta.config.index}`;
      return { name: "snapshot", details: `up to ${idText(meta)}; ${config}` };
    }
  }
}
