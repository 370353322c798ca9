import { expect, test } from "bun:test";
import { servedRole } from "../../../src/decision/served-role.ts";
import {
  clusterState,
  epoch,
  pledgedStandby,
  primary,
  reign,
  standby,
  status,
} from "../../support/situation.ts";

const fence = { reason: "member-lost", preferredId: null, fencedAtWallMs: 0 };
const reigning = clusterState({ reign: reign() });
const ended = clusterState({ reign: reign({ fence }) });
const asPrimary = primary(1, ["m2", "m3"]);

test.each([
  ["the appointed primary", reigning, status("m1", { postgres: asPrimary }), "primary"],
  ["a standby that streams", reigning, status("m2", { postgres: standby() }), "replica"],
  ["a standby that receives nothing", reigning, status("m2", { postgres: pledgedStandby() }), null],
  ["the appointed one before its promotion", reigning, status("m1", { postgres: standby() }), null],
  ["a primary that nobody appointed", reigning, status("m2", { postgres: asPrimary }), null],
  [
    "a primary that has promised to end",
    reigning,
    status("m1", { postgres: asPrimary, promises: { pledgedEpoch: epoch(1) } }),
    null,
  ],
  ["a primary that is being ended", ended, status("m1", { postgres: asPrimary }), null],
  [
    "anybody before the first reign",
    clusterState({ reign: null }),
    status("m2", { postgres: standby() }),
    null,
  ],
] as const)("%s", (_what, state, seen, role) => {
  expect(servedRole(state, seen)).toBe(role);
});
