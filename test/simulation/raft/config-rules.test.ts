import { expect, test } from "bun:test";
import type { MemberId } from "../../../src/base/ids.ts";
import type { ClusterConfig } from "../../../src/raft/engine/message.ts";
import { hasQuorum } from "../../../src/raft/engine/quorum.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { holdsQuorum, quorumsMeet } from "./config-rules.ts";

const EVERYBODY = ["m1", "m2", "m3", "m4", "m5", "m6", "m7"] as readonly string[] as readonly MemberId[];

function anyConfig(random: SeededRandom): ClusterConfig {
  const some = (): readonly MemberId[] => random.shuffle(EVERYBODY).slice(0, random.integer(1, 7));
  return { voters: some(), outgoing: random.chance(50) ? some() : [], learners: [], learnersNext: [] };
}

/** Every set of members, each as a function that says who is in it. */
const SETS = Array.from(
  { length: 2 ** EVERYBODY.length },
  (_, bits) => (id: MemberId) => ((bits >> EVERYBODY.indexOf(id)) & 1) === 1,
);

test("a quorum is what the engine takes for one, although it is written down twice", () => {
  const random = new SeededRandom(1);
  for (let round = 0; round < 200; round += 1) {
    const config = anyConfig(random);
    for (const has of SETS) expect(holdsQuorum(config, has)).toBe(hasQuorum(config, has));
  }
});

test("quorums meet exactly if no two of them are apart", () => {
  const random = new SeededRandom(2);
  const counts = { meet: 0, apart: 0 };
  for (let round = 0; round < 1_000; round += 1) {
    const a = anyConfig(random);
    const b = anyConfig(random);
    // Of two sets that are apart, one is a quorum of the one and its complement holds a quorum of the other.
    const isApart = SETS.some((has) => holdsQuorum(a, has) && holdsQuorum(b, (id) => !has(id)));
    counts[isApart ? "apart" : "meet"] += 1;
    expect({ a, b, meet: quorumsMeet(a, b) }).toEqual({ a, b, meet: !isApart });
  }
  expect(Math.min(counts.meet, counts.apart)).toBeGreaterThan(100);
});
