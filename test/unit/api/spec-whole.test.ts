/** All that is wanted as one document: what is shown may be sent back, and what differs is one change or none. */
import { beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type { SpecBody } from "../../../src/api/spec-body.ts";
import type { SpecAppliedDocument, SpecDocument } from "../../../src/api/spec-documents.ts";
import type { Generation, MemberId } from "../../../src/base/ids.ts";
import { ok } from "../../../src/base/result.ts";
import { scramVerifier } from "../../../src/base/scram.ts";
import type { HbaRule } from "../../../src/cluster/hba-rule.ts";
import type { SpecInForce } from "../../../src/cluster/observation.ts";
import type { ClusterSpec } from "../../../src/cluster/spec.ts";
import type { ClusterState, Scope } from "../../../src/cluster/state.ts";
import {
  request as ask,
  CONNECTIONS,
  type Fake,
  living,
  M1,
  M2,
  M3,
  observed,
  PRIMARY,
  read,
  SECRET,
  STANDBY,
  stateOf,
  statusOf,
  WORK_MEM,
} from "./fixture.ts";

const verifier = await scramVerifier("a good password", new Uint8Array(16), 4096);
const RADIUS: HbaRule = {
  type: "host",
  databases: ["sales"],
  users: ["app"],
  address: "10.0.0.0/8",
  method: "radius",
  options: { radiussecrets: "hush-hush", radiusservers: "10.0.0.9" },
};
const REJECT: HbaRule = {
  type: "host",
  databases: ["all"],
  users: ["all"],
  address: "all",
  method: "reject",
};
const PROVIDER = {
  name: "corp",
  issuer: "https://id.example.org",
  audiences: ["guacamole"],
  scopes: [{ claim: "groups", value: "dba", scope: "admin" as const }],
};

/** Something in every section, secrets in three of them. */
const FULL: ClusterSpec = {
  ...stateOf().spec,
  postgres: {
    parameters: {
      cluster: { work_mem: "64MB", primary_conninfo_extra: "host=x password=hidden-word" },
      members: { [M2]: { work_mem: "32MB" } },
    },
  },
  access: { revision: 1, hba: [RADIUS, REJECT] },
  declared: {
    revision: 1,
    roles: {
      app: { since: 1, login: true, password: verifier },
      root: { since: 1, isTrusted: true, superuser: true },
      secret_reader: { since: 1, login: false, settings: { "app.secret": "hush", work_mem: "8MB" } },
    },
    databases: { sales: { since: 1, owner: "app" } },
  },
};

let fake: Fake;
beforeEach(() => {
  fake = living({ featureLevel: 4, spec: FULL });
  Object.assign(fake.ports, {
    serverSettings: async () =>
      ok({ settings: [WORK_MEM, CONNECTIONS], prefixes: [], fileErrors: [], takenOut: [] }),
    tryParameters: async () => ({ kind: "fits" }),
  });
});

const tokenOf = (scope: Scope) => `gcm_${scope}-1_${SECRET}`;
const shown = async () => (await read<SpecDocument>(await ask(fake, "GET", "/v1/spec"))).spec;
const agreed = (): ClusterState => {
  if (fake.state === null) throw new Error("it is formed");
  return fake.state;
};

async function put(body: SpecBody, scope: Scope = "admin", path = "/v1/spec"): Promise<SpecAppliedDocument> {
  const answer = await ask(fake, "PUT", path, body, {}, tokenOf(scope));
  if (answer.status !== 200) throw new Error(await answer.text());
  return read<SpecAppliedDocument>(answer);
}

async function refused(body: unknown, scope: Scope = "admin", headers = {}): Promise<string> {
  const before = agreed();
  const answer = await ask(fake, "PUT", "/v1/spec", body, headers, tokenOf(scope));
  const { code, detail } = await read<ProblemDocument>(answer);
  // Whatever is refused, nothing of it was done.
  expect(agreed()).toBe(before);
  return `${answer.status} ${code}: ${detail}`;
}

describe("the whole spec", () => {
  test("as it is shown holds no secret, and sent back changes nothing, whoever may read it", async () => {
    const spec = await shown();
    expect(JSON.stringify(spec)).not.toMatch(/hush|hidden-word|SCRAM/);
    // A role is no secret for its name.
    expect(spec.declared?.roles?.["secret_reader"]).toEqual({
      login: false,
      settings: { "app.secret": "***", work_mem: "8MB" },
    });
    for (const scope of ["viewer", "operator", "access", "admin"] as const)
      expect(await put(spec, scope)).toMatchObject({ generation: 1, changes: [] });
    expect(fake.commands).toEqual([]);
    expect(agreed().spec).toBe(FULL);
  });

  test("says which members have it in force", async () => {
    const has = (spec: SpecInForce | undefined, id: MemberId, over = {}) =>
      fake.observations.set(id, observed(statusOf(id, STANDBY, spec === undefined ? {} : { spec }), over));
    const states = async () =>
      (await read<SpecDocument>(await ask(fake, "GET", "/v1/spec"))).members.map(({ state }) => state);
    fake.local = statusOf(M1, PRIMARY, { spec: { generation: 1, checksum: null } });
    has({ generation: 0, checksum: null }, M2);
    has(undefined, M3);
    expect(await states()).toEqual(["in-force", "behind", "unknown"]);
    has({ generation: 1, checksum: "another" }, M2);
    // Further than who is asked knows: it has all of this, too.
    has({ generation: 2, checksum: "another" }, M3);
    expect(await states()).toEqual(["in-force", "different", "in-force"]);
    has({ generation: 1, checksum: null }, M3, { isConnected: false });
    expect((await states())[2]).toBe("unknown");
  });

  test("changes in several sections as one generation, and keeps what is masked", async () => {
    const spec = await shown();
    const answer = await put({
      ...spec,
      failover: { ...(spec.failover as NonNullable<SpecBody["failover"]>), calmMs: 1_234 },
      postgres: { parameters: { ...spec.postgres?.parameters, cluster: { work_mem: "16MB" } } },
      // In another order, with a comment: it is the same rule all the same.
      access: {
        rules: [spec.access?.rules[1], { ...spec.access?.rules[0], comment: "the radius" }] as never,
      },
      declared: { roles: { app: { login: true, password: "***", connectionLimit: 5 } } },
    });
    expect(answer.generation).toBe(2);
    expect(fake.commands).toHaveLength(1);
    const { failover, postgres, access, declared } = agreed().spec;
    expect(failover?.calmMs).toBe(1_234);
    expect(postgres?.parameters?.cluster).toEqual({ work_mem: "16MB" });
    expect(postgres?.parameters?.members).toEqual({ [M2]: { work_mem: "32MB" } });
    expect(access).toEqual({ revision: 2, hba: [REJECT, { ...RADIUS, comment: "the radius" }] });
    expect(declared).toEqual({
      revision: 2,
      roles: { app: { since: 2, isTrusted: true, login: true, connectionLimit: 5, password: verifier } },
    });
    const paths = answer.changes.map(({ path }) => path);
    expect(paths).toContain("failover.calmMs");
    expect(paths).toContain("declared.roles.root.superuser");
    expect(paths.filter((path) => /revision|since|isTrusted/.test(path))).toEqual([]);
    expect(JSON.stringify(answer)).not.toMatch(/hush|hidden-word|SCRAM/);
    // Of thousands that stay, none is sent along.
    expect(fake.commands[0]?.change).toMatchObject({ kind: "change-spec", keepsDeclared: true });
    expect(JSON.stringify(fake.commands[0]?.change)).not.toContain('secret_reader":{');
  });

  test("leaves a section that it does not name, and takes null for the default", async () => {
    await put({ access: null });
    const { access, ...rest } = agreed().spec;
    const { access: _, ...before } = FULL;
    expect(access).toBeUndefined();
    expect(rest).toEqual(before);
    await put({ declared: null, postgres: null, failover: null });
    expect(Object.keys(agreed().spec).toSorted()).toEqual(["durability", "timing"]);
  });

  test("only declarations: what stands in the log is what changes", async () => {
    const roles = { ...(await shown()).declared?.roles, extra: { login: true } };
    await put({ declared: { ...(await shown()).declared, roles } }, "access");
    expect(fake.commands[0]?.change).toEqual({
      kind: "declare",
      generation: 1 as Generation,
      changes: { roles: { extra: { login: true } } },
    });
    // What was said by others keeps the trust that it has.
    expect(agreed().spec.declared?.roles?.["root"]).toEqual({ since: 1, isTrusted: true, superuser: true });
  });

  test("of a dry run changes nothing, and says what it would", async () => {
    const answer = await put({ consensus: { votersMax: 3 } }, "admin", "/v1/spec?dryRun=true");
    expect(answer).toMatchObject({
      generation: 1,
      isDryRun: true,
      changes: [{ path: "consensus.votersMax", before: null, after: 3 }],
    });
    expect(fake.commands).toEqual([]);
  });

  test.each([
    ["durability", { durability: { mode: "async", maxLagBytes: 1 } }, "operator"],
    ["parameters", { postgres: { parameters: { cluster: { work_mem: "1MB" } } } }, "operator"],
    ["rules", { access: { rules: [REJECT] } }, "access"],
    ["declarations", { declared: { roles: { app: { login: false } } } }, "access"],
    ["votes", { consensus: { votersMax: 3 } }, "admin"],
    ["identity providers", { identity: { providers: [PROVIDER] } }, "admin"],
    ["break-glass", { breakGlass: { approvals: 1, defaultSeconds: 60, maxSeconds: 60 } }, "admin"],
    [
      "parameters that run programs",
      { postgres: { parameters: { cluster: { archive_command: "x" } } } },
      "admin",
    ],
    ["roles with power", { declared: { roles: { app: { superuser: true } } } }, "admin"],
  ] as const)("asks for the scope of what it changes: %s", async (_what, body, needed) => {
    const isEnough = (scope: Scope) => scope === "admin" || scope === needed;
    for (const scope of ["viewer", "operator", "access"] as const) {
      if (isEnough(scope)) continue;
      expect(await refused(body, scope)).toStartWith("403 scope-insufficient");
    }
    const isGuarded = JSON.stringify(body).includes("archive_command");
    if (!isGuarded) expect((await put(body as SpecBody, needed)).generation).toBe(2);
  });

  test("is refused as a whole where one part of it is", async () => {
    const good = { consensus: { votersMax: 3 } };
    const bad: readonly (readonly [object, string])[] = [
      [{ postgres: { parameters: { cluster: { work_mem: "1kB" } } } }, "422 parameter-invalid"],
      [{ postgres: { parameters: { cluster: { port: "1" } } } }, "422 parameter-owned"],
      [{ postgres: { parameters: { members: { m9: { work_mem: "1MB" } } } } }, "409 member-unknown"],
      [{ access: { rules: [{ ...REJECT, method: "md6" }] } }, "422 invalid-request: access.rules.1"],
      [{ access: { rules: [{ ...REJECT, members: ["m9"] }] } }, "422 invalid-request"],
      [{ declared: { roles: { pg_x: {} } } }, "422 invalid-request"],
      [
        { durability: { mode: "quorum", synchronousStandbys: 9, onQuorumLoss: "block" } },
        "422 invalid-request",
      ],
      [{ breakGlass: { approvals: 0, defaultSeconds: 60, maxSeconds: 59 } }, "422 invalid-request"],
      [{ identity: { providers: [{ ...PROVIDER, issuer: "http://x.example" }] } }, "422 invalid-request"],
      [
        { identity: { providers: [], clientCertificates: { authorities: "x", scopes: [] } } },
        "422 invalid-request: authorities",
      ],
      [{ nonsense: true }, "422 invalid-request: nonsense: there is no such field"],
    ];
    for (const [part, problem] of bad) expect(await refused({ ...good, ...part })).toStartWith(problem);
    fake.tryAccess = () =>
      ok({ kind: "bad", version: "15.18", faults: [{ line: null, message: "no" }] } as never);
    expect(await refused({ ...good, access: { rules: [REJECT] } })).toStartWith("422 hba-refused");
    expect(await refused(good, "admin", { "if-match": '"9"' })).toStartWith("412 stale-generation");
  });

  test.each([
    [
      "a rule that is another",
      {
        access: {
          rules: [{ ...RADIUS, users: ["b"], options: { ...RADIUS.options, radiussecrets: "***" } }],
        },
      },
    ],
    ["a role that has none", { declared: { roles: { root: { password: "***" } } } }],
    ["a setting that was not there", { declared: { roles: { app: { settings: { "app.secret": "***" } } } } }],
    [
      "a parameter that is another",
      { postgres: { parameters: { cluster: { primary_conninfo_extra: "host=y password=***" } } } },
    ],
  ])("takes no mask for %s", async (_what, body) => {
    expect(await refused(body)).toContain("masked");
  });

  test("holds no password in the clear, and does not repeat it", async () => {
    const problem = await refused({ declared: { roles: { app: { password: "plain-word" } } } });
    expect(problem).toStartWith("422 invalid-request");
    expect(problem).not.toContain("plain-word");
    await put({ declared: { roles: { app: { password: null } } } });
    expect(agreed().spec.declared?.roles?.["app"]?.password).toBeNull();
  });

  test("sent back, what is shown means what it was, whatever it is", async () => {
    const words = fc.constantFrom("a", "password=x", "u://b:c@d", "***", "", "on", "5");
    const settings = fc.dictionary(fc.constantFrom("work_mem", "app.secret", "a.b"), words);
    const role = fc.record(
      {
        login: fc.boolean(),
        password: fc.constantFrom(null, verifier),
        validUntil: fc.constantFrom(null, "2030-01-01T00:00:00.000Z"),
        settings,
        databaseSettings: fc.dictionary(fc.constantFrom("db", "secrets", "constructor"), settings),
      },
      { requiredKeys: [] },
    );
    const rule = fc.record({ comment: words, radiussecrets: words }).map(({ comment, radiussecrets }) => ({
      ...RADIUS,
      ...(comment === "" ? {} : { comment }),
      options: { ...RADIUS.options, radiussecrets },
    }));
    const names = fc.constantFrom("constructor", "secret_x", "x", "hash");
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(names, role, { noNullPrototype: true }),
        fc
          .array(rule, { maxLength: 3 })
          .map((rules) => rules.map((each, index) => ({ ...each, users: [`u${index}`] }))),
        settings,
        async (roles, hba, cluster) => {
          const withSince = Object.fromEntries(
            Object.entries(roles).map(([name, wish]) => [name, { ...wish, since: 1 }] as const),
          );
          const spec: ClusterSpec = {
            ...FULL,
            access: { revision: 1, hba },
            declared: { revision: 1, roles: withSince },
            postgres: { parameters: { cluster } },
          };
          fake.state = stateOf({ featureLevel: 4, spec });
          const body = await shown();
          expect(await put(body, "viewer")).toMatchObject({ changes: [] });
          expect(agreed().spec).toBe(spec);
          // Something beside it in every section: all else is read, and means what it was.
          await put({
            ...body,
            postgres: { parameters: { ...body.postgres?.parameters, primary: { work_mem: "1MB" } } },
            access: { rules: [REJECT, ...(body.access?.rules ?? [])] as never },
            declared: { roles: { ...body.declared?.roles, zz: {} } },
          });
          const after = agreed().spec;
          expect(after.access?.hba.slice(1)).toEqual(hba);
          const { zz, ...kept } = after.declared?.roles ?? {};
          expect(zz).toBeDefined();
          expect(kept).toEqual(withSince);
          expect(after.postgres?.parameters?.cluster ?? {}).toEqual(cluster);
        },
      ),
      { numRuns: 50 },
    );
  });
});
