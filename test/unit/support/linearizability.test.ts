import { describe, expect, test } from "bun:test";
import { checkHistory, checkPerKey, type History, type Operation } from "../../support/linearizability.ts";
import {
  EMPTY_REGISTER,
  LIST,
  type ListInput,
  type ListOutput,
  REGISTER,
  type RegisterInput,
  type RegisterOutput,
} from "../../support/linearizability-models.ts";
import { SeededRandom } from "../../support/seeded-random.ts";

type RegisterOperation = Operation<RegisterInput, RegisterOutput>;

function operation(
  input: RegisterInput,
  calledAt: number,
  at: number | null,
  before = EMPTY_REGISTER,
): RegisterOperation {
  return { input, calledAt, answer: at === null ? null : { at, output: { before } } };
}

function write(value: string, from: number, to: number | null, before = EMPTY_REGISTER): RegisterOperation {
  return operation({ key: "x", kind: "write", value }, from, to, before);
}

function read(value: string, from: number, to: number): RegisterOperation {
  return operation({ key: "x", kind: "read" }, from, to, value);
}

function set(
  expected: string,
  value: string,
  from: number,
  to: number | null,
  before: string,
): RegisterOperation {
  return operation({ key: "x", kind: "compare-and-set", expected, value }, from, to, before);
}

function append(
  value: string,
  from: number,
  to: number | null,
  list: string,
): Operation<ListInput, ListOutput> {
  const answer = to === null ? null : { at: to, output: { list } };
  return { input: { key: "l", kind: "append", value }, calledAt: from, answer };
}

function readList(list: string, from: number, to: number): Operation<ListInput, ListOutput> {
  return { input: { key: "l", kind: "read" }, calledAt: from, answer: { at: to, output: { list } } };
}

describe("a register is linearizable", () => {
  test.each<[string, History<RegisterInput, RegisterOutput>]>([
    ["when nothing happened", []],
    ["one after the other", [write("a", 0, 1), read("a", 2, 3)]],
    ["when a concurrent read sees the old value", [write("a", 0, 9), read("", 2, 3)]],
    ["when a concurrent read sees the new value", [write("a", 0, 9), read("a", 2, 3)]],
    [
      "when two concurrent writes took effect in the order that a read tells",
      [write("a", 0, 9, "b"), write("b", 0, 9), read("a", 10, 11)],
    ],
    ["when what touches is taken for concurrent", [write("a", 0, 5), read("", 5, 6)]],
    ["when an open write took effect late", [write("a", 0, null), read("", 2, 3), read("a", 4, 5)]],
    ["when an open write never took effect", [write("a", 0, null), read("", 50, 51)]],
    ["when a comparison failed truthfully", [write("a", 0, 1), set("b", "c", 2, 3, "a"), read("a", 4, 5)]],
    [
      "when an open comparison took effect",
      [write("a", 0, 1), set("a", "b", 2, null, "a"), read("a", 4, 5), read("b", 6, 7)],
    ],
    [
      "when an open comparison could only follow an open write",
      [write("a", 0, null), set("a", "b", 1, null, "a"), read("b", 6, 7)],
    ],
  ])("%s", (_name, history) => {
    expect(checkHistory(REGISTER, history)).toEqual({ kind: "linearizable" });
  });
});

describe("a register is not linearizable", () => {
  test.each<[string, History<RegisterInput, RegisterOutput>]>([
    ["when a read is stale", [write("a", 0, 1), write("b", 2, 3, "a"), read("a", 4, 5)]],
    ["when a value goes back", [write("a", 0, 9), read("a", 2, 3), read("", 4, 5)]],
    ["when a value comes from nowhere", [write("a", 0, 1), read("c", 2, 3)]],
    [
      "when an open write takes effect twice",
      [write("a", 0, null), read("a", 1, 2), write("b", 3, 4, "a"), read("a", 5, 6)],
    ],
    ["when an update is lost", [write("a", 0, 1), write("b", 2, 3, "")]],
    ["when two comparisons with the same value win", [set("", "a", 0, 9, ""), set("", "b", 0, 9, "")]],
    ["when a value is read before it is written", [read("a", 0, 1), write("a", 2, 3)]],
  ])("%s", (_name, history) => {
    expect(checkHistory(REGISTER, history).kind).toBe("broken");
  });

  test("and the shortest history that shows it is told, without what nobody saw", () => {
    const history = [
      write("z", 0, null),
      write("a", 1, 2),
      write("b", 3, 4, "a"),
      read("a", 5, 6),
      write("later", 7, 8, "b"),
    ];
    const verdict = checkHistory(REGISTER, history);
    if (verdict.kind !== "broken") throw new Error("a stale read went unnoticed");
    expect(verdict.prefix).toEqual(history.slice(1, 4));
    expect(verdict.text).toBe(
      [
        "not linearizable; the longest order that fits (called-answered, what):",
        "  1-2 x: write 'a' -> ''",
        "  3-4 x: write 'b' -> 'a'",
        "after which these fit nowhere:",
        "  5-6 x: read -> 'a'",
      ].join("\n"),
    );
  });
});

