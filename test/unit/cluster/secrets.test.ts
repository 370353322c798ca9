/** Secrets are found by where they stand, names are shown whatever they are: in the trail, in versions, and in the whole. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { describeBlame, describeChanges } from "../../../src/api/describe-versions.ts";
import { hiddenFrom } from "../../../src/api/hidden-from.ts";
import { describeSpec } from "../../../src/api/spec-body.ts";
import type { MemberId } from "../../../src/base/ids.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { DatabaseWish, RoleWish } from "../../../src/cluster/declared.ts";
import { masked, SPEC_PLACE, STATE_PLACE, unmasked } from "../../../src/cluster/secrets.ts";
import { type ClusterSpec, DEFAULT_SPEC } from "../../../src/cluster/spec.ts";
import { changesBetween } from "../../../src/cluster/spec-history.ts";
import type { ClusterState, Scope } from "../../../src/cluster/state.ts";
import { M1, stateOf } from "../api/fixture.ts";

/** Nothing else holds this text. */
const HUSH = "hush-value-9f3c";
const WORDS = ["secret", "password", "passphrase", "verifier", "hash", "privatekey", "api_token"];

const name = fc
  .tuple(fc.constantFrom("", "app_", "x"), fc.constantFrom(...WORDS), fc.stringMatching(/^[a-z0-9_]{0,6}$/))
  .map((parts) => parts.join(""));
const named = <T>(each: fc.Arbitrary<T>) => fc.dictionary(name, each, { minKeys: 1, maxKeys: 3 });

/** Settings with secrets in every way that they come in, and one without. */
const settings = fc.constant({
  work_mem: "64MB",
  "app.api_secret": HUSH,
  "app.conninfo": `host=a password=${HUSH}`,
  "app.url": `postgres://u:${HUSH}@h/db`,
});
const role: fc.Arbitrary<RoleWish> = fc.record({
  since: fc.constant(1),
  login: fc.boolean(),
  password: fc.constant(`SCRAM-SHA-256$4096:${HUSH}`),
  logins: fc.constant({
    newest: "a" as const,
    previous: { login: "self" as const, until: "2027-01-01T00:00:00.000Z" },
    selfVerifier: HUSH,
    aVerifier: HUSH,
  }),
  memberOf: named(fc.constantFrom("member" as const, "admin" as const)),
  settings,
  databaseSettings: named(settings),
});
const database: fc.Arbitrary<DatabaseWish> = fc.record({
  since: fc.constant(1),
  owner: name,
  settings,
  extensions: named(fc.constantFrom(null, { version: "1.0" })),
  schemas: named(name.map((owner) => ({ owner, privileges: { [owner]: ["usage" as const] } }))),
  privileges: named(fc.constant(["connect" as const])),
});
const rule = name.map((user) => ({
  name: user,
  type: "host" as const,
  databases: [user],
  users: [user],
  address: "all",
  method: "radius",
  options: { radiusservers: "10.0.0.9", radiussecrets: HUSH },
}));
const spec: fc.Arbitrary<ClusterSpec> = fc
  .record({ roles: named(role), databases: named(database), hba: fc.array(rule, { maxLength: 3 }) })
  .map(({ roles, databases, hba }) => ({
    ...DEFAULT_SPEC,
    postgres: {
      parameters: {
        cluster: { ssl_passphrase_command: HUSH, work_mem: "1MB" },
        members: { [M1 as MemberId]: { "app.api_secret": HUSH } },
      },
    },
    access: { revision: 1, hba },
    declared: { revision: 1, roles, databases },
  }));

function namesIn({ declared, access }: ClusterSpec): readonly string[] {
  const { roles = {}, databases = {} } = declared ?? {};
  return [
    ...Object.entries(roles).flatMap(([each, { memberOf = {}, databaseSettings = {} }]) => [
      each,
      ...Object.keys(memberOf),
      ...Object.keys(databaseSettings),
    ]),
    ...Object.entries(databases).flatMap(
      ([each, { owner = "", extensions = {}, schemas = {}, privileges = {} }]) => [
        each,
        owner,
        ...Object.keys(extensions),
        ...Object.keys(schemas),
        ...Object.keys(privileges),
      ],
    ),
    ...(access?.hba ?? []).flatMap(({ users }) => users),
  ];
}

/** The values beside the names: none of them may be a mask that is no secret. */
const PLAIN = ['"login":', '"work_mem":"64MB"', '"version":"1.0"'];

