import { describe, expect, test } from "bun:test";
import type { HbaDocument, HbaExplanationDocument } from "../../../src/api/access-documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import { err, ok } from "../../../src/base/result.ts";
import type { AccessLines } from "../../../src/cluster/managed-settings.ts";
import {
  ADMIN,
  type Fake,
  living as livingAt,
  M1,
  M2,
  M3,
  OPERATOR,
  observed,
  PRIMARY,
  read,
  request,
  SECRET,
  STANDBY,
  stateOf,
  statusOf,
  VIEWER,
} from "./fixture.ts";

const ACCESS = `gcm_access-1_${SECRET}`;
const PATH = "/v1/access/hba";
const RULE = {
  type: "hostssl",
  databases: ["sales"],
  users: ["app"],
  address: "10.0.0.0/8",
  method: "scram-sha-256",
};

const living = (featureLevel = 4) => livingAt({ featureLevel });
const ask = (
  fake: Fake,
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
  token = ACCESS,
) => request(fake, method, path, body, headers, token);

const problem = async (response: Response) => [response.status, (await read<ProblemDocument>(response)).code];

describe("GET /v1/access/hba", () => {
  test("shows what applies where nobody said anything, after guacamole's own rules", async () => {
    const answer = await ask(living(), "GET", PATH, undefined, {}, VIEWER);
    expect(answer.headers.get("etag")).toBe('"1"');
    const hba = await read<HbaDocument>(answer);
    expect(hba).toMatchObject({ isDefault: true, generation: 1, warnings: [], tried: [] });
    expect(hba.rules.at(-1)).toMatchObject({ number: 3, type: "host", method: "scram-sha-256" });
    expect(hba.ownRules[0]?.text).toContain("peer");
  });

  test("says where the rules are in force", async () => {
    const fake = living();
    await ask(fake, "PUT", PATH, { rules: [RULE] });
    const problem = "PostgreSQL 15.18 does not take them";
    const have = (revision: number, askedRevision: number, why: string | null) => ({
      access: { revision, askedRevision, problem: why },
    });
    fake.local = statusOf(M1, PRIMARY, have(2, 2, null));
    fake.observations.set(M2, observed(statusOf(M2, STANDBY, have(1, 2, problem))));
    fake.observations.set(M3, observed(statusOf(M3, STANDBY)));
    expect((await read<HbaDocument>(await ask(fake, "GET", PATH))).members).toEqual([
      { name: "m1", state: "in-force", problem: null },
      { name: "m2", state: "refused", problem },
      { name: "m3", state: "pending", problem: null },
    ]);
    // What was wrong with the rules before says nothing of these.
    fake.local = statusOf(M1, PRIMARY, have(1, 1, problem));
    expect((await read<HbaDocument>(await ask(fake, "GET", PATH))).members[0]?.state).toBe("pending");
  });

  test("shows secrets only to those who may change them, and takes no mask for one", async () => {
    const fake = living();
    const options = { ldapserver: "x", ldapbasedn: "y", ldapbindpasswd: "hush" };
    await ask(fake, "PUT", PATH, { rules: [{ ...RULE, method: "ldap", options }] });
    const seen = async (token: string) => (await ask(fake, "GET", PATH, undefined, {}, token)).text();
    expect(await seen(ACCESS)).toContain("hush");
    expect(await seen(VIEWER)).not.toContain("hush");
    expect(await seen(OPERATOR)).not.toContain("hush");
    const { rules } = JSON.parse(await seen(VIEWER)) as HbaDocument;
    const masked = rules.map(({ number: _, text: __, ...rule }) => rule);
    expect(await problem(await ask(fake, "PUT", PATH, { rules: masked }))).toEqual([422, "invalid-request"]);
  });
});

