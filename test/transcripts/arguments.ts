import type { MemberId } from "../../src/base/ids.ts";
import type { EngineLimits } from "../../src/raft/engine/limits.ts";
import { DEFAULT_LIMITS } from "../../src/raft/engine/limits.ts";
import type { ClusterConfig } from "../../src/raft/engine/message.ts";
import type { Link } from "./stage.ts";

/** The words after a command: some name things, some set values (`voters=m1,m2`). Every one must be understood. */
export class Arguments {
  readonly #words: string[];
  readonly #values = new Map<string, string>();

  constructor(words: readonly string[]) {
    this.#words = words.filter((word) => !word.includes("="));
    for (const word of words.filter((other) => other.includes("="))) {
      const [key = "", ...value] = word.split("=");
      this.#values.set(key, value.join("="));
    }
  }

  /** @throws if something was written that no command asked for: it would have had no effect. */
  end(): void {
    const rest = [...this.#words, ...this.#values.keys()];
    if (rest.length > 0) throw new Error(`this command does not know what to do with: ${rest.join(" ")}`);
  }

  word(): string {
    const word = this.optionalWord();
    if (word === null) throw new Error("this command needs one more word");
    return word;
  }

  optionalWord(): string | null {
    return this.#words.shift() ?? null;
  }

  words(): readonly string[] {
    return this.#words.splice(0);
  }

  member(): MemberId {
    return memberId(this.word());
  }

  /** Empty where none is named. */
  members(): readonly MemberId[] {
    return this.words().map(memberId);
  }

  count(fallback: number): number {
    const word = this.optionalWord();
    return word === null ? fallback : numberOf(word);
  }

  value(key: string): string | null {
    const value = this.#values.get(key) ?? null;
    this.#values.delete(key);
    return value;
  }

  number(key: string, fallback: number): number {
    const value = this.value(key);
    return value === null ? fallback : numberOf(value);
  }

  /** `m1,m2`; empty where nothing is said. */
  memberList(key: string): readonly MemberId[] {
    return list(this.value(key)).map(memberId);
  }

  numberList(key: string): readonly number[] | null {
    const value = this.value(key);
    return value === null ? null : list(value).map(numberOf);
  }

  /** `m1=3 m2=1`. */
  pairs(): readonly (readonly [string, string])[] {
    const pairs = [...this.#values];
    this.#values.clear();
    return pairs;
  }

  config(): ClusterConfig {
    return {
      voters: this.memberList("voters"),
      outgoing: this.memberList("outgoing"),
      learners: this.memberList("learners"),
      learnersNext: this.memberList("soon"),
    };
  }

  /** `m1>m2`, `m2` (everything to it), or nothing (everything). */
  link(): Link {
    const word = this.optionalWord();
    if (word === null) return { from: null, to: null };
    const [first = "", second] = word.split(">");
    if (second === undefined) return { from: null, to: memberId(first) };
    return { from: first === "" ? null : memberId(first), to: second === "" ? null : memberId(second) };
  }

  way(): { readonly from: MemberId; readonly to: MemberId } {
    const { from, to } = this.link();
    if (from === null || to === null) throw new Error("this command needs two members, like m1>m2");
    return { from, to };
  }

  limits(): Partial<EngineLimits> {
    const limits: Record<string, number> = {};
    for (const key of Object.keys(DEFAULT_LIMITS)) {
      const value = this.value(key);
      if (value !== null) limits[key] = numberOf(value);
    }
    return limits;
  }
}

function list(value: string | null): readonly string[] {
  return value === null || value === "" ? [] : value.split(",");
}

function memberId(word: string): MemberId {
  if (!/^m\d+$/.test(word)) throw new Error(`'${word}' is no member; they are called m1, m2, …`);
  return word as MemberId;
}

function numberOf(word: string): number {
  const value = Number(word);
  if (word === "" || !Number.isSafeInteger(value)) throw new Error(`'${word}' is no number`);
  return value;
}
