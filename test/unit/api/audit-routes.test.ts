import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Origin } from "../../../src/api/access.ts";
import { createApi } from "../../../src/api/create-api.ts";
import type { AuditPageDocument, EventPageDocument } from "../../../src/api/documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { ProposeResult } from "../../../src/cluster/consensus.ts";
import { ADMIN, createFake, type Fake, OPERATOR, SECRET, stateOf, VIEWER } from "./fixture.ts";

interface Ask {
  readonly token?: string | null;
  readonly body?: unknown;
  readonly address?: string | null;
  readonly origin?: Origin;
}

class Living {
  nowMs = 5_000;
  readonly fake: Fake;
  readonly #api;

  constructor(featureLevel = 4) {
    const { clock } = createFake().ports;
    this.fake = createFake({ clock: { ...clock, wallMs: () => this.nowMs, nowMs: () => this.nowMs } });
    const { tokens } = stateOf();
    this.fake.state = stateOf({
      featureLevel,
      tokens: tokens.map((token) => (token.id === "operator-1" ? { ...token, name: "ann" } : token)),
    });
    const seen = new Map<string, ProposeResult>();
    this.fake.onCommand = (command) => {
      const before = seen.get(command.id);
      if (before === undefined) {
        const { state, outcome, events } = apply(this.fake.state, command);
        this.fake.state = state;
        for (const event of events)
          this.fake.events.push({ ...event, id: (this.fake.events.at(-1)?.id ?? 0) + 1 });
        seen.set(command.id, { kind: "applied", outcome });
      }
      this.fake.next = seen.get(command.id) ?? null;
    };
    this.#api = createApi(this.fake.ports);
  }