describe("PUT /v1/access/hba", () => {
  test("keeps the rules in order, in canonical form, and says who tried them", async () => {
    const fake = living();
    fake.observations.set(M2, observed(statusOf(M2, STANDBY)));
    const tried: AccessLines[] = [];
    fake.tryAccess = (memberId, lines) => {
      tried.push(lines);
      return memberId === M3 ? err("m3 does not answer") : ok({ kind: "good", version: "15.18" });
    };
    const answer = await ask(fake, "PUT", PATH, {
      rules: [
        { ...RULE, address: "10.1.2.3/8" },
        { type: "local", databases: ["all"], users: ["all"], method: "peer" },
      ],
      identMaps: [{ map: "krb", systemUser: "/^(.*)@X$", databaseUser: "\\1" }],
    });
    expect(answer.status).toBe(200);
    const hba = await read<HbaDocument>(answer);
    expect(hba).toMatchObject({ isDefault: false, generation: 2 });
    expect(hba.rules).toMatchObject([RULE, { type: "local" }]);
    expect(hba.tried).toEqual([
      { member: "m1", isGood: true, detail: "PostgreSQL 15.18 takes them" },
      { member: "m2", isGood: true, detail: "PostgreSQL 15.18 takes them" },
      { member: "m3", isGood: false, detail: "m3 does not answer" },
    ]);
    expect(tried[0]?.hba).toHaveLength(2);
    expect(tried[0]?.identMaps[0]).toContain("krb");
    expect(fake.state?.spec.access).toMatchObject({ revision: 2, identMaps: [{ map: "krb" }] });
  });

  test("takes a pg_hba.conf as text, in a field or as the body; maps stay", async () => {
    const fake = living();
    await ask(fake, "PUT", PATH, { rules: [], identText: "krb a b" });
    const text = "# the team\nhost sales app 10.0.0.0 255.0.0.0 scram-sha-256\n";
    const byField = await read<HbaDocument>(await ask(fake, "PUT", PATH, { text }));
    expect(byField.rules).toMatchObject([{ address: "10.0.0.0/8", comment: "the team" }]);
    expect(byField.identMaps).toHaveLength(1);
    const byBody = await ask(fake, "PUT", PATH, text, { "content-type": "text/plain" });
    expect((await read<HbaDocument>(byBody)).rules).toEqual(byField.rules);
    expect((await read<HbaDocument>(await ask(fake, "PUT", PATH, { text: byField.text }))).rules).toEqual(
      byField.rules,
    );
  });

  test("names what is wrong by rule or by line, and changes nothing", async () => {
    const fake = living();
    const answer = await ask(fake, "PUT", PATH, { text: "local all all peer\nhost all all md5\n" });
    expect(answer.status).toBe(422);
    const said = await read<ProblemDocument>(answer);
    expect(said.errors).toMatchObject([{ field: "text:2" }]);
    for (const body of [
      { rules: [{ ...RULE, method: "md6" }] },
      { rules: [{ ...RULE, members: ["m9"] }] },
      { rules: [{ ...RULE, extra: 1 }] },
      { rules: [RULE], text: "" },
      { identMaps: [{ map: "guacamole", systemUser: "x", databaseUser: "postgres" }] },
      {},
    ])
      expect(await problem(await ask(fake, "PUT", PATH, body))).toEqual([422, "invalid-request"]);
    expect(fake.state?.generation as number).toBe(1);
  });

  test("is decided by PostgreSQL: what one does not take, nobody gets", async () => {
    const fake = living();
    fake.observations.set(M2, observed(statusOf(M2, STANDBY)));
    fake.tryAccess = (memberId, { hba }) =>
      ok(
        memberId === M2
          ? { kind: "bad", version: "15.18", faults: [{ line: hba[1] ?? null, message: "it is wrong" }] }
          : { kind: "good", version: "15.18" },
      );
    const answer = await ask(fake, "PUT", PATH, { rules: [RULE, { ...RULE, address: "all" }] });
    expect(answer.status).toBe(422);
    const said = await read<ProblemDocument>(answer);
    expect(said.code).toBe("hba-refused");
    expect(said.errors?.[0]?.field).toBe("rules.2");
    expect(said.errors?.[0]?.message).toContain("of m2 says");
    expect(fake.state?.spec.access).toBeUndefined();
  });

  test("is refused where nobody could try them, before there is a PostgreSQL, and before everybody knows rules", async () => {
    const fake = living();
    fake.tryAccess = () => ok({ kind: "untried", why: "the disk is full" });
    expect(await problem(await ask(fake, "PUT", PATH, { rules: [RULE] }))).toEqual([503, "hba-untried"]);
    const empty = living();
    empty.state = stateOf({ featureLevel: 4, systemIdentifier: null });
    expect(await problem(await ask(empty, "PUT", PATH, { rules: [RULE] }))).toEqual([409, "not-initialized"]);
    expect(await problem(await ask(living(3), "PUT", PATH, { rules: [RULE] }))).toEqual([
      409,
      "feature-level-low",
    ]);
  });

  test("of another version than was meant is refused; a dry run changes nothing", async () => {
    const fake = living();
    const dry = await ask(fake, "PUT", `${PATH}?dryRun=true`, { rules: [RULE] });
    expect((await read<HbaDocument>(dry)).rules).toHaveLength(1);
    expect(fake.state?.generation as number).toBe(1);
    const match = { "if-match": '"1"' };
    expect((await ask(fake, "PUT", PATH, { rules: [RULE] }, match)).status).toBe(200);
    expect(await problem(await ask(fake, "PUT", PATH, { rules: [] }, match))).toEqual([
      412,
      "stale-generation",
    ]);
  });

  test("needs the scope for it; other bodies than JSON are taken nowhere else", async () => {
    for (const token of [VIEWER, OPERATOR]) {
      expect((await ask(living(), "PUT", PATH, { rules: [] }, {}, token)).status).toBe(403);
      expect((await ask(living(), "DELETE", PATH, undefined, {}, token)).status).toBe(403);
    }
    expect((await ask(living(), "PUT", PATH, { rules: [RULE] }, {}, ADMIN)).status).toBe(200);
    const text = { "content-type": "text/plain" };
    expect((await ask(living(), "POST", `${PATH}/explain`, "x", text)).status).toBe(415);
  });

  test("DELETE goes back to what applies where nobody says anything", async () => {
    const fake = living();
    await ask(fake, "PUT", PATH, { rules: [] });
    const hba = await read<HbaDocument>(await ask(fake, "DELETE", PATH, {}));
    expect(hba).toMatchObject({ isDefault: true, generation: 3 });
    expect(fake.state?.spec.access).toBeUndefined();
  });
});

