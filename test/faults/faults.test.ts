/** The most telling faults, once each, with short pauses; `make faults` has all of them, and takes its time. */

import { expect, test } from "bun:test";
import { NamespaceNetwork } from "../support/network-namespaces.ts";
import { FAULTS } from "./faults.ts";
import { Suite } from "./suite.ts";

const TELLING: readonly string[] = [
  "postmaster of the primary killed",
  "member and supervisor of the primary killed",
  "host of the primary dies",
  "host of the leader frozen",
  "host of the primary cut off",
  "host of the leader mute",
  "primary and one standby cut from each other",
];
const FREEZE_MS = 10_000;
const MS_MAX = 170_000;

const refusal = NamespaceNetwork.refusal();

test("the telling faults are there", () => {
  expect(TELLING.filter((name) => !FAULTS.some((fault) => fault.name === name))).toEqual([]);
});

test("no two faults have one name", () => {
  expect(new Set(FAULTS.map(({ name }) => name)).size).toBe(FAULTS.length);
});

test.skipIf(refusal !== null)(
  `through every fault nothing acknowledged is lost, one primary at a time acknowledges, and the cluster is whole again by itself${refusal === null ? "" : ` (${refusal})`}`,
  async () => {
    const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 0xffff_ffff));
    const say = (line: string) => process.stdout.write(`${line}\n`);
    say(`SEED=${seed}`);
    const suite = new Suite({ seed, freezeMs: FREEZE_MS, rollingMs: 0, reportFile: null, say });
    await suite.run(FAULTS.filter(({ name }) => TELLING.includes(name)));
    expect(suite.outcomes.flatMap(({ fault, broken }) => broken.map((each) => `${fault}: ${each}`))).toEqual(
      [],
    );
  },
  MS_MAX,
);
