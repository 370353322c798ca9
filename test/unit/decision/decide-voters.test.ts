import { expect, test } from "bun:test";
import { decideVoters } from "../../../src/decision/decide-voters.ts";
import { clusterState, id } from "../../support/situation.ts";

test("decideVoters() names the members that have no vote yet", () => {
  expect(decideVoters(clusterState(), [id("m1"), id("m2")])).toEqual([id("m3")]);
  expect(decideVoters(clusterState(), [id("m1"), id("m2"), id("m3")])).toEqual([]);
});
