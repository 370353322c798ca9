import { afterEach, expect, test } from "bun:test";
import { CatalogLoop } from "../../../src/agent/catalog-loop.ts";
import type { CatalogPort } from "../../../src/agent/ports.ts";
import type { Clock } from "../../../src/base/clock.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { CatalogFailure, CatalogStatement, ObservedCatalog } from "../../../src/cluster/catalog.ts";
import type { DeclaredChanges } from "../../../src/cluster/declared.ts";
import type { PostgresStatus } from "../../../src/cluster/observation.ts";
import { BLANK, carriedOut } from "../../support/catalog-model.ts";
import { createFake, M1, M2, PRIMARY, reignOf, STANDBY, stateOf } from "../api/fixture.ts";

/** A server whose catalogs are a model, and a clock that moves when everybody waits. */
class Life {
  readonly fake = createFake();
  readonly asked: string[] = [];
  readonly noted: number[] = [];
  postgres: PostgresStatus = PRIMARY;
  /** By the server's clock. */
  now = "2027-01-01T00:00:00.000Z";
  observed: ObservedCatalog = {
    now: "",
    major: 18,
    roles: new Map([["readers", BLANK]]),
    databases: new Map(),
  };
  /** It says yes, and does nothing. */
  keepsNothing = false;
  /** By kind of statement: why it fails. */
  failures: Record<string, CatalogFailure> = {};
  readonly loop: CatalogLoop;
  #nowMs = 0;
  #wake: (() => void) | null = null;
  #version = 0;

  constructor() {
    this.fake.state = stateOf({ featureLevel: 4 });
    const clock: Clock = {
      nowMs: () => this.#nowMs,
      wallMs: () => 5_000,
      sleep: (durationMs, signal) =>
        new Promise((resolve, reject) => {
          signal?.addEventListener("abort", () => reject(signal.reason));
          this.#wake = () => {
            this.#nowMs += durationMs;
            resolve();
          };
        }),
    };
    const catalog: CatalogPort = {
      glance: async () => {
        this.asked.push("glance");
        return { fingerprint: String(this.#version), now: this.now };
      },
      read: async () => {
        this.asked.push("read");
        return { ...this.observed, now: this.now };
      },
      run: async (statements) => statements.map((statement) => this.#run(statement)),
      close: async () => {},
    };
    const consensus = this.fake.ports.consensus();
    if (consensus === null) throw new Error("the fixture has one");
    this.loop = new CatalogLoop({
      selfId: M1,
      consensus,
      catalog,
      postgres: () => this.postgres,
      noteInForce: async (revision) => {
        this.noted.push(revision);
        this.#propose({ kind: "note-declared", revision });
      },
      clock,
      log: this.fake.ports.log,
    });
  }

  declare(changes: DeclaredChanges): void {
    const { state } = this.fake;
    if (state === null) throw new Error("the fixture has one");
    this.#propose({ kind: "declare", generation: state.generation, changes });
  }

  /** Somebody does something by hand. */
  byHand(statement: CatalogStatement): void {
    this.observed = carriedOut(this.observed, statement);
    this.#version += 1;
  }

  /** So many times the loop waits until its next look. */
  async pass(times = 4): Promise<void> {
    for (let time = 0; time < times; time += 1) {
      for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
      this.#wake?.();
    }
    for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
  }

  #propose(change: Parameters<typeof apply>[1]["change"]): void {
    const applied = apply(this.fake.state, { id: crypto.randomUUID(), atMs: 1, by: "local", change });
    if (!applied.outcome.ok) throw new Error(applied.outcome.message);
    this.fake.state = applied.state;
    this.fake.changed();
  }

  #run(statement: CatalogStatement): CatalogFailure | null {
    this.asked.push(statement.kind);
    const failure = this.failures[statement.kind];
    if (failure !== undefined) return failure;
    if (!this.keepsNothing) this.byHand(statement);
    return null;
  }
}

let life: Life;

async function begin(changes?: DeclaredChanges): Promise<void> {
  life = new Life();
  if (changes !== undefined) life.declare(changes);
  life.loop.start();
  await life.pass();
}

afterEach(async () => {
  await life.loop.stop();
});

const APP = { roles: { app: { login: true, memberOf: { readers: "member" } } } } as const;
const NO_LOGIN = { kind: "alter-role", role: "app", attributes: { login: false } } as const;

test("what is declared is made, and then only looked for", async () => {
  await begin(APP);
  expect(life.observed.roles.get("app")).toMatchObject({ login: true });
  expect(life.loop.report).toEqual({ revision: 2, problems: [], corrected: [] });
  expect(life.loop.status).toEqual({ revision: 2, impossible: 0, drift: 0, pending: 0 });
  life.asked.length = 0;
  await life.pass();
  expect(new Set(life.asked)).toEqual(new Set(["glance"]));
});

test("a change by hand is put back and told, and no first one is", async () => {
  await begin(APP);
  life.byHand(NO_LOGIN);
  await life.pass();
  expect(life.observed.roles.get("app")?.login).toBe(true);
  expect(life.loop.report.corrected).toEqual([{ kind: "role", name: "app", what: "login", atMs: 5_000 }]);
  life.declare({ roles: { app: { login: false } } });
  await life.pass();
  expect(life.observed.roles.get("app")?.login).toBe(false);
  expect(life.loop.report.corrected).toHaveLength(1);
});

