import { afterEach, expect, test } from "bun:test";
import { BreakGlassLoop } from "../../../src/agent/break-glass-loop.ts";
import type { Clock } from "../../../src/base/clock.ts";
import type { BreakGlassGrant, BreakGlassRole, GuardedStatus } from "../../../src/cluster/break-glass.ts";
import type {
  SupervisorLook,
  SupervisorRequest,
  SupervisorResponse,
} from "../../../src/supervisor/protocol.ts";
import { createFake, M1, PRIMARY, reignOf, stateOf } from "../api/fixture.ts";

const GRANT: BreakGlassGrant = {
  id: "g1",
  role: "guacamole_bg_1",
  verifier: "SCRAM-SHA-256$…",
  reason: "INC-1",
  by: "ann",
  address: "10.0.0.7/32",
  requestedAtMs: 4_000,
  durationMs: 60_000,
  approvalsNeeded: 0,
  approvals: [],
  openedAtMs: 4_000,
  extensions: [],
  ended: null,
};

/** A host with a supervisor and a primary that are lists, and a clock that moves when the loop waits. */
class Host {
  readonly fake = createFake();
  readonly done: string[] = [];
  /** Null: the supervisor is of an older release. */
  guarded: readonly GuardedStatus[] | null = [];
  roles: readonly BreakGlassRole[] = [];
  failing: string | null = null;
  readonly loop: BreakGlassLoop;
  #nowMs = 0;
  #wake: (() => void) | null = null;

  constructor() {
    this.fake.state = stateOf({ featureLevel: 4, reign: reignOf(), breakGlass: [GRANT] });
    if (this.fake.local !== null) this.fake.local = { ...this.fake.local, postgres: PRIMARY };
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
    const consensus = this.fake.ports.consensus();
    if (consensus === null) throw new Error("the fixture has one");
    this.loop = new BreakGlassLoop({
      selfId: M1,
      consensus,
      supervisor: { request: async (request) => this.#answer(request), onEvent: () => () => undefined },
      roles: {
        look: async () => this.roles,
        open: async (role) => this.#do(`open ${role}`),
        close: async (role) => this.#do(`close ${role}`),
      },
      status: () => this.fake.local,
      clock,
      log: this.fake.ports.log,
    });
  }

  /** Turns once more, as after the time that the loop asked for. */
  async turn(): Promise<void> {
    const wake = this.#wake;
    this.#wake = null;
    if (wake === null) this.loop.start();
    else wake();
    while (this.#wake === null) await Bun.sleep(0);
  }

  #do(what: string): void {
    this.done.push(what);
    if (what === this.failing) throw new Error(`${what} does not work`);
  }

  #answer(request: SupervisorRequest): SupervisorResponse {
    if (request.kind === "guard-break-glass") {
      this.done.push("guard");
      this.guarded = request.grants.map(({ id, role, durationMs, expiresAtMs }) => {
        return { id, role, durationMs, expiresAtMs, remainingMs: durationMs, why: null };
      });
    }
    const look = this.guarded === null ? {} : { breakGlass: this.guarded };
    return { ok: true, look: look as SupervisorLook, localAccess: [] };
  }
}

let host = new Host();
afterEach(async () => {
  await host.loop.stop();
  host = new Host();
});

test("the supervisor is told first, and the role made only after that", async () => {
  await host.turn();
  expect(host.done).toEqual(["guard"]);
  await host.turn();
  expect(host.done).toEqual(["guard", "open guacamole_bg_1"]);
  expect(host.loop.status).toMatchObject({ grants: [{ id: "g1" }], problem: null });
});

test("a role that cannot be removed keeps nobody from being let in, and is told", async () => {
  host.roles = [{ name: "guacamole_bg_old", isOpen: true, validUntilMs: null }];
  host.failing = "close guacamole_bg_old";
  await host.turn();
  await host.turn();
  expect(host.done).toEqual([
    "guard",
    "close guacamole_bg_old",
    "close guacamole_bg_old",
    "open guacamole_bg_1",
  ]);
  expect(host.loop.status?.problem).toContain("does not work");
});

test("with a supervisor of an older release nobody is let in, and the member says why", async () => {
  host.guarded = null;
  await host.turn();
  await host.turn();
  expect(host.done).toEqual([]);
  expect(host.loop.status?.problem).toContain("older release");
});