function stateWith(wished: ClusterSpec): ClusterState {
  return stateOf({ featureLevel: 4, spec: wished });
}

const command = (wished: ClusterSpec, state: ClusterState) => ({
  id: "c",
  atMs: 1,
  by: "local",
  asked: { address: null, request: "PUT /v1/spec" },
  change: { kind: "change-spec", generation: state.generation, spec: wished } as const,
});

describe("no secret is shown and every name is", () => {
  test("of all that is wanted, as it is told, whoever asks", () => {
    fc.assert(
      fc.property(
        spec,
        fc.constantFrom<Scope[]>("viewer", "operator", "access", "admin"),
        (wished, scope) => {
          const state = stateWith(wished);
          const hides = hiddenFrom({ by: "x", scopes: [scope] });
          const whole = JSON.stringify(describeSpec(state, wished, hides));
          const came = JSON.stringify(describeChanges(state, changesBetween(DEFAULT_SPEC, wished), hides));
          const went = JSON.stringify(describeChanges(state, changesBetween(wished, DEFAULT_SPEC), hides));
          const blamed = JSON.stringify(describeBlame(state, "", hides));
          for (const text of [whole, came, went, blamed, JSON.stringify(masked(wished, SPEC_PLACE, hides))]) {
            expect(text).not.toContain(HUSH);
            for (const each of namesIn(wished)) expect(text).toContain(each);
          }
          for (const each of PLAIN.slice(0, 2)) expect(whole).toContain(each);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("of a role or a database that comes or goes, in the trail", () => {
    fc.assert(
      fc.property(name, role, database, (each, wish, other) => {
        const declared = { revision: 1, roles: { [each]: wish }, databases: { [each]: other } };
        const wished = { ...DEFAULT_SPEC, declared };
        for (const [from, to] of [
          [DEFAULT_SPEC, wished],
          [wished, DEFAULT_SPEC],
          [wished, { ...wished, declared: { ...declared, roles: { other: wish } } }],
        ] as const) {
          const state = stateWith(from);
          const { events } = apply(state, command(to, state));
          const values = events.flatMap(({ audit }) => audit?.values ?? []);
          const text = JSON.stringify(values);
          expect(values.length).toBeGreaterThan(0);
          expect(text).not.toContain(HUSH);
          expect(text).toContain(each);
          // What is told of it is told, not hidden as a whole.
          expect(text).toMatch(/login/);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("of the whole state", () => {
    const state = stateOf();
    const text = JSON.stringify(masked(state, STATE_PLACE));
    for (const { secretHash } of [...state.tokens, ...state.joinTokens])
      expect(text).not.toContain(secretHash);
    expect(text).not.toContain("PRIVATE-KEY");
    expect(text).toContain("BEGIN CERTIFICATE");
  });

  test("who may do what with a table is shown, whatever the table and the role are called", () => {
    const grants = { secret_reader: ["select"], public: [] };
    const defaultPrivileges = { password_owner: { tables: grants, sequences: grants, functions: grants } };
    const objects = { user_passwords: grants, "*": grants };
    const schemas = {
      passwords: { privileges: grants, tables: objects, functions: objects, defaultPrivileges },
    };
    const wished = {
      declared: { databases: { secret_db: { privileges: grants, schemas, defaultPrivileges } } },
    };
    expect(masked(wished, SPEC_PLACE)).toEqual(wished);
  });

  test("a field that nobody listed is masked where its word says that it is a secret", () => {
    const later = { declared: { roles: { secret_app: { nextPassword: HUSH, rotates: "daily" } } } };
    expect(masked(later, SPEC_PLACE)).toEqual({
      declared: { roles: { secret_app: { nextPassword: "***", rotates: "daily" } } },
    });
  });
});

describe("a mask that is sent back", () => {
  test.each<[string, string, string | undefined, string | null]>([
    ["work_mem", "64MB", undefined, "64MB"],
    ["archive_command", "***", "cp %p /a", "cp %p /a"],
    ["archive_command", "***", undefined, null],
    ["archive_command", "cp %p /b", "cp %p /a", "cp %p /b"],
    ["app.api_secret", "***", HUSH, HUSH],
    ["app.conninfo", "host=a password=***", `host=a password=${HUSH}`, `host=a password=${HUSH}`],
    ["app.conninfo", "host=b password=***", `host=a password=${HUSH}`, null],
  ])("%s %s, where %s is there, means %s", (parameter, given, present, meant) =>
    expect(unmasked(parameter, given, present)).toBe(meant),
  );
});