test("where that is the policy, it is only told, by the next primary's member too; what is said anew is done", async () => {
  await begin({ ...APP, drift: "report" });
  expect(life.noted).toEqual([2]);
  life.byHand(NO_LOGIN);
  await life.pass();
  expect(life.observed.roles.get("app")?.login).toBe(false);
  expect(life.loop.report.problems).toMatchObject([{ name: "app", state: "drift" }]);
  life.postgres = STANDBY;
  await life.pass();
  life.postgres = PRIMARY;
  await life.pass();
  expect(life.loop.report.problems).toMatchObject([{ name: "app", state: "drift" }]);
  life.declare({ roles: { app: { login: true } } });
  await life.pass();
  expect(life.observed.roles.get("app")?.login).toBe(true);
  expect(life.noted).toEqual([2, 3]);
});

test("what fails is told, tried again later, and never in a hurry", async () => {
  await begin();
  life.failures = { "grant-role": { isPassing: false, message: "it cannot be" } };
  life.declare(APP);
  await life.pass(2);
  expect(life.observed.roles.get("app")?.login).toBe(true);
  expect(life.loop.report.problems).toEqual([
    { kind: "role", name: "app", state: "impossible", reason: "it cannot be" },
  ]);
  expect(life.asked.filter((each) => each === "grant-role")).toHaveLength(1);
  life.failures = {};
  await life.pass(8);
  expect(life.loop.report.problems).toEqual([]);
  // It had never been so: nobody changed it by hand.
  expect(life.loop.report.corrected).toEqual([]);
});

test("what cannot be is tried ever more seldom, and sooner again once somebody did something, or says it anew", async () => {
  await begin();
  life.failures = { "grant-role": { isPassing: false, message: "it cannot be" } };
  const tries = () => life.asked.filter((each) => each === "grant-role").length;
  life.declare(APP);
  // Looks are five seconds apart: tried at 0, 20, 60 and 140 s.
  await life.pass(30);
  expect(tries()).toBe(4);
  await life.pass(26);
  expect(tries()).toBe(4);
  life.byHand({ kind: "create-role", role: "another", attributes: {} });
  await life.pass(1);
  expect(tries()).toBe(5);
  life.declare({ roles: { app: { ...APP.roles.app, createdb: true } } });
  await life.pass(2);
  expect(tries()).toBe(6);
  // In the end every five minutes or so.
  await life.pass(300);
  expect(tries()).toBeLessThan(14);
});

test("what PostgreSQL takes and does not show is not done for ever", async () => {
  await begin();
  life.observed = {
    ...life.observed,
    roles: new Map([
      ["readers", BLANK],
      ["app", BLANK],
    ]),
  };
  life.keepsNothing = true;
  life.declare(APP);
  await life.pass(6);
  expect(life.asked.filter((each) => each === "alter-role").length).toBeLessThan(4);
  expect(life.loop.report.problems[0]).toMatchObject({ state: "impossible" });
  expect(life.loop.report.problems[0]?.reason).toContain("does not show it");
});

test("what is in a database is looked for where something is wanted there, and again after a while", async () => {
  await begin({ databases: { orders: { owner: "readers", schemas: { reports: {} } } } });
  expect(life.observed.databases.get("orders")?.inside?.schemas.has("reports")).toBe(true);
  life.asked.length = 0;
  await life.pass(16);
  expect(life.asked.filter((each) => each === "read")).toHaveLength(1);
});

test.each(["correct", "report"] as const)(
  "a login whose time is over is locked at the next look, which is no drift (%s)",
  async (drift) => {
    const until = "2027-01-01T01:00:00.000Z";
    const logins = { newest: "a", aVerifier: "v", previous: { login: "self", until } } as const;
    await begin({ roles: { app: { rotation: { overlapSeconds: 60 }, logins } }, drift });
    life.byHand({ kind: "alter-role", role: "app", attributes: { login: true, password: "old" } });
    await life.pass();
    expect(life.observed.roles.get("app")).toMatchObject({ login: true, validUntil: until });
    life.now = until;
    life.failures = { "alter-role": { isPassing: true, message: "a lock" } };
    await life.pass();
    expect(life.loop.report.problems).toMatchObject([{ name: "app", state: "pending", reason: "a lock" }]);
    life.failures = {};
    await life.pass();
    expect(life.observed.roles.get("app")).toMatchObject({ login: false, password: null });
    expect(life.loop.report).toMatchObject({ problems: [], corrected: [] });
    life.asked.length = 0;
    await life.pass();
    expect(new Set(life.asked)).toEqual(new Set(["glance"]));
    // From here on it is somebody who unlocks it.
    life.byHand({ kind: "alter-role", role: "app", attributes: { login: true } });
    await life.pass();
    expect(life.observed.roles.get("app")?.login).toBe(drift === "report");
    expect(life.loop.report.corrected).toHaveLength(drift === "report" ? 0 : 1);
  },
);

test.each([
  ["a standby's member", () => ({ postgres: STANDBY, state: stateOf({ featureLevel: 4 }) })],
  [
    "the member of a primary whose reign is over",
    () => ({ postgres: PRIMARY, state: stateOf({ featureLevel: 4, reign: reignOf({ primaryId: M2 }) }) }),
  ],
])("%s does nothing", async (_who, make) => {
  life = new Life();
  const { postgres, state } = make();
  life.postgres = postgres;
  life.fake.state = state;
  life.declare(APP);
  life.loop.start();
  await life.pass();
  expect(life.asked).toEqual([]);
  expect(life.loop.status).toBeNull();
});
