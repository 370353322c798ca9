/** What people say about failovers on the command line, through the real API. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { ExplanationDocument, LossOfferDocument, TopologyDocument } from "../../../src/api/documents.ts";
import { DEFAULT_TAGS } from "../../../src/cluster/member.ts";
import {
  applyCommands,
  M1,
  M2,
  M3,
  memberOf,
  observed,
  PRIMARY,
  reignOf,
  stateOf,
  statusOf,
} from "../api/fixture.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

let member: FakeMember;
beforeEach(async () => {
  member = await startFakeMember();
  member.fake.state = stateOf({ featureLevel: 3 });
  applyCommands(member.fake);
});
afterEach(() => member.close());

async function lostBy(argv: readonly string[]): Promise<readonly string[]> {
  const { code, out } = await member.guacamole(["explain", ...argv, "--output", "json"]);
  expect(code).toBe(0);
  return (JSON.parse(out) as ExplanationDocument).lost;
}

describe("guacamole explain", () => {
  beforeEach(() => {
    const tags = { ...DEFAULT_TAGS, zone: "a" };
    const members = [memberOf(M1, "m1"), memberOf(M2, "m2", { tags }), memberOf(M3, "m3")];
    member.fake.state = stateOf({ members });
  });

  test.each([
    [["--if", "m1 lost"], ["m1"]],
    [
      ["--if", "m1,m3 lost"],
      ["m1", "m3"],
    ],
    [
      ["--if", "m1 and m3 are lost"],
      ["m1", "m3"],
    ],
    [
      ["--lost", "m1, m3"],
      ["m1", "m3"],
    ],
    [
      ["--if", "m1 lost", "--lost", "m3"],
      ["m3", "m1"],
    ],
    [
      ["--if", "zone=a lost", "--lost", "m1"],
      ["m1", "m2"],
    ],
    [
      ["--if", "zone a, m3 lost"],
      ["m3", "m2"],
    ],
    [
      ["--if", "m1 lost", "--zone", "a"],
      ["m1", "m2"],
    ],
    [["--if", "zone=a lost", "--zone", "a"], ["m2"]],
  ])("%p asks about all that is named", async (argv, lost) => {
    expect(await lostBy(argv)).toEqual(lost);
  });

  test("of nobody is no question, and neither are two zones", async () => {
    for (const argv of [
      ["--if", "lost"],
      ["--if", ""],
      ["--if", "zone=a lost", "--zone", "b"],
    ]) {
      const { code, out, err } = await member.guacamole(["explain", ...argv]);
      expect([code, out]).toEqual([2, ""]);
      expect(err).toContain("guacamole: ");
    }
  });

  test("of most voters says how to get a majority again, and nothing of the leader's network", async () => {
    const { out } = await member.guacamole(["explain", "--if", "m1,m2 lost"]);
    expect(out).toContain("Nobody takes over by itself: Too few voters are left to agree on anything.");
    expect(out).toContain("What to do: Bring members back until most voters are up");
    expect(out).not.toContain("network");
  });
});

test("guacamole failover that is refused shows the loss that could be taken, and how", async () => {
  const { fake } = member;
  const fence = { reason: "member-lost", preferredId: null, fencedAtWallMs: 0 };
  fake.state = stateOf({ featureLevel: 3, reign: reignOf({ fence }) });
  fake.observations.delete(M3);
  fake.observations.set(M1, observed(statusOf(M1, PRIMARY)));
  fake.selfId = M2;
  const { code, out, err } = await member.guacamole(["failover"]);
  expect([code, out]).toEqual([3, ""]);
  expect(err).toContain("guacamole: The reign is being ended already.");
  expect(err).toContain("A person may take a loss: m2 would follow at 3:0/4C4758");
  const asJson = await member.guacamole(["failover", "--output", "json"]);
  const { lossOffer } = JSON.parse(asJson.err) as { lossOffer: LossOfferDocument };
  expect(lossOffer).toMatchObject({ epoch: 3, member: "m2" });
  expect(err).toContain(`guacamole failover --accept-loss ${lossOffer.token}`);
  expect((await member.guacamole(["failover", "--accept-loss", lossOffer.token])).code).toBe(0);
  expect(fake.state.acceptedLoss).toMatchObject({ memberId: M2 });
});

describe("guacamole topology set", () => {
  test("changes every policy of failovers and the lease, and show tells", async () => {
    const { code, out } = await member.guacamole(
      "topology set --on-crash restart --restart-max 20s --calm 1m --crash-loop-count 3 --crash-loop 1500ms --disk-stall 700 --lease 4s --output json".split(
        " ",
      ),
    );
    expect(code).toBe(0);
    const { failover, timing } = JSON.parse(out) as TopologyDocument;
    expect(failover).toEqual({
      onCrash: "restart",
      restartMsMax: 20_000,
      calmMs: 60_000,
      crashLoopCount: 3,
      crashLoopMs: 1_500,
      diskStallMs: 700,
    });
    expect(timing).toMatchObject({ suspectMs: 1_000, leaseMs: 4_000 });
    const shown = await member.guacamole(["topology", "show"]);
    expect(shown.out).toContain("on crash   restart; where it is to come back, waited for 20 s\n");
    expect(shown.out).toContain("3 primaries that fall within 1500 ms are a crash loop");
  });

  test("changes one and leaves the others", async () => {
    const { out } = await member.guacamole(["topology", "set", "--calm", "0", "--output", "json"]);
    const { failover } = JSON.parse(out) as TopologyDocument;
    expect(failover).toMatchObject({ onCrash: "auto", calmMs: 0, crashLoopCount: 4, diskStallMs: 3_000 });
    expect(member.fake.commands).toHaveLength(1);
  });

  test.each([
    [["--lease", "soon"], 2, "A duration looks like"],
    [["--crash-loop-count", "few"], 2, "A whole number is wanted"],
    [["--timing", "wan", "--lease", "20s"], 2, "brings a lease of its own"],
    [["--lease", "600ms"], 3, "at least twice suspectMs"],
    [["--disk-stall", "10ms"], 3, ""],
    [["--crash-loop-count", "1"], 3, ""],
  ])("%p is refused, and changes nothing", async (argv, wanted, words) => {
    const { code, err } = await member.guacamole(["topology", "set", ...argv]);
    expect(code).toBe(wanted);
    expect(err).toContain(words);
    expect(member.fake.commands).toEqual([]);
  });

  test("every flag is explained and completed", async () => {
    const { out } = await member.guacamole(["topology", "set", "--help"]);
    const bash = await member.guacamole(["completion", "bash"]);
    const flags = ["restart-max", "calm", "crash-loop-count", "crash-loop", "disk-stall", "lease"];
    for (const flag of flags) {
      expect(out).toContain(`--${flag} <`);
      expect(bash.out).toContain(`--${flag}`);
    }
  });
});