describe("POST /v1/access/hba/explain", () => {
  const explain = async (fake: Fake, body: unknown) =>
    read<HbaExplanationDocument>(await ask(fake, "POST", `${PATH}/explain`, body, {}, VIEWER));

  test("says which rule a connection meets, whose it is, and with which number", async () => {
    const fake = living();
    const text =
      "# guacamole: roles=standby\nhost all all all reject\nhost sales app 10.0.0.0/8 scram-sha-256";
    await ask(fake, "PUT", PATH, { text });
    const attempt = { user: "app", database: "sales", address: "10.0.0.7" };
    expect(await explain(fake, attempt)).toMatchObject({
      outcome: "rule",
      member: "m1",
      role: "primary",
      rule: { number: 2, origin: "cluster", method: "scram-sha-256" },
    });
    expect(await explain(fake, { ...attempt, member: "m2" })).toMatchObject({
      role: "standby",
      rule: { number: 1 },
    });
    expect(await explain(fake, { ...attempt, address: "11.0.0.7" })).toMatchObject({
      outcome: "no-rule",
      rule: null,
    });
    expect(await explain(fake, { user: "postgres" })).toMatchObject({
      rule: { origin: "guacamole", number: 1 },
    });
    const wished = { ...attempt, text: "host all +ops all reject" };
    expect(await explain(fake, wished)).toMatchObject({
      outcome: "depends",
      rule: null,
      open: [{ rule: { number: 1 } }],
    });
    expect(await explain(fake, { ...wished, memberOf: ["ops"] })).toMatchObject({
      outcome: "rule",
      rule: { method: "reject" },
    });
  });

  test("refuses what is no connection", async () => {
    const fake = living();
    const refused = async (body: unknown) => problem(await ask(fake, "POST", `${PATH}/explain`, body));
    expect(await refused({ user: "app", address: "host.example.com" })).toEqual([422, "invalid-request"]);
    expect(await refused({ user: "app", encryption: "ssl" })).toEqual([422, "invalid-request"]);
    expect(await refused({ user: "app", member: "m9" })).toEqual([404, "member-unknown"]);
  });
});