describe("a list", () => {
  test("is linearizable with an open append in the middle", () => {
    const history = [
      append("a", 0, 1, "a"),
      append("b", 2, null, ""),
      append("c", 3, 4, "a,b,c"),
      readList("a,b,c", 5, 6),
    ];
    expect(checkHistory(LIST, history).kind).toBe("linearizable");
  });

  test("is not linearizable if an element disappears, or comes twice", () => {
    const start = [append("a", 0, 1, "a"), append("b", 2, 3, "a,b")];
    expect(checkHistory(LIST, [...start, readList("a", 4, 5)]).kind).toBe("broken");
    expect(checkHistory(LIST, [...start, readList("a,b,b", 4, 5)]).kind).toBe("broken");
  });
});

describe("keys", () => {
  test("are searched alone, and one that is broken is enough", () => {
    const other = { ...read("c", 2, 3), input: { key: "y", kind: "read" } as const };
    expect(checkPerKey(REGISTER, [write("a", 0, 1), read("a", 2, 3)]).kind).toBe("linearizable");
    expect(checkPerKey(REGISTER, [write("a", 0, 1), other]).kind).toBe("broken");
  });
});

describe("against chance", () => {
  test("whatever a true register answers is linearizable, also long histories with many time-outs", () => {
    for (let seed = 1; seed <= 60; seed += 1) {
      const history = trueHistory(new SeededRandom(seed), 300, 6, 10);
      expect(checkHistory(REGISTER, history)).toEqual({ kind: "linearizable" });
    }
  });

  test("on small histories, true or changed, the search says what trying every order says", () => {
    const counts = { linearizable: 0, broken: 0 };
    for (let seed = 1; seed <= 3_000; seed += 1) {
      const random = new SeededRandom(seed);
      const history = changed(random, trueHistory(random, 6, 3, 20));
      const isRight = someOrderFits(history);
      const { kind } = checkHistory(REGISTER, history);
      expect({ seed, kind }).toEqual({ seed, kind: isRight ? "linearizable" : "broken" });
      counts[isRight ? "linearizable" : "broken"] += 1;
    }
    // Both must occur often, or the comparison says nothing.
    expect(Math.min(counts.linearizable, counts.broken)).toBeGreaterThan(500);
  });
});

/** Clients of a register that really is one: each operation takes effect at a moment within it. */
function trueHistory(
  random: SeededRandom,
  count: number,
  clientCount: number,
  openPercent: number,
): RegisterOperation[] {
  const freeAt = Array.from({ length: clientCount }, () => 0);
  const planned = Array.from({ length: count }, (_, at) => {
    const client = random.integer(0, clientCount - 1);
    const calledAt = (freeAt[client] ?? 0) + random.integer(0, 3);
    const effectAt = calledAt + random.integer(0, 6) + at / 1_000;
    const answeredAt = effectAt + random.integer(0, 6);
    freeAt[client] = answeredAt + 0.5;
    return { calledAt, effectAt, answeredAt, isOpen: random.chance(openPercent) };
  });
  let value = EMPTY_REGISTER;
  return planned
    .toSorted((a, b) => a.effectAt - b.effectAt)
    .map(({ calledAt, answeredAt, isOpen }, at) => {
      const input = anyInput(random, at, value);
      const before = value;
      const isLost = isOpen && random.chance(50);
      if (!isLost) value = REGISTER.step(value, input, { before }) ?? value;
      return operation(input, calledAt, isOpen ? null : answeredAt, before);
    });
}

function anyInput(random: SeededRandom, at: number, value: string): RegisterInput {
  const kind = random.pick(["read", "write", "compare-and-set"] as const) ?? "read";
  if (kind === "read") return { key: "x", kind };
  if (kind === "write") return { key: "x", kind, value: `v${at}` };
  return { key: "x", kind, expected: random.chance(50) ? value : EMPTY_REGISTER, value: `v${at}` };
}

/** Half of the histories tell one answer wrongly. */
function changed(random: SeededRandom, history: RegisterOperation[]): RegisterOperation[] {
  const victim = random.integer(0, history.length * 2 - 1);
  const values = [
    EMPTY_REGISTER,
    ...history.flatMap(({ input }) => (input.kind === "read" ? [] : [input.value])),
  ];
  return history.map((each, at) =>
    at === victim && each.answer !== null
      ? { ...each, answer: { ...each.answer, output: { before: random.pick(values) ?? EMPTY_REGISTER } } }
      : each,
  );
}

/** The definition itself: tries every order of every choice of open operations. */
function someOrderFits(history: History<RegisterInput, RegisterOutput>): boolean {
  const place = (left: History<RegisterInput, RegisterOutput>, state: string): boolean => {
    if (left.every(({ answer }) => answer === null)) return true;
    const firstAnswer = Math.min(...left.map(({ answer }) => answer?.at ?? Number.POSITIVE_INFINITY));
    return left.some((next, at) => {
      if (next.calledAt > firstAnswer) return false;
      const after = REGISTER.step(state, next.input, next.answer?.output ?? null);
      return after !== null && place(left.toSpliced(at, 1), after);
    });
  };
  return place(history, EMPTY_REGISTER);
}
