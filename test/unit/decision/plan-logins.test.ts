import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { ObservedCatalog, ObservedRole } from "../../../src/cluster/catalog.ts";
import { changedDeclaration, type RoleWish } from "../../../src/cluster/declared.ts";
import { endingAt, loginName, replacedNewest, rotated } from "../../../src/cluster/login-pair.ts";
import { planCatalog } from "../../../src/decision/plan-catalog.ts";
import { BLANK, carriedOut, NEW_DATABASE } from "../../support/catalog-model.ts";

type Wish = Omit<RoleWish, "since">;

const day = (count: number) =>
  new Date(Date.parse("2027-01-01T00:00:00Z") + count * 86_400_000).toISOString();

function catalog(now: string, roles: Readonly<Record<string, Partial<ObservedRole>>> = {}): ObservedCatalog {
  const all = Object.entries({ postgres: { superuser: true, login: true }, ...roles });
  return {
    now,
    major: 18,
    roles: new Map(all.map(([name, role]) => [name, { ...BLANK, ...role }])),
    databases: new Map([["postgres", NEW_DATABASE]]),
  };
}

function planned(wish: Wish, observed: ObservedCatalog) {
  const declared = changedDeclaration(undefined, { roles: { app: wish } }, 7);
  if (declared === null) throw new Error("nothing is declared");
  return planCatalog(declared, observed);
}

/** Once: then there must be nothing left. */
function converged(wish: Wish, observed: ObservedCatalog): ObservedCatalog {
  const after = planned(wish, observed).steps.reduce(
    (world, { statement }) => carriedOut(world, statement),
    observed,
  );
  expect(planned(wish, after)).toEqual({ steps: [], impossible: [] });
  return after;
}

function rotatedAt(wish: Wish, verifier: string, now: string, until: string): Wish {
  const after = rotated(wish, verifier, now, until);
  if (!after.ok) throw new Error(after.error);
  return after.value;
}

/** Whose password is good, by role. */
function passwords({ roles, now }: ObservedCatalog): Readonly<Record<string, string>> {
  return Object.fromEntries(
    [...roles].flatMap(([name, { login, password, validUntil }]) =>
      login && password !== null && (validUntil === null || now < validUntil) ? [[name, password]] : [],
    ),
  );
}

