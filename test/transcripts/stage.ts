import { defined } from "../../src/base/assert.ts";
import type { LogIndex, MemberId, Term } from "../../src/base/ids.ts";
import type { EngineLimits } from "../../src/raft/engine/limits.ts";
import type { ClusterConfig, Entry, Message } from "../../src/raft/engine/message.ts";
import { MemoryLogStore } from "../support/memory-log-store.ts";
import { Actor, at, TIMING } from "./actor.ts";
import { entryText, messageText } from "./wording.ts";

/** How a member begins. */
export interface Beginning {
  readonly id: MemberId;
  /** The terms of its entries, from index 1. */
  readonly log: readonly number[];
  readonly term: number;
  readonly commit: number;
  /** What it believed before its first entry. */
  readonly config: ClusterConfig | null;
  readonly promotableFrom: number;
  readonly patienceTicks: number | null;
}

/** One way between two members; null stands for everybody. */
export interface Link {
  readonly from: MemberId | null;
  readonly to: MemberId | null;
}

interface Snapshot {
  readonly message: Extract<Message, { type: "snapshot" }>;
  readonly content: unknown;
}

const MOST_MESSAGES = 2000;
/** Members lose patience one after the other, unless a transcript says otherwise. */
const PATIENCE_STEP = 3;

/**
 * Members and what is under way between them. Nothing moves by itself: a message arrives when the transcript says so.
 *
 * Two promises of Raft are held to on the way, whatever is recorded: a term has one leader, an index one applied entry.
 */
export class Stage {
  readonly #limits: Partial<EngineLimits>;
  readonly #actors = new Map<MemberId, Actor>();
  readonly #cut = new Set<string>();
  #underWay: Message[] = [];
  /** Messages that were sent into a cut. */
  #lostCount = 0;
  #lines: string[] = [];
  readonly #snapshots = new Map<string, Snapshot>();
  readonly #leaders = new Map<Term, MemberId>();
  readonly #applied = new Map<LogIndex, string>();

  constructor(limits: Partial<EngineLimits>) {
    this.#limits = limits;
  }

