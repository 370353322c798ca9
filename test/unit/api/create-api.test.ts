import { describe, expect, test } from "bun:test";
import type { Origin } from "../../../src/api/access.ts";
import { createApi } from "../../../src/api/create-api.ts";
import { parseJoinToken } from "../../../src/api/credential.ts";
import type { ClusterDocument, JoinTokenDocument, OperationDocument } from "../../../src/api/documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type { Epoch } from "../../../src/base/ids.ts";
import { err } from "../../../src/base/result.ts";
import {
  ADMIN,
  beginOperation,
  createFake,
  type Fake,
  M1,
  M2,
  M3,
  OPERATOR,
  observed,
  PRIMARY,
  pollingClock,
  reignOf,
  SECRET,
  stateOf,
  statusOf,
  VIEWER,
} from "./fixture.ts";

interface Ask {
  readonly method?: string;
  readonly body?: string;
  readonly token?: string | null;
  readonly origin?: Origin;
  readonly headers?: Record<string, string>;
}

async function ask(fake: Fake, path: string, options: Ask = {}): Promise<Response> {
  const {
    method = options.body === undefined ? "GET" : "POST",
    body,
    token = ADMIN,
    origin = "network",
  } = options;
  const headers = new Headers(options.headers);
  if (token !== null) headers.set("authorization", `Bearer ${token}`);
  if (body !== undefined && !headers.has("content-type")) headers.set("content-type", "application/json");
  // A host name this short trips the router where the path is searched for from a fixed place.
  const request = new Request(`http://x${path}`, {
    method,
    headers,
    ...(body === undefined ? {} : { body }),
  });
  return createApi(fake.ports).handle(request, origin);
}

async function problemOf(response: Response): Promise<ProblemDocument> {
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  return (await response.json()) as ProblemDocument;
}

const READS = [
  "/v1/cluster",
  "/v1/members",
  "/v1/topology",
  "/v1/operations",
  "/v1/events",
  "/v1/spec",
  "/metrics",
];

describe("tokens", () => {
  test.each(READS)("%s needs a token", async (path) => {
    const response = await ask(createFake(), path, { token: null });
    expect(response.status).toBe(401);
    expect(response.headers.get("www-authenticate")).toContain("Bearer");
    expect((await problemOf(response)).code).toBe("token-missing");
  });

  test.each(READS)("%s is read with a viewer's token", async (path) => {
    expect((await ask(createFake(), path, { token: VIEWER })).status).toBe(200);
  });

  test.each([
    "gcm_admin-1_wrong-wrong-wrong-wrong",
    "gcm_nobody_secret-secret-secret",
    "something",
    `${ADMIN}x`,
  ])("a wrong token is refused, and all faults look alike: %s", async (token) => {
    const response = await ask(createFake(), "/v1/cluster", { token });
    expect(response.status).toBe(401);
    const problem = await problemOf(response);
    expect(problem.code).toBe("token-invalid");
    expect(JSON.stringify(problem)).not.toContain(token);
  });

  test("a scope that is too small is refused with the one that is needed", async () => {
    for (const [token, path] of [
      [VIEWER, "/v1/switchover"],
      [OPERATOR, "/v1/cluster/initialize"],
      [OPERATOR, "/v1/members"],
    ] as const) {
      const fake = createFake();
      const response = await ask(fake, path, { token, body: "{}" });
      expect(response.status).toBe(403);
      expect((await problemOf(response)).code).toBe("scope-insufficient");
      expect(fake.commands).toEqual([]);
    }
  });

  test("the Unix socket needs none, and form and join are asked nowhere else", async () => {
    const fake = createFake();
    expect((await ask(fake, "/v1/cluster", { token: null, origin: "local" })).status).toBe(200);
    fake.state = null;
    for (const path of ["/v1/form", "/v1/join"]) {
      const refused = await ask(fake, path, { body: "{}" });
      expect([refused.status, (await problemOf(refused)).code]).toEqual([403, "local-only"]);
    }
    expect((await ask(fake, "/v1/form", { body: "{}", token: null, origin: "local" })).status).toBe(201);
  });

  test("only hashes leave the state, and never the CA's key", async () => {
    const fake = createFake();
    for (const path of [...READS, "/v1/tokens", "/v1/ca"]) {
      const text = await (await ask(fake, path)).text();
      expect(text).not.toContain("PRIVATE-KEY");
      expect(text).not.toContain(fake.state?.tokens[0]?.secretHash ?? "?");
    }
  });
});