describe("a role whose password is rotated", () => {
  test("leaves its own login for app_a, then they take turns; who ended is locked, whoever logged in keeps what he had", () => {
    const settings = new Map([
      ["work_mem", "8MB"],
      ["jit", "off"],
    ]);
    const databaseSettings = new Map([["postgres", new Map([["search_path", "shop"]])]]);
    const own = { login: true, password: "old", settings, databaseSettings, connectionLimit: 9 };
    let wish: Wish = { login: true, settings: { jit: null } };
    let world = catalog(day(0), { app: own });
    wish = rotatedAt(wish, "v1", day(0), day(1));
    world = converged(wish, world);
    expect(passwords(world)).toEqual({ app: "old", app_a: "v1" });
    expect(world.roles.get("app_a")).toMatchObject({
      connectionLimit: 9,
      settings: new Map([
        ["work_mem", "8MB"],
        ["role", "app"],
      ]),
      databaseSettings,
      memberOf: [{ role: "app", isAdmin: false }],
    });
    // PostgreSQL itself ends it, whoever does or does not come to lock it.
    expect(passwords({ ...world, now: day(1) })).toEqual({ app_a: "v1" });
    world = converged(wish, { ...world, now: day(1) });
    expect(world.roles.get("app")).toMatchObject({ login: false, password: null });
    wish = rotatedAt(wish, "v2", day(2), day(3));
    world = converged(wish, { ...world, now: day(2) });
    expect(passwords(world)).toEqual({ app_a: "v1", app_b: "v2" });
    world = converged(wish, { ...world, now: day(3) });
    expect(passwords(world)).toEqual({ app_b: "v2" });
    wish = rotatedAt(wish, "v3", day(4), day(4));
    world = converged(wish, { ...world, now: day(4) });
    expect(passwords(world)).toEqual({ app_a: "v3" });
  });

  test("a role that is somebody else's is not taken for a login", () => {
    const wish = rotatedAt({}, "v1", day(0), day(1));
    const { steps, impossible } = planned(wish, catalog(day(0), { app: {}, app_a: { login: true } }));
    expect(steps).toEqual([]);
    expect(impossible[0]).toMatchObject({
      name: "app",
      reason: expect.stringContaining("a role app_a that is no member of app"),
    });
  });

  test("is not touched by those who may not, where a login is as powerful as a superuser", () => {
    const member = { memberOf: [{ role: "app", isAdmin: false, grantor: "postgres" }] };
    const world = catalog(day(0), { app: {}, app_a: { superuser: true, ...member } });
    const wish = rotatedAt({}, "v1", day(0), day(1));
    expect(planned(wish, world).impossible[0]?.reason).toContain("only a token of scope 'admin'");
    expect(planned({ ...wish, isTrusted: true }, world).impossible).toEqual([]);
  });

  test("a login that somebody unlocks is locked again, and one that has a time says when", () => {
    const wish = rotatedAt(rotatedAt({}, "v1", day(0), day(0)), "v2", day(1), day(2));
    const world = converged(wish, catalog(day(1)));
    const late = planned(wish, { ...world, now: day(2) }).steps;
    expect(late).toMatchObject([{ item: { name: "app" }, dueAt: day(2), what: "app_a: login, password" }]);
    const unlocked = carriedOut(world, { kind: "alter-role", role: "app", attributes: { login: true } });
    const [step] = planned(wish, unlocked).steps;
    expect(step).toMatchObject({ what: "login" });
    expect(step).not.toHaveProperty("dueAt");
  });

  test("goes with its logins, and they go first", () => {
    const world = converged(rotatedAt({}, "v1", day(0), day(0)), catalog(day(0)));
    const { logins } = rotatedAt({}, "v1", day(0), day(0));
    const gone: Wish = { isAbsent: true, ...(logins === undefined ? {} : { logins }) };
    expect(planned(gone, world).steps.map(({ statement }) => statement)).toMatchObject([
      { kind: "drop-role", role: "app_a" },
      { kind: "drop-role", role: "app" },
    ]);
  });
});

const op = fc.oneof(
  fc.record({ kind: fc.constant("rotate" as const), days: fc.nat(3) }),
  fc.record({ kind: fc.constant("again" as const) }),
  fc.record({ kind: fc.constant("end-at" as const), days: fc.nat(3) }),
  fc.record({ kind: fc.constant("wait" as const), days: fc.nat(2) }),
);

test("whoever has the newest password logs in, whoever has the one before does until the end that was told, and nobody else", () => {
  fc.assert(
    fc.property(fc.array(op, { maxLength: 12 }), (ops) => {
      let wish: Wish = {};
      let world = catalog(day(0));
      let today = 0;
      const told: { login: string; verifier: string; until: number | null }[] = [];
      for (const [index, each] of ops.entries()) {
        const verifier = `v${index}`;
        if (each.kind === "wait") today += each.days;
        const before = told.at(-2);
        if (each.kind === "rotate") {
          const after = rotated(wish, verifier, day(today), day(today + each.days));
          const isOverlapping = before !== undefined && (before.until ?? 0) > today;
          expect(after.ok || isOverlapping || told.length === 1).toBe(true);
          if (after.ok) {
            wish = after.value;
            const last = told.at(-1);
            if (last !== undefined) last.until = today + each.days;
            told.push({ login: loginName("app", wish.logins?.newest ?? "self"), verifier, until: null });
          }
        }
        const { logins } = wish;
        const newest = told.at(-1);
        if (each.kind === "again" && logins !== undefined && newest !== undefined) {
          wish = replacedNewest(wish, logins, verifier);
          newest.verifier = verifier;
        }
        if (each.kind === "end-at" && logins !== undefined) {
          const after = endingAt(wish, logins, day(today), day(today + each.days));
          if (after.ok) {
            wish = after.value;
            if (before !== undefined) before.until = today + each.days;
          }
        }
        world = converged(wish, { ...world, now: day(today) });
        const good = told.filter(({ until }) => until === null || until > today);
        expect(passwords(world)).toEqual(
          Object.fromEntries(good.map(({ login, verifier: own }) => [login, own])),
        );
      }
    }),
    { numRuns: 300 },
  );
});
