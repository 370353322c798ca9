/** Who may have a certificate signed by which a role logs in, and what is remembered of it. */
import { beforeEach, describe, expect, test } from "bun:test";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type {
  RoleCertificateDocument,
  RoleCertificatesDocument,
} from "../../../src/api/role-certificate-documents.ts";
import { err, ok } from "../../../src/base/result.ts";
import type { DeclaredReport } from "../../../src/cluster/catalog.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import {
  ADMIN,
  AUTHORITY,
  type Fake,
  living,
  NEXT_AUTHORITY,
  OPERATOR,
  read,
  request,
  SECRET,
  stateOf,
} from "./fixture.ts";

const ACCESS = `gcm_access-1_${SECRET}`;
const pathOf = (name: string) => `/v1/access/roles/${name}/certificate`;
const IN_FORCE: DeclaredReport = { revision: 1, problems: [], corrected: [] };

let fake: Fake;
beforeEach(() => {
  const { spec } = stateOf();
  const roles = {
    app: { since: 1, login: true },
    trusted: { since: 1, isTrusted: true as const },
    root: { since: 1, isTrusted: true as const, superuser: true },
    gone: { since: 1, isAbsent: true as const },
    locked: { since: 1, login: false },
  };
  fake = living({ featureLevel: 4, spec: { ...spec, declared: { revision: 1, roles } } });
  fake.declaredReport = () => ok(IN_FORCE);
});

const ask = (name: string, token = ACCESS, body: object = { csrPem: "CSR" }) =>
  request(fake, "POST", pathOf(name), body, {}, token);

async function outcomeOf(name: string, token = ACCESS, body?: object): Promise<string> {
  const answer = await ask(name, token, body);
  if (answer.ok) return String(answer.status);
  const { status, code } = await read<ProblemDocument>(answer);
  return `${status} ${code}`;
}

const issued = () => fake.commands.filter(({ change }) => change.kind === "note-role-certificate");
const kept = () => (fake.state as ClusterState).roleCertificates ?? [];