describe("bad requests", () => {
  test("an unknown path is 404, another method 405 with those that it has", async () => {
    expect((await problemOf(await ask(createFake(), "/v1/nothing", { token: null }))).status).toBe(404);
    const response = await ask(createFake(), "/v1/cluster", { method: "DELETE" });
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe("GET");
  });

  const cases: readonly [string, string, number, string][] = [
    ["not JSON", '{"primary"', 400, "bad-json"],
    ["no object", '"m1"', 422, "invalid-request"],
    ["an array", "[]", 422, "invalid-request"],
    ["an unknown field", '{"primray":"hunter2"}', 422, "invalid-request"],
    ["a wrong type", '{"primary":{"a":"hunter2"}}', 422, "invalid-request"],
    ["a bad name", '{"primary":"HUNTER2"}', 422, "invalid-request"],
    ["a shell in the locale", '{"locale":"hunter2;rm"}', 422, "invalid-request"],
  ];
  test.each(cases)("%s is refused, and the answer does not repeat it", async (_name, body, status, code) => {
    const fake = createFake();
    const response = await ask(fake, "/v1/cluster/initialize", { body });
    expect(response.status).toBe(status);
    const problem = await problemOf(response);
    expect(problem.code).toBe(code);
    expect(JSON.stringify(problem).toLowerCase()).not.toContain("hunter2");
    expect(fake.commands).toEqual([]);
  });

  test("the field is named", async () => {
    const problem = await problemOf(
      await ask(createFake(), "/v1/cluster/initialize", { body: '{"primray":"m1"}' }),
    );
    expect(problem.errors).toEqual([{ field: "primray", message: "there is no such field" }]);
    expect(problem.detail).toBe("primray: there is no such field");
  });

  test("an object that cannot be written as a text is refused like any other", async () => {
    for (const value of [
      '{"toString":1}',
      '{"toString":{},"valueOf":{}}',
      '{"__proto__":null,"toString":"x"}',
    ]) {
      const body = `{"reason":${value}}`;
      const answer = await ask(createFake(), "/v1/pause", { body });
      expect(answer.status, body).toBe(422);
      expect(((await answer.json()) as ProblemDocument).code).toBe("invalid-request");
    }
  });

  test("a body of another type is 415, one over a MiB 413, said or not", async () => {
    const form = { "content-type": "application/x-www-form-urlencoded" };
    expect((await ask(createFake(), "/v1/switchover", { body: "to=m2", headers: form })).status).toBe(415);
    const large = JSON.stringify({ to: "m".repeat(1024 * 1024) });
    expect((await ask(createFake(), "/v1/switchover", { body: large })).status).toBe(413);
  });

  test("a body that does not arrive in time is 408, and nothing is proposed", async () => {
    const { clock } = createFake().ports;
    const fake = createFake({ clock: { ...clock, sleep: async () => {} } });
    const request = new Request("http://x/v1/switchover", {
      method: "POST",
      headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
      body: new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(new TextEncoder().encode('{"to"')),
      }),
    });
    const answer = await createApi(fake.ports).handle(request, "network");
    expect([answer.status, (await problemOf(answer)).code]).toEqual([408, "body-too-slow"]);
    expect(fake.commands).toEqual([]);
  });

  test("an empty body counts as an empty object", async () => {
    const fake = createFake();
    fake.onCommand = (command) => beginOperation(fake, command);
    expect((await ask(fake, "/v1/switchover", { method: "POST" })).status).toBe(202);
  });
});

