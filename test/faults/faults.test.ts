/** The most telling faults, once each, with short pauses; `make faults` has all of them, and takes its time. */

import { expect, test } from "bun:test";
import { NamespaceNetwork } from "../support/network-namespaces.ts";
import { FAULTS } from "./faults.ts";
import { Suite, setupOf } from "./suite.ts";

const TELLING: readonly string[] = [
  "postmaster of the primary killed",
  "member and supervisor of the primary killed",
  "host of the primary dies",
  "host of the leader frozen",
  "host of the primary cut off",
  "host of the leader mute",
  "primary and one standby cut from each other",
  "all of PostgreSQL frozen on the primary",
  "postmaster of the successor killed as it is promoted",
  "primary dies while the cohort changes",
  "hosts of the primary and of the leader die",
  "member of the primary frozen (async)",
  "host of the primary cut off (async)",
];
const FREEZE_MS = 10_000;
const MS_MAX = 170_000;

const SETUPS = [...new Set(FAULTS.filter(({ name }) => TELLING.includes(name)).map(setupOf))];
const refusal = NamespaceNetwork.refusal();

test("the telling faults are there", () => {
  expect(TELLING.filter((name) => !FAULTS.some((fault) => fault.name === name))).toEqual([]);
});

test("no two faults have one name", () => {
  expect(new Set(FAULTS.map(({ name }) => name)).size).toBe(FAULTS.length);
});

test.skipIf(refusal !== null).each(SETUPS)(
  `through every fault nothing promised is lost, one primary at a time acknowledges, and the cluster is whole again by itself: %s${refusal === null ? "" : ` (${refusal})`}`,
  async (setup) => {
    const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 0xffff_ffff));
    const say = (line: string) => process.stdout.write(`${line}\n`);
    say(`SEED=${seed}`);
    const suite = new Suite({ seed, freezeMs: FREEZE_MS, rollingMs: 0, reportFile: null, say });
    await suite.run(FAULTS.filter((fault) => TELLING.includes(fault.name) && setupOf(fault) === setup));
    expect(suite.outcomes.length).toBeGreaterThan(0);
    expect(suite.outcomes.flatMap(({ fault, broken }) => broken.map((each) => `${fault}: ${each}`))).toEqual(
      [],
    );
  },
  MS_MAX,
);
