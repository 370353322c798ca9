import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { err, ok } from "../../../src/base/result.ts";
import type { CliPorts } from "../../../src/cli/ports.ts";
import type { Inspection, NewGroupPlan, RecoverPorts } from "../../../src/cli/recover-ports.ts";
import { compareInspections } from "../../../src/cli/render-recovery.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

let member: FakeMember;
let directory: string;
beforeEach(async () => {
  member = await startFakeMember();
  directory = mkdtempSync(join(tmpdir(), "guacamole-recover-"));
});
afterEach(async () => {
  await member.close();
  rmSync(directory, { recursive: true, force: true });
});

function inspection(memberName: string, over: Partial<Inspection> = {}): Inspection {
  return {
    dataDir: "/data",
    clusterId: "c1",
    clusterName: "orders",
    recoveryEpoch: 0,
    memberId: `id-${memberName}`,
    memberName,
    term: 7,
    lastTerm: 6,
    lastIndex: 100,
    commitIndex: 99,
    appliedIndex: 99,
    floorIndex: 10,
    voters: ["m1", "m2", "m3", "m4", "m5"],
    learners: [],
    members: ["m1", "m2", "m3", "m4", "m5"],
    primary: "m1",
    epoch: 3,
    featureLevel: 2,
    flaws: [],
    ...over,
  };
}

const PLAN: NewGroupPlan = {
  memberName: "m3",
  clusterName: "orders",
  clusterId: "c1",
  kept: ["all that m3 knows"],
  dropped: ["m1", "m2"],
  elsewhere: ["empty the data-dir of m1 and m2"],
};

/** What was asked of the directory, and how it answers. */
function offline(over: Partial<RecoverPorts> = {}): {
  readonly asked: string[];
  readonly ports: Partial<CliPorts>;
} {
  const asked: string[] = [];
  const recover: RecoverPorts = {
    inspect: async (dataDir) => {
      asked.push(`inspect ${dataDir}`);
      return ok(inspection("m3"));
    },
    plan: async ({ makePrimary }) => {
      asked.push(`plan ${makePrimary}`);
      return ok(PLAN);
    },
    forceNewGroup: async ({ dataDir, makePrimary }) => {
      asked.push(`force ${dataDir} ${makePrimary}`);
      return ok({ ...PLAN, newClusterId: "c2" });
    },
    restore: async ({ file, memberName, dataDir }) => {
      asked.push(`restore ${file} ${memberName} ${dataDir}`);
      return ok({ ...PLAN, newClusterId: "c2" });
    },
    ...over,
  };
  return { asked, ports: { recover } };
}

const interactive = (typed: string | null, told: string[] = []): Partial<CliPorts> => ({
  terminal: {
    isInteractive: true,
    widthMax: () => null,
    out: (text) => void told.push(text),
    err: (text) => void told.push(text),
  },
  readLine: async () => typed,
});

describe("recover inspect", () => {
  test("says how much a stopped member knows", async () => {
    const { asked, ports } = offline();
    const { code, out } = await member.guacamole(["recover", "inspect", "--data-dir", "/d"], ports);
    expect([code, asked]).toEqual([0, ["inspect /d"]]);
    expect(out).toContain("term 6, index 100");
    expect(out).toContain("every checksum is right");
  });

  test("5: broken, 3: it runs", async () => {
    const broken = offline({ inspect: async () => ok(inspection("m3", { flaws: ["entry 7 is torn"] })) });
    const { code, out } = await member.guacamole(["recover", "inspect"], broken.ports);
    expect(code).toBe(5);
    expect(out).toContain("entry 7 is torn");
    const running = offline({
      inspect: async () => err("guacamole runs on /var/lib/guacamole: stop it first"),
    });
    expect(await member.guacamole(["recover", "inspect"], running.ports)).toMatchObject({ code: 3 });
  });
});