  get actors(): readonly Actor[] {
    return [...this.#actors.values()];
  }

  get underWay(): readonly Message[] {
    return this.#underWay;
  }

  get lostCount(): number {
    return this.#lostCount;
  }

  actor(id: MemberId): Actor {
    const actor = this.#actors.get(id);
    if (actor === undefined) throw new Error(`nobody is called '${id}'`);
    return actor;
  }

  add(beginning: Beginning): void {
    const { id, log, term, commit, config, promotableFrom } = beginning;
    const store = new MemoryLogStore({
      entries: log.map((entryTerm, index) => entryOf(entryTerm, index + 1)),
      hard: { term: term as Term, vote: null, commit: at(commit) },
      promotableFrom: at(promotableFrom),
    });
    if (config !== null) store.floorConfig = { index: at(0), config };
    const earliest = TIMING.electionTicksMin + 1 + PATIENCE_STEP * this.#actors.size;
    const patienceTicks = beginning.patienceTicks ?? Math.min(earliest, TIMING.electionTicksMax);
    const surroundings = {
      tell: (line: string): void => this.tell(line),
      send: (message: Message): boolean => this.#send(message),
    };
    this.#actors.set(id, new Actor({ id, store, limits: this.#limits, surroundings, patienceTicks }));
  }

  tell(line: string): void {
    this.#lines.push(line);
  }

  /** Above what was told since the last time. */
  tellFirst(line: string): void {
    this.#lines.unshift(line);
  }

  /** What was told since the last time. Holds the members to their promises. */
  takeTold(): readonly string[] {
    const lines = this.#lines;
    this.#lines = [];
    this.#checkPromises();
    return lines;
  }

  /** Up to `countMax` of what is under way on `link` now arrives; not what is sent in answer. */
  deliver(link: Link, countMax: number): void {
    const matching = this.#underWay.filter((message) => isOn(message, link)).slice(0, countMax);
    if (matching.length === 0) this.tell("(nothing is under way)");
    for (const message of matching) {
      this.#underWay = this.#underWay.filter((other) => other !== message);
      this.#arrive(message);
    }
  }

  drop(link: Link, countMax: number): void {
    const matching = this.#underWay.filter((message) => isOn(message, link)).slice(0, countMax);
    if (matching.length === 0) this.tell("(nothing is under way)");
    for (const message of matching) this.tell(`${messageText(message)}  (lost)`);
    this.#underWay = this.#underWay.filter((message) => !matching.includes(message));
  }

  /** The same once more, after what is under way already. */
  duplicate(link: Link): void {
    const copies = this.#underWay.filter((message) => isOn(message, link)).map((message) => ({ ...message }));
    for (const message of copies) this.tell(`${messageText(message)}  (twice)`);
    this.#underWay.push(...copies);
  }

  /** Delivers, in the order of sending, until nobody of `ids` has anything to receive. */
  stabilize(ids: readonly MemberId[]): void {
    for (let count = 0; count < MOST_MESSAGES; count += 1) {
      const message = this.#underWay.find(({ from, to }) => ids.includes(from) && ids.includes(to));
      if (message === undefined) return;
      this.#underWay = this.#underWay.filter((other) => other !== message);
      this.#arrive(message);
    }
    throw new Error(`still not quiet after ${MOST_MESSAGES} messages`);
  }

  /** What is under way there, and whatever is sent, is lost from now on. */
  cut(from: MemberId, to: MemberId): void {
    this.#cut.add(linkKey(from, to));
    this.#underWay = this.#underWay.filter((message) => message.from !== from || message.to !== to);
  }

  /** What was under way to it is lost with its connections; what it has sent may still arrive. */
  crash(id: MemberId, isWritten: boolean): void {
    this.actor(id).crash(isWritten);
    this.#underWay = this.#underWay.filter(({ to }) => to !== id);
  }

  heal(): void {
    this.#cut.clear();
  }

  /** The leader's state machine as it is now, for this follower. */
  takeSnapshot(from: MemberId, to: MemberId): Snapshot {
    const { store, engine } = this.actor(from);
    const { meta, content } = store.snapshot();
    const snapshot = {
      message: { type: "snapshot", from, to, term: engine.status().term, meta },
      content,
    } as const;
    this.#snapshots.set(linkKey(from, to), snapshot);
    return snapshot;
  }

  deliverSnapshot(from: MemberId, to: MemberId): void {
    const snapshot = defined(this.#snapshots.get(linkKey(from, to)), "a snapshot was taken for this member");
    this.#snapshots.delete(linkKey(from, to));
    this.actor(to).receiveSnapshot(snapshot.message, snapshot.content);
  }

  #send(message: Message): boolean {
    if (this.#cut.has(linkKey(message.from, message.to))) {
      this.#lostCount += 1;
      return false;
    }
    this.#underWay.push(message);
    return true;
  }

  #arrive(message: Message): void {
    const actor = this.#actors.get(message.to);
    if (actor === undefined) this.tell(`${messageText(message)}  (nobody is there)`);
    else actor.receive(message);
  }

  #checkPromises(): void {
    for (const { id, status, store } of this.#actors.values()) {
      if (status?.role === "leader") {
        const known = this.#leaders.get(status.term) ?? id;
        if (known !== id) throw new Error(`term ${status.term} is led by ${known} and by ${id}`);
        this.#leaders.set(status.term, id);
      }
      for (const entry of store.entries) {
        if (entry.index > store.applied) break;
        const text = entryText(entry);
        const known = this.#applied.get(entry.index) ?? text;
        if (known !== text) throw new Error(`${id} applied ${text}, but somebody else ${known}`);
        this.#applied.set(entry.index, text);
      }
    }
  }
}

function entryOf(term: number, index: number): Entry {
  return {
    term: term as Term,
    index: at(index),
    kind: "command",
    // Its id names it already.
    data: new TextEncoder().encode("old"),
  };
}

function isOn(message: Message, { from, to }: Link): boolean {
  return (from === null || message.from === from) && (to === null || message.to === to);
}

function linkKey(from: MemberId, to: MemberId): string {
  return `${from}>${to}`;
}