describe("writes", () => {
  test("initialize proposes the named member and answers with the operation", async () => {
    const fake = createFake();
    fake.onCommand = (command) => beginOperation(fake, command);
    const response = await ask(fake, "/v1/cluster/initialize", { body: '{"primary":"m2"}' });
    expect(response.status).toBe(202);
    const operation = (await response.json()) as OperationDocument;
    expect(response.headers.get("location")).toBe(`/v1/operations/${operation.id}`);
    expect(fake.commands[0]).toMatchObject({
      by: "admin-1",
      atMs: 5_000,
      change: {
        kind: "initialize",
        memberId: M2,
        options: { encoding: "UTF8", locale: "C.UTF-8", walSegmentMb: 4 },
      },
    });
    expect((await ask(fake, `/v1/operations/${operation.id}`)).status).toBe(200);
  });

  test("initialize is refused where a data directory is not empty, and nothing is proposed", async () => {
    const occupied = { kind: "foreign", detail: "/data holds files, but no PostgreSQL (notes.txt)" } as const;
    const empty = { kind: "absent" } as const;
    for (const [m1, m2, code, detail] of [
      [occupied, empty, "data-directory-not-empty", "on m1 is taken: /data holds files"],
      [empty, occupied, "data-directory-not-empty", "on m2 is taken: /data holds files"],
      [PRIMARY, empty, "data-directory-not-empty", "holds data already"],
      [empty, empty, null, null],
    ] as const) {
      const fake = createFake();
      fake.onCommand = (command) => beginOperation(fake, command);
      fake.state = stateOf({ initialization: null, reign: null, systemIdentifier: null });
      fake.local = statusOf(M1, m1);
      fake.observations = new Map([[M2, observed(statusOf(M2, m2))]]);
      const response = await ask(fake, "/v1/cluster/initialize", { body: "{}" });
      if (code === null) {
        expect(response.status).toBe(202);
        continue;
      }
      const problem = await problemOf(response);
      expect(problem).toMatchObject({ status: 409, code });
      expect(problem.detail).toContain(detail ?? "");
      expect(problem.hint).toContain("Nothing was touched");
      expect(fake.commands).toEqual([]);
    }
  });

  test("the same Idempotency-Key is one wish, another caller's is another", async () => {
    const fake = createFake();
    fake.onCommand = (command) => beginOperation(fake, command);
    const headers = { "idempotency-key": "retry-1" };
    for (const token of [ADMIN, ADMIN, OPERATOR]) {
      expect((await ask(fake, "/v1/switchover", { body: "{}", token, headers })).status).toBe(202);
    }
    expect(new Set(fake.commands.map(({ id }) => id)).size).toBe(2);
    expect(fake.commands.map(({ by }) => by)).toEqual(["admin-1", "operator-1"]);
  });

  test("a refusal is 409 with its code, message and hint", async () => {
    const fake = createFake();
    const outcome = { ok: false, code: "already-initialized", message: "No.", hint: "Look." } as const;
    fake.answer = { kind: "applied", outcome };
    const problem = await problemOf(await ask(fake, "/v1/cluster/initialize", { body: "{}" }));
    expect(problem).toMatchObject({ status: 409, code: "already-initialized", detail: "No.", hint: "Look." });
  });

  test("nobody leads: 503; a time-out: 504, and it is called unknown", async () => {
    const fake = createFake();
    fake.answer = { kind: "not-proposed", reason: "no leader" };
    expect(await problemOf(await ask(fake, "/v1/switchover", { body: "{}" }))).toMatchObject({
      status: 503,
      code: "no-leader",
    });
    fake.answer = { kind: "unknown", reason: "no answer" };
    const problem = await problemOf(await ask(fake, "/v1/switchover", { body: "{}" }));
    expect(problem).toMatchObject({ status: 504, code: "unknown-outcome" });
    expect(problem.detail).toContain("may still happen");
  });

  test("a hook of the primary's host refuses a switchover before anything is begun", async () => {
    const fake = createFake();
    const { state, local } = fake;
    if (state?.reign == null || local === null) throw new Error("the fixture has a primary");
    const cohort = { standbyIds: [M2, M3], k: 1 };
    fake.state = { ...state, reign: { ...state.reign, cohort } };
    fake.local = { ...local, hooks: { guardsSwitchover: true, last: null } };
    expect(await problemOf(await ask(fake, "/v1/switchover", { body: '{"to":"m3"}' }))).toMatchObject({
      status: 409,
      code: "hook-refused",
      detail: "The hook before-switchover of m1 refuses: the batch run is not over. Nothing was begun.",
    });
    expect(fake.commands).toEqual([]);
    await ask(fake, "/v1/switchover", { body: '{"to":"m2"}' });
    expect(fake.commands[0]?.change).toMatchObject({ kind: "begin-switchover", targetId: M2 });
  });

  test("a switchover without a name goes to the standby that would be chosen, and says why none can", async () => {
    const fake = createFake({ clock: pollingClock() });
    fake.onCommand = (command) => beginOperation(fake, command);
    await ask(fake, "/v1/switchover", { body: "{}" });
    expect(fake.commands[0]?.change).toMatchObject({ kind: "begin-switchover", epoch: 3 });
    fake.observations.clear();
    const problem = await problemOf(await ask(fake, "/v1/switchover", { body: "{}" }));
    expect(problem.code).toBe("member-unsuitable");
    expect(problem.hint).toContain("m2 does not stream");
  });

  test("a switchover to a standby that would be passed over is refused, and why; a repeated request is not", async () => {
    const fake = createFake({ clock: pollingClock() });
    fake.onCommand = (command) => beginOperation(fake, command);
    const headers = { "idempotency-key": "retry-2" };
    const post = () => ask(fake, "/v1/switchover", { body: '{"to":"m3"}', headers });
    fake.state = stateOf({ reign: reignOf({ cohort: { standbyIds: [M2], k: 1 } }) });
    const problem = await problemOf(await post());
    expect(problem).toMatchObject({ status: 409, code: "member-unsuitable" });
    expect(problem.detail).toBe("m3 is not in the cohort, so it cannot take over now.");
    expect(fake.commands).toEqual([]);
    fake.state = stateOf();
    expect((await post()).status).toBe(202);
    const [command] = fake.commands;
    fake.observations.clear();
    expect((await post()).status).toBe(202);
    // It is over, and the old primary is a standby by now.
    fake.state = { ...fake.state, reign: reignOf({ epoch: 4 as Epoch, primaryId: M3 }) };
    const again = await post();
    expect([again.status, again.headers.get("location")]).toEqual([202, `/v1/operations/${command?.id}`]);
    expect(fake.commands).toHaveLength(1);
  });

  test("a switchover waits a moment for a standby that is about to be in the cohort, and not for one that may not", async () => {
    let sleeps = 0;
    const fake = createFake({
      clock: pollingClock(() => {
        sleeps += 1;
        if (sleeps === 3) fake.state = stateOf();
      }),
    });
    fake.onCommand = (command) => beginOperation(fake, command);
    fake.state = stateOf({ reign: reignOf({ cohort: { standbyIds: [M2], k: 1 } }) });
    expect((await ask(fake, "/v1/switchover", { body: '{"to":"m3"}' })).status).toBe(202);
    expect(sleeps).toBe(3);
    const barred = stateOf().members.map((member) => ({
      ...member,
      tags: { ...member.tags, isNoFailover: true },
    }));
    fake.state = stateOf({ members: barred });
    const refused = await problemOf(await ask(fake, "/v1/switchover", { body: '{"to":"m3"}' }));
    expect(refused.detail).toBe("m3 has the tag no-failover, so it cannot take over now.");
    expect(sleeps).toBe(3);
  });

  test("a join token carries the CA's fingerprint, and only its hash is agreed", async () => {
    const fake = createFake();
    const response = await ask(fake, "/v1/members", { body: '{"ttlSeconds":60}' });
    expect(response.status).toBe(201);
    const { token, expiresAt } = (await response.json()) as JoinTokenDocument;
    expect(expiresAt).toBe("1970-01-01T00:01:05.000Z");
    const parsed = parseJoinToken(token);
    expect(parsed.ok && parsed.value.caFingerprint).toBe(
      // echo -n -e '\x00\x01\x02' | sha256sum
      "ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc",
    );
    expect(JSON.stringify(fake.commands)).not.toContain("s".repeat(32));
  });

  test("unknown members are refused before anything is proposed", async () => {
    const fake = createFake();
    expect((await ask(fake, "/v1/members/m9")).status).toBe(404);
    const problem = await problemOf(await ask(fake, "/v1/members/m9/reinitialize", { method: "POST" }));
    expect(problem).toMatchObject({ status: 409, code: "member-unknown", hint: "Members are: m1, m2, m3." });
    expect(fake.commands).toEqual([]);
  });
});