  ask(method: string, path: string, options: Ask = {}): Promise<Response> {
    const { token = ADMIN, body, address = "10.0.0.9", origin = "network" } = options;
    this.nowMs += 1;
    const headers = new Headers({ "content-type": "application/json" });
    if (token !== null) headers.set("authorization", `Bearer ${token}`);
    const request = new Request(`http://localhost${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return this.#api.handle(request, origin, address);
  }

  async trail(query = ""): Promise<AuditPageDocument> {
    return (await (await this.ask("GET", `/v1/audit${query}`)).json()) as AuditPageDocument;
  }
}

const shortly = ({ records }: AuditPageDocument) =>
  records.map(({ by, request, kind, code }) => `${by} ${request} ${kind ?? code}`);

describe("the audit trail over HTTP", () => {
  test("has changes and refusals in the order of their times, with who, whence and what", async () => {
    const living = new Living();
    await living.ask("POST", "/v1/pause", { token: OPERATOR, body: { reason: "storage" } });
    await living.ask("POST", "/v1/pause", { token: VIEWER, body: { reason: "other" } });
    await living.ask("POST", "/v1/pause", { token: OPERATOR, body: { reason: "storage" } });
    await living.ask("POST", "/v1/pause", { token: OPERATOR, body: { reason: 7 } });
    await living.ask("GET", "/v1/cluster", { token: null });
    await living.ask("DELETE", "/v1/pause", { token: null, origin: "local", address: null });
    const page = await living.trail();
    expect(page.answeredBy).toBe("m1");
    expect(shortly(page)).toEqual([
      "operator-1 POST /v1/pause pause",
      "viewer-1 POST /v1/pause scope-insufficient",
      "operator-1 POST /v1/pause paused-already",
      "operator-1 POST /v1/pause invalid-request",
      "null GET /v1/cluster token-missing",
      "local DELETE /v1/pause resume",
    ]);
    expect(page.records[0]).toMatchObject({
      at: "1970-01-01T00:00:05.001Z",
      outcome: "changed",
      byName: "ann",
      address: "10.0.0.9",
      values: [{ path: "pauses[0]", before: null }],
      untold: 0,
    });
    expect(page.records[0]?.values[0]?.after).toContain("storage");
    expect(page.records[1]).toMatchObject({ outcome: "refused", status: 403, address: "10.0.0.9" });
    expect(page.records[5]?.address).toBeNull();
  });

  test("is read page by page without a gap and without a repetition, refusals and events in between", async () => {
    const living = new Living();
    for (let at = 0; at < 20; at += 1) {
      const token = at % 3 === 0 ? VIEWER : OPERATOR;
      await living.ask("POST", "/v1/pause", { token, body: { reason: `r${at}` } });
    }
    const whole = shortly(await living.trail("?limit=1000"));
    expect(whole).toHaveLength(20);
    for (const limit of [1, 2, 7, 20]) {
      const read: string[] = [];
      let after = "0.0";
      while (true) {
        const page = await living.trail(`?limit=${limit}&after=${after}`);
        read.push(...shortly(page));
        after = page.next;
        if (page.records.length < limit) break;
      }
      expect([limit, read]).toEqual([limit, whole]);
    }
  });

  test("is filtered by who it was and since when", async () => {
    const living = new Living();
    await living.ask("POST", "/v1/pause", { token: OPERATOR, body: { reason: "a" } });
    await living.ask("POST", "/v1/pause", { body: { reason: "b" } });
    await living.ask("POST", "/v1/tokens", { token: OPERATOR, body: { scope: "admin" } });
    const mine = ["operator-1 POST /v1/pause pause", "operator-1 POST /v1/tokens scope-insufficient"];
    expect(shortly(await living.trail("?by=ann"))).toEqual(mine);
    expect(shortly(await living.trail("?by=operator-1"))).toEqual(mine);
    expect(shortly(await living.trail("?since=1970-01-01T00:00:05.003Z"))).toEqual([mine[1] ?? ""]);
    const wrong = await living.ask("GET", "/v1/audit?since=soon");
    expect([wrong.status, ((await wrong.json()) as ProblemDocument).code]).toEqual([422, "invalid-request"]);
  });

  test("happens once where a request is repeated with its key", async () => {
    const living = new Living();
    for (let count = 0; count < 3; count += 1) {
      const headers = { authorization: `Bearer ${ADMIN}`, "idempotency-key": "k" };
      const body = JSON.stringify({ reason: "once" });
      const request = new Request("http://localhost/v1/pause", {
        method: "POST",
        headers: { ...headers, "content-type": "application/json" },
        body,
      });
      await createApi(living.fake.ports).handle(request, "network", null);
    }
    expect(shortly(await living.trail())).toEqual(["admin-1 POST /v1/pause pause"]);
  });

  test("says who was asked and why, each entry with an id of its own, and who read a backup", async () => {
    const living = new Living();
    living.fake.backupPath = join(mkdtempSync(join(tmpdir(), "audit-")), "backup");
    writeFileSync(living.fake.backupPath, "x");
    await living.ask("POST", "/v1/pause", { body: { reason: "a" } });
    await (await living.ask("GET", "/v1/backup")).text();
    await living.ask("POST", "/v1/pause", { token: VIEWER, body: { reason: "b" } });
    const { records } = await living.trail();
    expect(records.map(({ outcome, member, code }) => [outcome, member, code])).toEqual([
      ["changed", "m1", null],
      ["read", "m1", null],
      ["refused", "m1", "scope-insufficient"],
    ]);
    expect(records.map(({ id }) => id.replace(/[0-9]+$/, ""))).toEqual([
      "change-",
      "attempt-m1-",
      "attempt-m1-",
    ]);
    expect(new Set(records.map(({ id }) => id)).size).toBe(3);
  });

  test("stands in no event that a viewer reads", async () => {
    const living = new Living();
    await living.ask("POST", "/v1/pause", { token: OPERATOR, body: { reason: "a" } });
    const text = await (await living.ask("GET", "/v1/events", { token: VIEWER })).text();
    const { events, next } = JSON.parse(text) as EventPageDocument;
    expect(events.map(({ name }) => name)).toEqual(["failover.paused"]);
    expect(next).toBe(2);
    expect(text).not.toContain("10.0.0.9");
    expect((await living.ask("GET", "/v1/audit", { token: VIEWER })).status).toBe(403);
  });

  test("says nothing newer to a cluster with an older member", async () => {
    const living = new Living(3);
    await living.ask("POST", "/v1/pause", { token: OPERATOR, body: { reason: "a" } });
    expect(living.fake.commands.map((command) => "asked" in command)).toEqual([false]);
    expect(shortly(await living.trail())).toEqual([]);
  });

  test("is logged as well, changes and refusals", async () => {
    const living = new Living();
    await living.ask("POST", "/v1/pause", { token: OPERATOR, body: { reason: "a" } });
    await living.ask("POST", "/v1/pause", { token: VIEWER, body: { reason: "b" } });
    await living.ask("GET", "/v1/backup", { token: VIEWER });
    await living.ask("GET", "/v1/cluster", { token: VIEWER });
    expect(living.fake.logged).toEqual(["audit.change", "audit.refused", "audit.refused"]);
    const directory = mkdtempSync(join(tmpdir(), "audit-"));
    living.fake.backupPath = join(directory, "state");
    writeFileSync(living.fake.backupPath, "a copy of what is agreed");
    expect(await (await living.ask("GET", "/v1/backup")).text()).toContain("a copy");
    expect(living.fake.logged.slice(3)).toContain("audit.read");
    rmSync(directory, { recursive: true });
  });

  test("keeps the latest thousand refusals", async () => {
    const living = new Living();
    for (let at = 0; at < 1_010; at += 1) await living.ask("DELETE", "/v1/tokens/x", { token: VIEWER });
    expect((await living.trail("?limit=1000")).records).toHaveLength(1_000);
  });
});

describe("whoever guesses", () => {
  const guess = `gcm_admin-1_${"x".repeat(20)}`;

  test("is turned away after ten times, and told for how long; a right token is let in all the same", async () => {
    const living = new Living();
    for (let count = 0; count < 10; count += 1)
      expect((await living.ask("GET", "/v1/cluster", { token: guess })).status).toBe(401);
    const answer = await living.ask("GET", "/v1/cluster", { token: guess });
    expect(answer.status).toBe(429);
    expect(Number(answer.headers.get("retry-after"))).toBe(60);
    expect(((await answer.json()) as ProblemDocument).code).toBe("too-many-attempts");
    expect((await living.ask("GET", "/v1/cluster", { token: `gcm_viewer-1_${SECRET}` })).status).toBe(200);
    expect((await living.ask("GET", "/v1/cluster", { token: guess, address: "10.0.0.8" })).status).toBe(401);
    living.nowMs += 60_000;
    expect((await living.ask("GET", "/v1/cluster", { token: guess })).status).toBe(401);
  });

  test("does not fill the trail", async () => {
    const living = new Living();
    for (let count = 0; count < 50; count += 1) await living.ask("GET", "/v1/cluster", { token: guess });
    const codes = (await living.trail()).records.map(({ code }) => code);
    expect(codes).toEqual([...Array<string>(10).fill("token-invalid"), "too-many-attempts"]);
  });

  test("is told of a few times a minute where it has no token at all, whatever it asks for", async () => {
    const living = new Living();
    for (let count = 0; count < 50; count += 1) {
      await living.ask("GET", "/v1/cluster", { token: null });
      await living.ask("POST", "/v1/members/join", { token: null, body: {} });
    }
    expect((await living.trail()).records).toHaveLength(10);
  });

  test("is turned away from the join tokens, too", async () => {
    const living = new Living();
    const body = {
      tokenId: "join-1",
      secret: "wrong",
      csrPem: "x",
      name: "m9",
      hosts: [],
      addresses: { api: "a:1", peer: "a:2", postgres: "a:3" },
      kind: "data",
      tags: { failoverPriority: 0, isNoFailover: false },
    };
    const join = () => living.ask("POST", "/v1/members/join", { token: null, body });
    for (let count = 0; count < 10; count += 1) expect((await join()).status).toBe(401);
    expect((await join()).status).toBe(429);
  });

  test("is not whoever has no token: that is no guess", async () => {
    const living = new Living();
    for (let count = 0; count < 20; count += 1)
      expect((await living.ask("GET", "/v1/cluster", { token: null })).status).toBe(401);
  });
});
