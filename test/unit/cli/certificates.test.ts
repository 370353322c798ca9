import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { certificateFingerprint } from "../../../src/api/credential.ts";
import type { CertificatesStatus } from "../../../src/cluster/observation.ts";
import {
  applyCommands,
  M1,
  M2,
  NEXT_AUTHORITY,
  observed,
  PRIMARY,
  STANDBY,
  stateOf,
  statusOf,
} from "../api/fixture.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

const PRESENT = certificateFingerprint(stateOf().authority.certificatePem);
const NEXT = certificateFingerprint(NEXT_AUTHORITY.certificatePem);
const [P, N] = [PRESENT.slice(0, 16), NEXT.slice(0, 16)];

let member: FakeMember;
beforeEach(async () => {
  member = await startFakeMember();
  applyCommands(member.fake);
  member.fake.state = stateOf({ featureLevel: 4 });
});
afterEach(() => member.close());

function says(issuer: string, ...trusted: readonly string[]): CertificatesStatus {
  return { memberEndsAtMs: 0, apiEndsAtMs: 0, authorityEndsAtMs: 0, problems: [], issuer, trusted };
}

describe("certificates", () => {
  test("show tells the authority, and what each member still has to do while another takes its place", async () => {
    const before = await member.guacamole(["certificates", "show"]);
    expect(before.out).toBe(`AUTHORITY                UNTIL\n${P}  signs  -\n`);
    const begun = await member.guacamole(["certificates", "rotate-authority", "--hold"]);
    expect([begun.code, begun.out.includes("authority-change of m1: running, trusting")]).toEqual([0, true]);
    member.fake.local = statusOf(M1, PRIMARY, { certificates: says(PRESENT, PRESENT, NEXT) });
    member.fake.observations.set(M2, observed(statusOf(M2, STANDBY), { isConnected: false }));
    const { out } = await member.guacamole(["certificates", "show"]);
    expect(out).toContain(`${N}  trusted  -`);
    expect(out).toContain("every member is to trust both; HELD until 'guacamole certificates resume'");
    expect(out).toMatch(new RegExp(`^m1 +${P} ${N} +${P} +ready$`, "m"));
    expect(out).toMatch(/^m2 +- +it is not heard$/m);
    expect((await member.guacamole(["status"])).out).toContain(
      "certificate authority is being replaced, held",
    );
  });

  test("ca prints what clients are to trust: both, while there are two", async () => {
    const { certificatePem } = stateOf().authority;
    expect((await member.guacamole(["certificates", "ca"])).out).toBe(certificatePem);
    await member.guacamole(["certificates", "rotate-authority", "--no-wait"]);
    expect((await member.guacamole(["certificates", "ca"])).out).toBe(
      `${certificatePem}${NEXT_AUTHORITY.certificatePem}`,
    );
  });

  test("rotate-authority follows it to its end", async () => {
    let steps = 0;
    member.onSleep = () => {
      const operationId = member.fake.state?.authorityChange?.operationId;
      if (operationId === undefined) return;
      const step = steps === 0 ? "sign" : "forget";
      steps += 1;
      const change = { kind: "advance-authority", operationId, step } as const;
      member.fake.onCommand({ id: `a-${steps}`, atMs: 1, by: "leader", change });
    };
    const { code, out, err } = await member.guacamole(["certificates", "rotate-authority"]);
    expect([code, out]).toEqual([0, "The cluster's certificate authority is replaced.\n"]);
    expect(err).toContain("every member trusts both");
    expect(member.fake.state?.authority.certificatePem).toBe(NEXT_AUTHORITY.certificatePem);
  });

  test("hold, resume and cancel steer it, and refuse where there is none", async () => {
    expect((await member.guacamole(["certificates", "cancel"])).code).toBe(3);
    await member.guacamole(["certificates", "rotate-authority", "--no-wait"]);
    expect((await member.guacamole(["certificates", "hold"])).out).toContain("HELD");
    expect((await member.guacamole(["certificates", "resume"])).out).not.toContain("HELD");
    const { code, out } = await member.guacamole(["certificates", "cancel"]);
    expect([code, out]).toEqual([0, `AUTHORITY                UNTIL\n${P}  signs  -\n`]);
  });
});
