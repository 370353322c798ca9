import { describe, expect, test } from "bun:test";
import type { PausesDocument, TopologyDocument } from "../../../src/api/documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import { request as ask, living, OPERATOR, read, VIEWER } from "./fixture.ts";

describe("PATCH /v1/topology", () => {
  test("changes what is named, and says what async costs", async () => {
    const fake = living({ featureLevel: 3 });
    const before = await read<TopologyDocument>(await ask(fake, "GET", "/v1/topology"));
    const changed = await ask(fake, "PATCH", "/v1/topology", {
      durability: { mode: "async", maxLagBytes: 1_000 },
      timing: { profile: "lan-fast" },
      failover: { onCrash: "failover" },
    });
    expect(changed.status).toBe(200);
    const after = await read<TopologyDocument>(changed);
    expect(after.generation).toBe(before.generation + 1);
    expect(after.durability).toEqual({ mode: "async", maxLagBytes: 1_000 });
    expect(after.timing).toMatchObject({ suspectMs: 600, leaseMs: 1_800 });
    expect(after.failover).toEqual({ ...before.failover, onCrash: "failover" });
    expect(after.notice).toContain("may lose commits that were acknowledged");
    expect(changed.headers.get("etag")).toBe(`"${after.generation}"`);
  });

  test("of another version than was meant is refused, and changes nothing", async () => {
    const fake = living({ featureLevel: 3 });
    const match = (await ask(fake, "GET", "/v1/topology")).headers.get("etag") ?? "";
    const change = { failover: { calmMs: 1_000 } };
    const first = await ask(fake, "PATCH", "/v1/topology", change, { "if-match": match });
    expect(first.status).toBe(200);
    const second = await ask(fake, "PATCH", "/v1/topology", change, { "if-match": match });
    expect([second.status, (await read<ProblemDocument>(second)).code]).toEqual([412, "stale-generation"]);
  });

  test.each([
    [{}, "minimum"],
    [{ durability: { mode: "sometimes" } }, "durability.mode: must be one of quorum, async"],
    [{ durability: { synchronousStandbys: 1 } }, "durability.mode: must be one of quorum, async"],
    [
      { durability: { mode: "async", maxLagBytes: 1, synchronousStandbys: 1 } },
      "durability.synchronousStandbys: there is no such field",
    ],
    [
      { durability: { mode: "async", maxLagBytes: -1 } },
      "durability.maxLagBytes: is of another type or out of range",
    ],
    [{ durability: 3 }, "durability: is of another type"],
    [
      { durability: { mode: "quorum", synchronousStandbys: 9, onQuorumLoss: "block" } },
      "standbys cannot acknowledge",
    ],
    [{ timing: { suspectMs: 110 } }, "suspectMs"],
    [{ timing: { electionMsMin: 100 } }, "electionMsMin"],
    [{ timing: { leaseMs: 600 } }, "leaseMs"],
    [{ failover: { onCrash: "dance" } }, ""],
    [{ weather: "fine" }, ""],
  ])("refuses %j with 422, and changes nothing", async (body, word) => {
    const fake = living({ featureLevel: 3 });
    const answer = await ask(fake, "PATCH", "/v1/topology", body);
    expect(answer.status).toBe(422);
    if (word !== "minimum") expect((await read<ProblemDocument>(answer)).detail).toContain(word);
    expect(fake.commands).toEqual([]);
  });

  test("keeps what is said of stale reads until that is changed itself", async () => {
    const fake = living({ featureLevel: 4 });
    const quorum = { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "block" } as const;
    const patched = async (durability: object) => {
      const answer = await ask(fake, "PATCH", "/v1/topology", { durability });
      expect(answer.status).toBe(200);
      return (await read<TopologyDocument>(answer)).durability;
    };
    expect(await patched({ ...quorum, staleReads: "refuse" })).toEqual({ ...quorum, staleReads: "refuse" });
    expect(await patched({ ...quorum, onQuorumLoss: "degrade" })).toMatchObject({ staleReads: "refuse" });
    expect(await patched({ ...quorum, staleReads: "allow" })).toEqual(quorum);
    const early = await ask(living({ featureLevel: 3 }), "PATCH", "/v1/topology", {
      durability: { ...quorum, staleReads: "refuse" },
    });
    expect([early.status, (await read<ProblemDocument>(early)).code]).toEqual([409, "feature-level-low"]);
  });

  test("keeps of a durability what is not named, and takes what another mode comes with", async () => {
    const fake = living({ featureLevel: 4 });
    const patched = async (durability: object) => {
      const answer = await ask(fake, "PATCH", "/v1/topology", { durability });
      expect(answer.status).toBe(200);
      return (await read<TopologyDocument>(answer)).durability;
    };
    expect(await patched({ mode: "quorum", onQuorumLoss: "degrade" })).toEqual({
      mode: "quorum",
      synchronousStandbys: 1,
      onQuorumLoss: "degrade",
    });
    expect(await patched({ mode: "quorum", synchronousStandbys: 2 })).toMatchObject({
      onQuorumLoss: "degrade",
    });
    expect(await patched({ mode: "async" })).toEqual({ mode: "async", maxLagBytes: 16_777_216 });
    expect(await patched({ mode: "async", maxLagBytes: 9 })).toEqual({ mode: "async", maxLagBytes: 9 });
    expect(await patched({ mode: "async" })).toMatchObject({ maxLagBytes: 9 });
    expect(await patched({ mode: "quorum" })).toMatchObject({
      synchronousStandbys: 1,
      onQuorumLoss: "block",
    });
  });

  test("waits for the last member to be upgraded", async () => {
    const answer = await ask(living({ featureLevel: 2 }), "PATCH", "/v1/topology", {
      timing: { profile: "wan" },
    });
    expect([answer.status, (await read<ProblemDocument>(answer)).code]).toEqual([409, "feature-level-low"]);
  });
});

describe("/v1/pause", () => {
  test("lists, begins and ends pauses by their reasons", async () => {
    const fake = living({ featureLevel: 3 });
    expect(await read<PausesDocument>(await ask(fake, "GET", "/v1/pause"))).toEqual([]);
    const paused = await ask(fake, "POST", "/v1/pause", { reason: "storage" }, {}, OPERATOR);
    expect(paused.status).toBe(201);
    expect(await read<PausesDocument>(paused)).toMatchObject([{ reason: "storage" }]);
    expect((await ask(fake, "POST", "/v1/pause", { reason: "storage" })).status).toBe(409);
    expect((await ask(fake, "POST", "/v1/pause", { reason: "upgrade" })).status).toBe(201);
    const cluster = await read<{ pauses: string[] }>(await ask(fake, "GET", "/v1/cluster"));
    expect(cluster.pauses).toEqual(["storage", "upgrade"]);
    const one = await ask(fake, "DELETE", "/v1/pause?reason=storage");
    expect(await read<PausesDocument>(one)).toMatchObject([{ reason: "upgrade" }]);
    expect(await read<PausesDocument>(await ask(fake, "DELETE", "/v1/pause"))).toEqual([]);
    expect((await ask(fake, "DELETE", "/v1/pause")).status).toBe(409);
  });

  test("is for operators, and needs a reason", async () => {
    const fake = living({ featureLevel: 3 });
    expect((await ask(fake, "POST", "/v1/pause", { reason: "x" }, {}, VIEWER)).status).toBe(403);
    expect((await ask(fake, "POST", "/v1/pause", { reason: "" })).status).toBe(422);
    expect((await ask(fake, "POST", "/v1/pause", {})).status).toBe(422);
  });
});