describe("setup", () => {
  const admit = {
    tokenId: "join-1",
    secret: SECRET,
    csrPem: "CSR",
    name: "m3",
    hosts: ["10.0.0.3"],
    addresses: { api: "10.0.0.3:8008", peer: "10.0.0.3:8009", postgres: "10.0.0.3:5432" },
    kind: "data",
    tags: { failoverPriority: 0, isNoFailover: false },
  };

  test("a joiner is let in by its join token's secret alone", async () => {
    const good = await ask(createFake(), "/v1/members/join", { token: null, body: JSON.stringify(admit) });
    expect(good.status).toBe(201);
    for (const wrong of [{ secret: "another-secret-of-it" }, { tokenId: "join-2" }]) {
      const body = JSON.stringify({ ...admit, ...wrong });
      const bad = await ask(createFake(), "/v1/members/join", { body });
      expect([bad.status, (await problemOf(bad)).code]).toEqual([401, "join-token-unknown"]);
    }
  });

  test("a refusal of admission keeps its code and status", async () => {
    const fake = createFake({
      admit: async () => err({ code: "join-token-used", message: "It was used.", hint: null, status: 409 }),
    });
    const problem = await problemOf(
      await ask(fake, "/v1/members/join", { token: null, body: JSON.stringify(admit) }),
    );
    expect(problem).toMatchObject({ status: 409, code: "join-token-used" });
  });

  test("before forming, everything of the cluster says not-formed", async () => {
    const fake = createFake();
    fake.state = null;
    for (const path of ["/v1/cluster", "/v1/members", "/v1/operations", "/v1/events", "/v1/ca"]) {
      const problem = await problemOf(await ask(fake, path, { token: null, origin: "local" }));
      expect(problem).toMatchObject({ status: 409, code: "not-formed" });
    }
    expect((await ask(fake, "/v1/cluster")).status).toBe(401);
  });

  test("forming or joining twice is refused; a bad join token is not repeated", async () => {
    const local = { token: null, origin: "local" } as const;
    const formed = createFake();
    expect((await problemOf(await ask(formed, "/v1/form", { ...local, body: "{}" }))).code).toBe(
      "already-formed",
    );
    const fresh = createFake();
    fresh.state = null;
    const body = JSON.stringify({ address: "10.0.0.1:8008", token: "gcm_join.SECRETPART" });
    const response = await ask(fresh, "/v1/join", { ...local, body });
    expect(response.status).toBe(422);
    expect(await response.text()).not.toContain("SECRETPART");
  });

  test("the CA's certificate is public", async () => {
    const response = await ask(createFake(), "/v1/ca", { token: null });
    expect(await response.text()).toContain("BEGIN CERTIFICATE");
  });
});