describe("a certificate of a role", () => {
  test("is signed, and known to all before it is handed out", async () => {
    const answer = await ask("app", ACCESS, { csrPem: "CSR", forSeconds: 3_600 });
    expect(answer.status).toBe(201);
    const made = await read<RoleCertificateDocument>(answer);
    expect(made).toMatchObject({
      role: "app",
      serial: "4d",
      certificatePem: "CERT app",
      expiresAt: "1970-01-01T01:00:05.000Z",
    });
    expect(made.caPem).toContain("BEGIN CERTIFICATE");
    expect(kept()).toEqual([
      {
        serial: "4d",
        role: "app",
        authority: AUTHORITY,
        by: "access-1",
        atMs: 5_000,
        expiresAtMs: 3_605_000,
      },
    ]);
    const listed = await read<RoleCertificatesDocument>(await request(fake, "GET", pathOf("app")));
    expect(listed.certificates).toMatchObject([{ serial: "4d", by: "access-1" }]);
    const others = await read<RoleCertificatesDocument>(await request(fake, "GET", pathOf("locked")));
    expect(others.certificates).toEqual([]);
  });

  test("is handed to nobody where it could not be agreed", async () => {
    fake.answer = { kind: "not-proposed", reason: "no leader" };
    const answer = await ask("app");
    expect(answer.status).toBe(503);
    expect(await answer.text()).not.toContain("CERT");
  });

  test("says why it may not let in yet", async () => {
    const noticesOf = async (name: string) => (await read<RoleCertificateDocument>(await ask(name))).notices;
    expect(await noticesOf("app")).toEqual([expect.stringContaining("hba add hostssl all app all cert")]);
    expect(await noticesOf("locked")).toEqual([expect.any(String), expect.stringContaining("--login")]);
    const { spec } = fake.state as ClusterState;
    const rule = (users: readonly string[], method: string, options?: Record<string, string>) => {
      const all = { type: "hostssl" as const, databases: ["all"], users, address: "all", method };
      const hba = [{ ...all, ...(options === undefined ? {} : { options }) }];
      fake.state = { ...(fake.state as ClusterState), spec: { ...spec, access: { revision: 1, hba } } };
    };
    rule(["other"], "cert");
    expect(await noticesOf("app")).toHaveLength(1);
    rule(["app"], "scram-sha-256");
    expect(await noticesOf("app")).toHaveLength(1);
    rule(["app"], "cert");
    expect(await noticesOf("app")).toEqual([]);
    rule(["all"], "scram-sha-256", { clientcert: "verify-full" });
    expect(await noticesOf("app")).toEqual([]);
  });

  test("while the authority is replaced names both, and counts for nothing under a former one", async () => {
    await ask("app");
    const state = fake.state as ClusterState;
    const change = { operationId: "op", step: "sign", other: state.authority } as const;
    const fingerprints = { fingerprint: "aa", otherFingerprint: AUTHORITY };
    const goodOnes = async () =>
      (await read<RoleCertificatesDocument>(await request(fake, "GET", pathOf("app")))).certificates.length;
    fake.state = { ...state, authority: NEXT_AUTHORITY, authorityChange: { ...change, ...fingerprints } };
    expect(await goodOnes()).toBe(1);
    const made = await read<RoleCertificateDocument>(await ask("app"));
    expect(made.notices[0]).toContain("renew this certificate once that is through");
    expect(made.caPem).toBe(NEXT_AUTHORITY.certificatePem + state.authority.certificatePem);
    fake.state = { ...state, authority: NEXT_AUTHORITY };
    expect(await goodOnes()).toBe(0);
  });

  const cases: readonly (readonly [string, string, string, string])[] = [
    ["an operator", "app", OPERATOR, "403 scope-insufficient"],
    ["access, for a superuser", "root", ACCESS, "403 scope-insufficient"],
    ["admin, for a superuser", "root", ADMIN, "201"],
    ["access, for what admin declared", "trusted", ACCESS, "403 scope-insufficient"],
    ["access, for what nobody declared", "stranger", ACCESS, "404 role-unknown"],
    ["admin, for what nobody declared", "stranger", ADMIN, "201"],
    ["admin, for what is to be absent", "gone", ADMIN, "404 role-unknown"],
    ["admin, for guacamole's own connection", "postgres", ADMIN, "422 invalid-request"],
    ["admin, for replication between members", "guacamole_replicator", ADMIN, "422 invalid-request"],
    [
      "admin, for the name in a member's certificate",
      "guacamole-member-00000000-0000-4000-8000-000000000001",
      ADMIN,
      "422 invalid-request",
    ],
    ["admin, for what is PostgreSQL's", "pg_monitor", ADMIN, "422 invalid-request"],
  ];
  test.each(cases)("is asked for by %s", async (_what, name, token, expected) => {
    expect(await outcomeOf(name, token)).toBe(expected);
    expect(issued()).toHaveLength(expected === "201" ? 1 : 0);
  });

  test("is access's to give only where the server has said that the role has no power", async () => {
    const reports: readonly (readonly [ReturnType<Fake["declaredReport"]>, string])[] = [
      [err("nothing is heard of it"), "409 role-not-in-force"],
      [ok({ ...IN_FORCE, revision: 0 }), "409 role-not-in-force"],
      [
        ok({
          ...IN_FORCE,
          problems: [{ kind: "role", name: "app", state: "impossible", reason: "It is a superuser." }],
        } as DeclaredReport),
        "409 role-not-in-force",
      ],
      [ok(IN_FORCE), "201"],
    ];
    for (const [report, expected] of reports) {
      fake.declaredReport = () => report;
      expect(await outcomeOf("app")).toBe(expected);
      expect(await outcomeOf("app", ADMIN)).toBe("201");
    }
  });

  test("is refused for a request that is none, and for times that are not meant", async () => {
    expect(await outcomeOf("app", ACCESS, { csrPem: "nonsense" })).toBe("422 invalid-request");
    for (const forSeconds of [0, 59, 366 * 86_400 + 1, 1.5])
      expect(await outcomeOf("app", ACCESS, { csrPem: "CSR", forSeconds })).toBe("422 invalid-request");
    expect(await outcomeOf("app", ACCESS, { csrPem: "CSR", role: "root" })).toBe("422 invalid-request");
    expect(issued()).toEqual([]);
  });

  test("waits until every member understands it", async () => {
    fake.state = { ...(fake.state as ClusterState), featureLevel: 3 };
    expect(await outcomeOf("app", ADMIN)).toBe("409 feature-level-low");
  });
});
