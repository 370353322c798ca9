import { describe, expect, test } from "bun:test";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type {
  SpecAtDocument,
  SpecDiffDocument,
  SpecHistoryDocument,
} from "../../../src/api/spec-documents.ts";
import { request as ask, living, read, VIEWER } from "./fixture.ts";

const calm = (calmMs: number) => ({ failover: { calmMs } });

describe("versions of the spec", () => {
  test("are told with their reasons, compared, and wanted again", async () => {
    const fake = living({ featureLevel: 4 });
    await ask(fake, "PATCH", "/v1/topology", calm(1_000), { "x-reason": "erste%20Ma%C3%9Fnahme" });
    await ask(fake, "PATCH", "/v1/topology", calm(2_000), { "x-reason": "100% sure" });
    const { versions, generation } = await read<SpecHistoryDocument>(
      await ask(fake, "GET", "/v1/spec/history"),
    );
    expect(versions.map(({ reason }) => reason)).toEqual(["100% sure", "erste Maßnahme"]);
    expect(versions[0]?.parent).toBe(versions[1]?.checksum ?? "");
    const diff = await read<SpecDiffDocument>(
      await ask(fake, "GET", `/v1/spec/diff?from=${generation - 1}&to=${generation}`),
    );
    expect(diff.changes).toEqual([{ path: "failover.calmMs", at: null, before: 1_000, after: 2_000 }]);
    const back = await ask(fake, "POST", `/v1/spec/history/${generation - 1}/rollback`, {});
    expect(back.status).toBe(200);
    const made = await read<SpecHistoryDocument>(back);
    expect(made).toMatchObject({
      generation: generation + 1,
      versions: [{ reason: `back to generation ${generation - 1}` }],
    });
    const now = await read<SpecAtDocument>(await ask(fake, "GET", `/v1/spec/history/${generation + 1}`));
    expect(now.spec).toMatchObject({ failover: { calmMs: 1_000 } });
  });

  test("are read page by page, each once", async () => {
    const fake = living({ featureLevel: 4 });
    for (let at = 1; at <= 7; at += 1) await ask(fake, "PATCH", "/v1/topology", calm(at * 1_000));
    for (const limit of [1, 2, 3, 7, 50]) {
      const told: number[] = [];
      let next: number | null = null;
      do {
        const before: string = next === null ? "" : `&before=${next}`;
        const page: SpecHistoryDocument = await read(
          await ask(fake, "GET", `/v1/spec/history?limit=${limit}${before}`),
        );
        told.push(...page.versions.map(({ generation }) => generation as number));
        next = page.next;
      } while (next !== null);
      expect([limit, told]).toEqual([limit, [8, 7, 6, 5, 4, 3, 2]]);
    }
  });

  test("that are not kept are 404, of another generation than was meant 412, and for a viewer 403", async () => {
    const fake = living({ featureLevel: 4 });
    const problem = async (...args: readonly [string, string, object?, Record<string, string>?]) => {
      const answer = await ask(fake, ...args);
      return [answer.status, (await read<ProblemDocument>(answer)).code];
    };
    expect(await problem("GET", "/v1/spec/history/77")).toEqual([404, "not-found"]);
    expect(await problem("GET", "/v1/spec/diff?from=77")).toEqual([404, "not-found"]);
    const stale = { "if-match": '"77"' };
    expect(await problem("POST", "/v1/spec/history/1/rollback", {}, stale)).toEqual([
      412,
      "stale-generation",
    ]);
    const viewer = { authorization: `Bearer ${VIEWER}` };
    expect((await problem("POST", "/v1/spec/history/1/rollback", {}, viewer))[0]).toBe(403);
    expect(fake.commands).toEqual([]);
  });
});
