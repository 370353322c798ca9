import { describe, expect, test } from "bun:test";
import type { ExplanationDocument, FailoverDocument } from "../../../src/api/documents.ts";
import { formatLossOffer } from "../../../src/api/loss-offer.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type { Epoch, TimelineId } from "../../../src/base/ids.ts";
import type { Lsn } from "../../../src/base/lsn.ts";
import { DEFAULT_TAGS } from "../../../src/cluster/member.ts";
import {
  ADMIN,
  type Fake,
  living as livingAt,
  M1,
  M2,
  M3,
  memberOf,
  OPERATOR,
  observed,
  PRIMARY,
  read,
  request,
  statusOf,
  VIEWER,
} from "./fixture.ts";

const living = (over: Parameters<typeof livingAt>[0] = {}) => livingAt({ featureLevel: 3, ...over });
const ask = (
  fake: Fake,
  method: string,
  path: string,
  body?: unknown,
  token = ADMIN,
  headers: Readonly<Record<string, string>> = {},
) => request(fake, method, path, body, headers, token);

describe("POST /v1/failover", () => {
  test("ends the reign in favour of a member, and the history says who asked", async () => {
    const fake = living();
    const answer = await ask(fake, "POST", "/v1/failover", { to: "m2" }, OPERATOR);
    expect(answer.status).toBe(202);
    expect(fake.commands.at(-1)?.change).toMatchObject({
      kind: "fence",
      reason: "operator",
      preferredId: M2,
    });
    const [record] = await read<FailoverDocument[]>(await ask(fake, "GET", "/v1/history"));
    expect(record).toMatchObject({
      number: 1,
      kind: "manual",
      by: "operator-1",
      reasonText: "A person ended the reign.",
    });
    expect((await ask(fake, "GET", "/v1/history/1")).status).toBe(200);
    const again = await ask(fake, "POST", "/v1/failover", {});
    expect([again.status, (await read<ProblemDocument>(again)).code]).toEqual([409, "stale-epoch"]);
  });

  test("answers a repeated request as it did the first, by its key, though the member reigns by now", async () => {
    const fake = living();
    const again = (key: string) =>
      ask(fake, "POST", "/v1/failover", { to: "m2" }, ADMIN, { "idempotency-key": key });
    expect((await again("k1")).status).toBe(202);
    expect((await again("k1")).status).toBe(202);
    expect((await read<ProblemDocument>(await again("k2"))).code).toBe("stale-epoch");
    const { reign } = fake.state ?? {};
    if (fake.state === null || reign == null) throw new Error("a reign");
    fake.state = { ...fake.state, reign: { ...reign, primaryId: M2, epoch: 4 as Epoch, fence: null } };
    expect((await again("k1")).status).toBe(202);
    expect((await read<ProblemDocument>(await again("k3"))).code).toBe("member-unsuitable");
    expect(fake.commands).toHaveLength(1);
    expect(fake.state.reign?.fence).toBeNull();
  });

  test("answers a repeated request that was refused with the same refusal", async () => {
    const fake = living();
    const epoch = fake.state?.reign?.epoch ?? (0 as Epoch);
    const key = fake.state?.authority.privateKeyPem ?? "";
    const position = { timeline: 2 as TimelineId, lsn: 100 as Lsn };
    const acceptLoss = formatLossOffer({ epoch, memberId: M2, position, expiresAtMs: 1 }, key);
    for (const body of [{ acceptLoss }, {}]) {
      const answer = await ask(fake, "POST", "/v1/failover", body, ADMIN, { "idempotency-key": "k1" });
      expect((await read<ProblemDocument>(answer)).code).toBe("stale-loss");
    }
  });

  test("a refusal shows the loss that could be taken, and that can be taken", async () => {
    const fake = living();
    expect((await ask(fake, "POST", "/v1/failover", {})).status).toBe(202);
    // The old primary says nothing of its end, and of two standbys one is left to pledge: that is too few.
    const [reign, epoch] = [fake.state?.reign, fake.state?.reign?.epoch];
    if (fake.state === null || reign == null) throw new Error("a reign");
    fake.state = { ...fake.state, reign: { ...reign, cohort: { standbyIds: [M2, M3], k: 1 } } };
    fake.observations.delete(M3);
    fake.observations.set(M1, observed(statusOf(M1, PRIMARY)));
    fake.selfId = M2;
    const refused = await ask(fake, "POST", "/v1/failover", { to: "m2" });
    const { code, lossOffer } = await read<ProblemDocument>(refused);
    expect([refused.status, code]).toEqual([409, "stale-epoch"]);
    const explained = await read<ExplanationDocument>(await ask(fake, "GET", "/v1/explain"));
    expect(lossOffer).toEqual(explained.lossOffer ?? undefined);
    expect(lossOffer).toMatchObject({ member: "m2", epoch: epoch ?? 0, position: "3:0/4C4758" });
    expect(lossOffer?.wouldLose).not.toContain("goes on");
    const taken = await ask(fake, "POST", "/v1/failover", { acceptLoss: lossOffer?.token });
    expect(taken.status).toBe(202);
    expect(fake.state.acceptedLoss).toMatchObject({ memberId: M2 });
  });

  test("the loss that is shown says where the old primary may go on by itself", async () => {
    const fake = living();
    expect((await ask(fake, "POST", "/v1/failover", {})).status).toBe(202);
    const reign = fake.state?.reign;
    if (fake.state === null || reign == null) throw new Error("a reign");
    fake.state = { ...fake.state, reign: { ...reign, cohort: { standbyIds: [M2], k: 0 } } };
    fake.observations.set(M1, observed(statusOf(M1, PRIMARY)));
    fake.selfId = M2;
    const shown = async () =>
      (await read<ExplanationDocument>(await ask(fake, "GET", "/v1/explain"))).lossOffer?.wouldLose;
    expect(await shown()).toContain("m1 needs no standby to acknowledge, and goes on until it hears of this");
    const ended = statusOf(M1, PRIMARY);
    fake.observations.set(
      M1,
      observed({ ...ended, promises: { ...ended.promises, pledgedEpoch: reign.epoch } }),
    );
    expect((await shown()) ?? "").not.toContain("goes on");
  });

  test("is refused for the primary itself, for nobody's name, and to a viewer", async () => {
    const fake = living();
    expect((await ask(fake, "POST", "/v1/failover", { to: "m1" })).status).toBe(409);
    expect((await ask(fake, "POST", "/v1/failover", { to: "m9" })).status).toBe(409);
    expect((await ask(fake, "POST", "/v1/failover", {}, VIEWER)).status).toBe(403);
    expect((await ask(fake, "POST", "/v1/failover", { force: true })).status).toBe(422);
    expect(fake.commands).toEqual([]);
  });

  test.each([
    ["has the tag no-failover", { tags: { ...DEFAULT_TAGS, isNoFailover: true } }],
    ["is being removed", { isLeaving: true }],
    ["has no PostgreSQL", { kind: "witness" }],
  ] as const)("ends no reign in favour of a member that %s", async (objection, over) => {
    const fake = living({ members: [memberOf(M1, "m1"), memberOf(M2, "m2", over), memberOf(M3, "m3")] });
    const refused = await read<ProblemDocument>(await ask(fake, "POST", "/v1/failover", { to: "m2" }));
    expect([refused.status, refused.code]).toEqual([409, "member-unsuitable"]);
    expect(refused.detail).toContain(objection);
    expect(fake.commands).toEqual([]);
    expect((await ask(fake, "POST", "/v1/failover", { to: "m3" })).status).toBe(202);
  });

  test("takes a loss only as it was shown: this epoch, this member, this position, in time", async () => {
    const fake = living();
    const epoch = fake.state?.reign?.epoch ?? 0;
    const key = fake.state?.authority.privateKeyPem ?? "";
    const token = (until: number, at = epoch) => {
      const position = { timeline: 2 as TimelineId, lsn: 100 as Lsn };
      return formatLossOffer({ epoch: at as Epoch, memberId: M2, position, expiresAtMs: until }, key);
    };
    const longer = token(1).replace(/:1:([0-9a-f]{32})$/, ":9000000000000:$1");
    const changed = await ask(fake, "POST", "/v1/failover", { acceptLoss: longer });
    expect(changed.status).toBe(422);
    expect((await read<ProblemDocument>(changed)).detail).toContain("was changed");
    expect((await ask(fake, "POST", "/v1/failover", { acceptLoss: "all of it" })).status).toBe(422);
    const late = await ask(fake, "POST", "/v1/failover", { acceptLoss: token(1) });
    expect((await read<ProblemDocument>(late)).code).toBe("stale-loss");
    const other = await ask(fake, "POST", "/v1/failover", { acceptLoss: token(9e12, epoch + 1) });
    expect((await read<ProblemDocument>(other)).code).toBe("stale-epoch");
    const named = await ask(fake, "POST", "/v1/failover", { to: "m3", acceptLoss: token(9e12) });
    expect((await read<ProblemDocument>(named)).code).toBe("member-unsuitable");
    expect((await ask(fake, "POST", "/v1/failover", { acceptLoss: token(9e12) })).status).toBe(202);
    expect(fake.state?.acceptedLoss).toMatchObject({ memberId: M2, by: "admin-1" });
  });
});

describe("GET /v1/explain", () => {
  test("says how things stand, and what each single loss would come to", async () => {
    const answer = await ask(living(), "GET", "/v1/explain", undefined, VIEWER);
    expect(answer.status).toBe(200);
    const explanation = await read<ExplanationDocument>(answer);
    expect(explanation.lost).toEqual([]);
    expect(explanation.ifLost.map(({ member }) => member)).toEqual(["m1", "m2", "m3"]);
  });

  test("answers for members and zones, and names what it does not know", async () => {
    const fake = living();
    const asked = await read<ExplanationDocument>(await ask(fake, "GET", "/v1/explain?lost=m1,m2"));
    expect(asked.lost).toEqual(["m1", "m2"]);
    expect(asked.outcome).toBe("held");
    expect(asked.wayOut).not.toBeNull();
    expect((await ask(fake, "GET", "/v1/explain?lost=m9")).status).toBe(409);
    expect((await ask(fake, "GET", "/v1/explain?zone=attic")).status).toBe(409);
  });
});

test("GET /v1/history/{number} of none is 404", async () => {
  expect((await ask(living(), "GET", "/v1/history/7")).status).toBe(404);
});