describe("reads", () => {
  test("the cluster shows what is agreed, what is seen and how fresh it is", async () => {
    const fake = createFake();
    const cluster = (await (await ask(fake, "/v1/cluster")).json()) as ClusterDocument;
    expect(cluster).toMatchObject({ name: "orders", isWritable: true, raft: { leader: "m1" } });
    expect(cluster.freshness).toEqual({ consistency: "local", index: 41, answeredBy: "m1" });
    expect(cluster.members.map(({ name, role, state, lagBytes }) => [name, role, state, lagBytes])).toEqual([
      ["m1", "primary", "running", null],
      ["m2", "standby", "streaming", 1_000],
      ["m3", "standby", "streaming", 1_000],
    ]);
    expect(fake.commands).toEqual([]);
  });

  test("the cluster warns of commits that no failover can promise, where it promises others", async () => {
    const fake = createFake();
    const warnings = async () =>
      ((await (await ask(fake, "/v1/cluster")).json()) as ClusterDocument).warnings;
    expect(await warnings()).toEqual([]);
    const primary = PRIMARY as Extract<typeof PRIMARY, { kind: "primary" }>;
    fake.local = statusOf(fake.selfId, { ...primary, unguarded: ["role etl in database shop"] });
    expect(await warnings()).toMatchObject([
      { code: "commits-unguarded", text: expect.stringContaining("role etl in database shop") },
    ]);
    const { spec } = stateOf();
    fake.state = stateOf({ spec: { ...spec, durability: { mode: "async", maxLagBytes: 1 } } });
    expect(await warnings()).toEqual([]);
  });

  test("says when certificates end, and warns of those that somebody has to look after", async () => {
    const fake = createFake();
    const ends = { memberEndsAtMs: 1_700_000_000_000, apiEndsAtMs: 1_800_000_000_000 };
    const certificates = { ...ends, authorityEndsAtMs: 1_900_000_000_000, problems: ["it ends"] };
    fake.local = statusOf(fake.selfId, PRIMARY, { certificates });
    const { members, warnings } = (await (await ask(fake, "/v1/cluster")).json()) as ClusterDocument;
    expect(members[0]?.certificates).toEqual({
      memberEndsAt: "2023-11-14T22:13:20.000Z",
      apiEndsAt: "2027-01-15T08:00:00.000Z",
      authorityEndsAt: "2030-03-17T17:46:40.000Z",
      problems: ["it ends"],
      issuer: null,
      trusted: [],
    });
    expect(members[1]?.certificates).toBeNull();
    expect(warnings).toMatchObject([{ code: "certificate", text: "m1: it ends" }]);
    expect(await (await ask(fake, "/metrics")).text()).toContain(
      'guacamole_certificate_end_seconds{member="m1",certificate="member"} 1700000000\n',
    );
  });

  test("the cluster warns of an audit trail that does not get to its syslog daemon", async () => {
    const fake = createFake();
    const syslog = { target: "unix:/dev/log", problem: "nobody listens there", waiting: 2, lost: 3 };
    fake.local = statusOf(M1, PRIMARY, { syslog });
    const { warnings, members } = (await (await ask(fake, "/v1/cluster")).json()) as ClusterDocument;
    expect(members[0]?.syslog).toEqual(syslog);
    expect(warnings.map(({ code, text }) => [code, text])).toEqual([
      ["audit-syslog", "m1: the audit trail is not sent to unix:/dev/log: nobody listens there"],
      ["audit-syslog", "m1: up to 3 entries of the audit trail never got to unix:/dev/log"],
    ]);
  });

  test("the cluster warns of what is declared and is not so", async () => {
    const fake = createFake();
    const declared = { revision: 2, impossible: 0, drift: 0, pending: 1 };
    const warnings = async () =>
      ((await (await ask(fake, "/v1/cluster")).json()) as ClusterDocument).warnings;
    fake.local = statusOf(fake.selfId, PRIMARY, { declared });
    expect(await warnings()).toEqual([]);
    fake.local = statusOf(fake.selfId, PRIMARY, { declared: { ...declared, impossible: 2 } });
    expect(await warnings()).toMatchObject([
      { code: "declared-otherwise", text: expect.stringContaining("2 things cannot be") },
    ]);
  });

  test("a linearizable read waits for the log, and says when it cannot", async () => {
    const fake = createFake();
    const path = "/v1/cluster?consistency=linearizable";
    expect(((await (await ask(fake, path)).json()) as ClusterDocument).freshness.consistency).toBe(
      "linearizable",
    );
    expect(fake.commands).toEqual([]);
    fake.barrier = { kind: "unknown", reason: "no leader" };
    const unknown = await ask(fake, path);
    expect(unknown.status).toBe(503);
    expect(unknown.headers.get("retry-after")).toBe("1");
    expect((await ask(fake, "/v1/cluster")).status).toBe(200);
  });

  test("a fault of our own is a plain 500, and the log has it", async () => {
    const fake = createFake({
      localStatus: () => {
        throw new Error("secret detail");
      },
    });
    const response = await ask(fake, "/v1/cluster");
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("secret detail");
    expect(fake.logged).toEqual(["api.request-failed"]);
  });

  test("the metrics name lag, roles and epochs, and leave out what is not known", async () => {
    const fake = createFake();
    const text = await (await ask(fake, "/metrics")).text();
    expect(text).toContain('guacamole_standby_receive_lag_bytes{member="m2"} 1000');
    expect(text).toContain('guacamole_member_primary{member="m1"} 1');
    expect(text).toContain("guacamole_failovers_total 2");
    for (const [, name] of text.matchAll(/^([a-z_]+)[{ ]/gm)) expect(text).toContain(`# TYPE ${name} `);
    fake.observations.clear();
    fake.state = stateOf({ reign: null });
    const less = await (await ask(fake, "/metrics")).text();
    expect(less).not.toContain("lag_bytes");
    expect(less).not.toContain("guacamole_epoch ");
  });
});

test("a member that is still starting says so, and is not asked to form again", async () => {
  const fake = createFake({ consensus: () => null });
  const response = await ask(fake, "/v1/cluster", { token: null, origin: "local" });
  expect([response.status, (await problemOf(response)).code]).toEqual([503, "starting"]);
  const form = await ask(fake, "/v1/form", { token: null, origin: "local", body: "{}" });
  expect([form.status, (await problemOf(form)).code]).toEqual([409, "already-formed"]);
});

test("a member that is still starting knows no tokens yet, and calls none of them wrong", async () => {
  const fake = createFake({ consensus: () => null });
  for (const token of [ADMIN, "gcm_nobody_secret-secret-secret", null]) {
    const response = await ask(fake, "/v1/cluster", { token });
    expect([response.status, (await problemOf(response)).code]).toEqual([503, "starting"]);
  }
});

test("F10: the leader's reason is the API's, in the same words", async () => {
  const fake = createFake();
  const leading = { reason: "waiting-for-pledges", text: "Too few standbys have promised. (missing: m3)" };
  fake.local = statusOf(M1, PRIMARY, { leading });
  const response = await ask(fake, "/v1/cluster", { token: null, origin: "local" });
  const { decision } = (await response.json()) as ClusterDocument;
  expect(decision).toMatchObject({ by: "m1", ...leading });
  expect(decision?.wayOut).toContain("guacamole failover --accept-loss");
});
