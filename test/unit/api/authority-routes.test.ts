import { describe, expect, test } from "bun:test";
import type { AuthorityDocument } from "../../../src/api/authority-documents.ts";
import { certificateFingerprint } from "../../../src/api/credential.ts";
import type { ClusterDocument, OperationDocument } from "../../../src/api/documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type { CertificatesStatus } from "../../../src/cluster/observation.ts";
import {
  type Fake,
  living,
  M1,
  M2,
  M3,
  NEXT_AUTHORITY,
  observed,
  PRIMARY,
  read,
  request,
  STANDBY,
  stateOf,
  statusOf,
} from "./fixture.ts";

const PATH = "/v1/certificates/authority";
const PRESENT = certificateFingerprint(stateOf().authority.certificatePem);
const NEXT = certificateFingerprint(NEXT_AUTHORITY.certificatePem);

function says(issuer: string, ...trusted: readonly string[]): CertificatesStatus {
  return { memberEndsAtMs: 0, apiEndsAtMs: 0, authorityEndsAtMs: 0, problems: [], issuer, trusted };
}

/** m1 trusts both, m2 one of them, and m3 is not heard. */
function begin(): Fake {
  const fake = living({ featureLevel: 4 });
  fake.local = statusOf(M1, PRIMARY, { certificates: says(PRESENT, PRESENT, NEXT) });
  fake.observations = new Map([
    [M2, observed(statusOf(M2, STANDBY, { certificates: says(PRESENT, PRESENT) }))],
    [M3, observed(statusOf(M3, STANDBY), { isConnected: false })],
  ]);
  return fake;
}

const shown = async (fake: Fake) => read<AuthorityDocument>(await request(fake, "GET", PATH));

describe("the authority", () => {
  test("is shown with its certificate; no other comes in its place", async () => {
    const { fingerprint, trusted, change } = await shown(begin());
    expect([fingerprint, change]).toEqual([PRESENT, null]);
    expect(trusted).toMatchObject([{ fingerprint: PRESENT, isSigning: true }]);
  });

  test("is replaced as an operation, and shows who is ready and who is waited for", async () => {
    const fake = begin();
    const answer = await request(fake, "POST", PATH, {});
    expect(answer.status).toBe(202);
    const operation = await read<OperationDocument>(answer);
    expect(operation).toMatchObject({ kind: "authority-change", phase: "trusting", status: "running" });
    expect(answer.headers.get("location")).toBe(`/v1/operations/${operation.id}`);
    const { trusted, change } = await shown(fake);
    expect(trusted.map(({ fingerprint, isSigning }) => [fingerprint, isSigning])).toEqual([
      [PRESENT, true],
      [NEXT, false],
    ]);
    expect(change).toEqual({
      operation: operation.id,
      step: "trust",
      isHeld: false,
      isGoingBack: false,
      members: [
        { member: "m1", trusted: [PRESENT, NEXT], issuer: PRESENT, waitsFor: null },
        { member: "m2", trusted: [PRESENT], issuer: PRESENT, waitsFor: "it does not trust both yet" },
        { member: "m3", trusted: [], issuer: null, waitsFor: "it is not heard" },
      ],
      endingRoleCertificates: [],
    });
    const { warnings } = await read<ClusterDocument>(await request(fake, "GET", "/v1/cluster"));
    expect(warnings).toMatchObject([
      {
        code: "authority-changing",
        text: "The cluster's certificate authority is being replaced, trusting; it waits for m2 (it does not trust both yet), m3 (it is not heard)",
      },
    ]);
  });

  test("names the certificates of roles that end with it, and no others", async () => {
    const of = (role: string, authority: string, expiresAtMs: number) => ({
      role,
      serial: `0${role}`,
      authority,
      by: "local",
      atMs: 0,
      expiresAtMs,
    });
    const fake = living({
      featureLevel: 4,
      roleCertificates: [of("app", PRESENT, 9e12), of("old", PRESENT, 1), of("new", NEXT, 9e12)],
    });
    await request(fake, "POST", PATH, {});
    const roles = async () => (await shown(fake)).change?.endingRoleCertificates.map(({ role }) => role);
    expect(await roles()).toEqual(["app"]);
    const { state } = fake;
    if (state?.authorityChange == null) throw new Error("nothing is under way");
    const { fingerprint, otherFingerprint, other } = state.authorityChange;
    fake.state = {
      ...state,
      authority: other,
      authorityChange: {
        ...state.authorityChange,
        step: "sign",
        other: state.authority,
        fingerprint: otherFingerprint,
        otherFingerprint: fingerprint,
      },
    };
    expect(await roles()).toEqual(["app"]);
  });

  test("is replaced once for one Idempotency-Key", async () => {
    const fake = begin();
    const key = { "idempotency-key": "again" };
    const first = await read<OperationDocument>(await request(fake, "POST", PATH, {}, key));
    const second = await request(fake, "POST", PATH, {}, key);
    expect(second.status).toBe(202);
    expect((await read<OperationDocument>(second)).id).toBe(first.id);
    expect(fake.state?.operations).toHaveLength(1);
    const other = await request(fake, "POST", PATH, {});
    expect([other.status, (await read<ProblemDocument>(other)).code]).toEqual([409, "operation-running"]);
  });

  test("is held, goes on, and stays where that is wanted", async () => {
    const fake = begin();
    await request(fake, "POST", PATH, { hold: true });
    expect((await shown(fake)).change?.isHeld).toBe(true);
    const steer = async (word: string) =>
      read<AuthorityDocument>(await request(fake, "POST", `${PATH}/${word}`, {}));
    expect((await steer("resume")).change?.isHeld).toBe(false);
    expect((await steer("hold")).change?.isHeld).toBe(true);
    expect((await steer("cancel")).change).toBeNull();
    const late = await request(fake, "POST", `${PATH}/cancel`, {});
    expect([late.status, (await read<ProblemDocument>(late)).code]).toEqual([409, "stale-operation"]);
  });

  test("is left alone while some member runs a release that does not know this, and no key lands in the log", async () => {
    const fake = living({ featureLevel: 3 });
    const answer = await request(fake, "POST", PATH, {});
    expect([answer.status, (await read<ProblemDocument>(answer)).code]).toEqual([409, "feature-level-low"]);
    expect(fake.commands).toEqual([]);
  });

  test("refuses a field that it does not know", async () => {
    expect((await request(begin(), "POST", PATH, { holds: true })).status).toBe(422);
  });

  test("never has its key in an answer, nor that of the one that follows", async () => {
    const fake = begin();
    const told = [await (await request(fake, "POST", PATH, {})).text()];
    for (const path of [PATH, "/v1/cluster", "/v1/members", "/v1/operations", "/v1/events", "/v1/audit"])
      told.push(await (await request(fake, "GET", path)).text());
    expect(JSON.stringify(fake.state)).toContain("NEXT-PRIVATE-KEY");
    expect(told.join()).not.toContain("PRIVATE-KEY");
    expect(fake.logged.join()).not.toContain("PRIVATE-KEY");
  });

  test("a join token names the one that signs, and a newcomer is told of both", async () => {
    const fake = begin();
    await request(fake, "POST", PATH, {});
    const made = await read<{ readonly token: string }>(await request(fake, "POST", "/v1/members", {}));
    expect(made.token).toEndWith(PRESENT);
    const ca = await request(fake, "GET", "/v1/ca");
    expect(ca.headers.get("x-guacamole-fingerprint")).toBe(PRESENT);
  });
});
