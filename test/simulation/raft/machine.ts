import type { Entry } from "../../../src/raft/engine/message.ts";

/** What a client asks of the replicated state. `id` is its own, for ever: a command that comes twice happens once. */
export interface Command {
  readonly id: string;
  readonly kind: "write" | "compare-and-set" | "append";
  readonly key: string;
  readonly value: string;
  /** Of `compare-and-set`. */
  readonly expected: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeCommand({ id, kind, key, value, expected }: Command): Uint8Array {
  return encoder.encode([id, kind, key, value, expected].join("|"));
}

/** The id alone, of whatever a log holds. */
export function commandId(data: Uint8Array): string {
  return decodeCommand(data).id;
}

function decodeCommand(data: Uint8Array): Command {
  const [id = "", kind = "", key = "", value = "", expected = ""] = decoder.decode(data).split("|");
  return { id, kind: kind as Command["kind"], key, value, expected };
}

/**
 * The replicated state: registers and lists, what each command was answered, and a hash over everything that was ever
 * applied.
 */
export class Machine {
  hash = 0x811c9dc5;
  readonly #values: Map<string, string>;
  /** A command that comes again gets its first answer. */
  readonly #answers: Map<string, string>;

  constructor(of?: Machine) {
    this.#values = new Map(of === undefined ? [] : of.#values);
    this.#answers = new Map(of === undefined ? [] : of.#answers);
    if (of !== undefined) this.hash = of.hash;
  }

  copy(): Machine {
    return new Machine(this);
  }

  has(id: string): boolean {
    return this.#answers.has(id);
  }

  value(key: string): string {
    return this.#values.get(key) ?? "";
  }

  /** @returns the answer to a command; null for entries of Raft's own. */
  apply(entry: Entry): string | null {
    this.hash = (Math.imul(this.hash, 0x01000193) ^ contentHash(entry) ^ (entry.term * 7919)) >>> 0;
    if (entry.kind !== "command") return null;
    const command = decodeCommand(entry.data);
    const known = this.#answers.get(command.id);
    if (known !== undefined) return known;
    const answer = this.#carryOut(command);
    this.#answers.set(command.id, answer);
    return answer;
  }

  /** A register answers with what it held before, a list with what it holds now. */
  #carryOut({ kind, key, value, expected }: Command): string {
    const before = this.value(key);
    switch (kind) {
      case "write":
        this.#values.set(key, value);
        return before;
      case "compare-and-set":
        if (before === expected) this.#values.set(key, value);
        return before;
      case "append": {
        const after = before === "" ? value : `${before},${value}`;
        this.#values.set(key, after);
        return after;
      }
    }
  }
}

const hashes = new WeakMap<Entry, number>();

/** Of what an entry says, without its name. Members pass entries on as they are, so each is computed once. */
export function contentHash(entry: Entry): number {
  const known = hashes.get(entry);
  if (known !== undefined) return known;
  let hash = 0x811c9dc5 ^ entry.kind.length;
  for (const byte of entry.data) hash = Math.imul(hash ^ byte, 0x01000193);
  hashes.set(entry, hash >>> 0);
  return hash >>> 0;
}
