import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TimelineId } from "../../../src/base/ids.ts";
import type { Lsn } from "../../../src/base/lsn.ts";
import { applyCommands, M1, M2, M3, PRIMARY, statusOf } from "../api/fixture.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

let member: FakeMember;
let directory: string;
beforeEach(async () => {
  member = await startFakeMember();
  directory = mkdtempSync(join(tmpdir(), "guacamole-cli-"));
  applyCommands(member.fake);
  const { state } = member.fake;
  if (state !== null) member.fake.state = { ...state, featureLevel: 3 };
});
afterEach(async () => {
  await member.close();
  rmSync(directory, { recursive: true, force: true });
});

describe("member list", () => {
  test("shows the vote of each, and how far it has caught up", async () => {
    const ends = { memberEndsAtMs: Date.UTC(2027, 4, 1), apiEndsAtMs: Date.UTC(2028, 0, 1) };
    const certificates = { ...ends, authorityEndsAtMs: Date.UTC(2036, 0, 1), problems: [] };
    const trust = { issuer: "ab".repeat(32), trusted: ["ab".repeat(32), "cd".repeat(32)] };
    member.fake.local = statusOf(M1, PRIMARY, { certificates: { ...certificates, ...trust } });
    const { out } = await member.guacamole(["member", "list"]);
    expect(out.split("\n").slice(0, 3)).toEqual([
      "MEMBER  ROLE     STATE      VOTE   CAUGHT UP  LEADER  VERSION  CERTIFICATES UNTIL  AUTHORITY              API",
      "m1      primary  running    voter  yes        *       0.1.0    2027-05-01          abababab, trusts both  m1.test:8008",
      "m2      standby  streaming  voter  yes                0.1.0    -                   -                      m2.test:8008",
    ]);
  });
});

describe("member remove", () => {
  test("follows the removal to its end", async () => {
    member.onSleep = () => {
      const { state } = member.fake;
      if (state?.reign == null) return;
      const released = { ...state.reign, cohort: { standbyIds: [M2], k: 1 } };
      member.fake.state = { ...state, reign: released };
      member.fake.onCommand({
        id: "f",
        atMs: 1,
        by: "leader",
        change: { kind: "forget-member", memberId: M3 },
      });
    };
    const { code, out, err } = await member.guacamole(["member", "remove", "m3"]);
    expect([code, out]).toEqual([0, "The remove of m3 succeeded.\n"]);
    expect(err).toContain("m3 is removed");
  });

  test("3: not the primary, and what to do instead", async () => {
    const { code, err } = await member.guacamole(["member", "remove", "m1"]);
    expect(code).toBe(3);
    expect(err).toContain("guacamole switchover");
  });
});

describe("member replace", () => {
  test("prints what to do on the host that shall take the name", async () => {
    const { code, out } = await member.guacamole(["member", "replace", "m3"]);
    expect(code).toBe(0);
    expect(out).toContain('name = "m3"');
    expect(out).toContain("guacamole join m1.test:8008 --token gcm_join.");
    expect(member.fake.state?.joinTokens.at(-1)?.replaces).toBe(M3);
  });
});

describe("member promote-voter, demote-voter, set", () => {
  test("0: it is so already", async () => {
    const { code, out } = await member.guacamole(["member", "promote-voter", "m3"]);
    expect(code).toBe(0);
    expect(out).toContain("m3      standby  streaming  voter");
  });

  test("6: agreed, but not so in time, with the reason", async () => {
    const { code, err } = await member.guacamole(["member", "demote-voter", "m3"]);
    expect(code).toBe(6);
    expect(err).toContain("m3 is no learner yet");
    expect(member.fake.state?.members.find(({ id }) => id === M3)?.voting).toBe("learner");
  });

  test("--no-wait shows the wish beside what is", async () => {
    const { out } = await member.guacamole(["member", "demote-voter", "m3", "--no-wait"]);
    expect(out).toContain("voter (shall be learner)");
  });

  test("set changes what is named", async () => {
    const argv = ["member", "set", "m2", "--failover-priority", "-3", "--failover", "no"];
    expect((await member.guacamole(argv)).code).toBe(0);
    expect(member.fake.state?.members.find(({ id }) => id === M2)?.tags).toEqual({
      failoverPriority: -3,
      isNoFailover: true,
    });
    expect((await member.guacamole(["member", "set", "m2"])).code).toBe(2);
    const place = ["member", "set", "m3", "--zone", "b", "--sync", "no", "--clone-source", "yes"];
    expect((await member.guacamole(place)).code).toBe(0);
    expect(member.fake.state?.members.find(({ id }) => id === M3)?.tags).toMatchObject({
      zone: "b",
      isNoSync: true,
      isCloneSource: true,
    });
  });
});

test("member forks lists what is in doubt", async () => {
  expect((await member.guacamole(["member", "forks", "m2"])).out).toContain("was never rewound");
  member.fake.forks = [
    {
      timeline: 2 as TimelineId,
      forkLsn: 0x3000148 as Lsn,
      keptAtMs: 0,
      bytes: 4_194_304,
      transactions: [
        { transactionId: 740, kind: "commit", at: "2026-11-25 21:00:00.5 UTC", lsn: 0x3000200 as Lsn },
      ],
      transactionCount: 3,
      problem: null,
    },
  ];
  expect((await member.guacamole(["member", "forks", "m2"])).out).toBe(
    `timeline 2 after 0/3000148 · kept 1970-01-01T00:00:00.000Z · 4.0 MB · 3 transactions in doubt

TRANSACTION          AT                         LSN
740          commit  2026-11-25 21:00:00.5 UTC  0/3000200
and 2 more
`,
  );
});

describe("consensus", () => {
  test("shows the group, and with status --verbose as well", async () => {
    const { out } = await member.guacamole(["consensus"]);
    expect(out).toBe(
      [
        "leader m1 · term 4 · committed 41 · applied 41 · log 1 to 41 · feature level 3",
        "voters   m1, m2, m3",
        "learners none",
        "",
        "MEMBER  HAS  LACKS  HEARD  CAUGHT UP",
        "m2      41   0      yes    yes",
        "m3      41   0      yes    yes",
        "",
      ].join("\n"),
    );
    expect((await member.guacamole(["status", "--verbose"])).out).toContain(out);
  });
});

describe("backup-state", () => {
  test("writes the file for its owner alone, and replaces none without being told", async () => {
    const file = join(directory, "state.backup");
    const serve = () => {
      member.fake.backupPath = join(directory, "served");
      writeFileSync(member.fake.backupPath, "agreed");
    };
    serve();
    const { code, out } = await member.guacamole(["backup-state", file]);
    expect([code, out]).toEqual([0, `${file}: what was agreed up to entry 41, 6 B.\n`]);
    expect(readFileSync(file, "utf8")).toBe("agreed");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    serve();
    expect((await member.guacamole(["backup-state", file])).code).toBe(2);
    expect((await member.guacamole(["backup-state", file, "--force"])).code).toBe(0);
    expect(readdirSync(directory)).toEqual(["state.backup"]);
  });

  test("leaves nothing where it failed", async () => {
    const { code, err } = await member.guacamole(["backup-state", join(directory, "state.backup")]);
    expect(code).toBe(4);
    expect(err).toContain("could not be written");
    expect(readdirSync(directory)).toEqual([]);
    expect((await member.guacamole(["backup-state", "/nowhere/x"])).code).toBe(2);
  });
});