describe("recover compare", () => {
  const save = (name: string, over: Partial<Inspection> = {}) => {
    const path = join(directory, `${name}.json`);
    writeFileSync(path, JSON.stringify(inspection(name, over)));
    return path;
  };

  test("a newer last term knows more than a longer log", async () => {
    const files = [save("m1", { lastTerm: 5, lastIndex: 900 }), save("m3", { lastTerm: 6, lastIndex: 100 })];
    const { code, out } = await member.guacamole(["recover", "compare", ...files]);
    expect(code).toBe(0);
    expect(out.split("\n")[1]).toMatch(/^m3 +6 +100/);
    expect(out).toContain("recover from m3");
  });

  test("passes over a broken log, and says so", () => {
    const ranked = [inspection("m1", { lastIndex: 101, flaws: ["torn"] }), inspection("m3")];
    expect(compareInspections(ranked)).toMatchObject({
      best: "m3",
      advice: "recover from m3 (m1 knows more, but its log is broken)",
    });
    expect(compareInspections([inspection("m1", { flaws: ["torn"] })]).best).toBeNull();
  });

  test("forces nothing where a majority is there", () => {
    const three = ["m1", "m2", "m3"].map((name) => inspection(name));
    expect(compareInspections(three).advice).toContain("nothing has to be forced");
  });

  test("3: members of different clusters; 2: not such a file", async () => {
    const files = [save("m1"), save("m3", { clusterId: "c9" })];
    expect((await member.guacamole(["recover", "compare", ...files])).code).toBe(3);
    writeFileSync(join(directory, "x.json"), "{}");
    expect((await member.guacamole(["recover", "compare", join(directory, "x.json")])).code).toBe(2);
    expect((await member.guacamole(["recover", "compare", "/nowhere"])).code).toBe(2);
  });
});

describe("recover force-new-group", () => {
  test("--dry-run says what is kept, dropped and done elsewhere, and changes nothing", async () => {
    const { asked, ports } = offline();
    const { code, out } = await member.guacamole(["recover", "force-new-group", "--dry-run"], ports);
    expect([code, asked]).toEqual([0, ["plan false"]]);
    for (const words of ["Kept:", "all that m3 knows", "Dropped:", "m1", "empty the data-dir of m1"]) {
      expect(out).toContain(words);
    }
  });

  test("a person types the cluster's name, having read the plan", async () => {
    const { asked, ports } = offline();
    const told: string[] = [];
    const right = { ...ports, ...interactive("orders\n", told) };
    expect((await member.guacamole(["recover", "force-new-group", "--make-primary"], right)).code).toBe(0);
    expect(asked).toEqual(["plan true", "force /var/lib/guacamole true"]);
    expect(told.join("")).toContain("Dropped:");
    expect(told.join("")).toContain("c2");
    for (const typed of ["yes", "", null]) {
      const wrong = offline();
      const ran = await member.guacamole(["recover", "force-new-group"], {
        ...wrong.ports,
        ...interactive(typed),
      });
      expect([ran.code, wrong.asked]).toEqual([3, ["plan false"]]);
    }
  });

  test("a script names it", async () => {
    const named = offline();
    const yes = ["recover", "force-new-group", "--yes-i-lose-the-others"];
    expect((await member.guacamole([...yes, "orders"], named.ports)).code).toBe(0);
    expect(named.asked).toEqual(["plan false", "force /var/lib/guacamole false"]);
    const misnamed = offline();
    expect((await member.guacamole([...yes, "other"], misnamed.ports)).code).toBe(2);
    expect((await member.guacamole(["recover", "force-new-group"], misnamed.ports)).code).toBe(2);
    expect(misnamed.asked).toEqual(["plan false", "plan false"]);
  });
});

test("recover restore makes a member from a backup", async () => {
  const { asked, ports } = offline();
  const argv = ["recover", "restore", "/b", "--member", "m3", "--data-dir", "/d"];
  expect((await member.guacamole(argv, ports)).code).toBe(0);
  expect(asked).toEqual(["restore /b m3 /d"]);
  expect((await member.guacamole(["recover", "restore", "/b"], ports)).code).toBe(2);
});
