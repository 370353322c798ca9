import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type {
  ConsensusDocument,
  ForkDocument,
  JoinTokenDocument,
  MemberDocument,
  OperationDocument,
} from "../../../src/api/documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type { TimelineId } from "../../../src/base/ids.ts";
import type { Lsn } from "../../../src/base/lsn.ts";
import type { Fork } from "../../../src/cluster/fork.ts";
import {
  request as ask,
  createFake,
  living as livingAt,
  M2,
  M3,
  memberOf,
  OPERATOR,
  read,
  SECRET,
  stateOf,
  VIEWER,
} from "./fixture.ts";

const living = (over: Parameters<typeof livingAt>[0] = {}) => livingAt({ featureLevel: 2, ...over });

describe("DELETE /v1/members/{name}", () => {
  test("begins a removal and answers with the operation, the same for the same key", async () => {
    const fake = living();
    const key = { "idempotency-key": "k1" };
    const first = await ask(fake, "DELETE", "/v1/members/m3", undefined, key);
    expect(first.status).toBe(202);
    const operation = await read<OperationDocument>(first);
    expect(operation).toMatchObject({ kind: "remove", member: "m3", status: "running" });
    expect(first.headers.get("location")).toBe(`/v1/operations/${operation.id}`);
    const again = await read<OperationDocument>(await ask(fake, "DELETE", "/v1/members/m3", undefined, key));
    expect(again.id).toBe(operation.id);
    const members = await read<MemberDocument[]>(await ask(fake, "GET", "/v1/members"));
    expect(members.find(({ name }) => name === "m3")?.isLeaving).toBe(true);
  });

  test("answers a repeated request even when the member is gone", async () => {
    const fake = living();
    const key = { "idempotency-key": "k1" };
    const operation = await read<OperationDocument>(
      await ask(fake, "DELETE", "/v1/members/m3", undefined, key),
    );
    const { state } = fake;
    if (state?.reign == null) throw new Error("a reign");
    fake.state = { ...state, reign: { ...state.reign, cohort: { standbyIds: [M2], k: 1 } } };
    fake.onCommand({ id: "f", atMs: 1, by: "leader", change: { kind: "forget-member", memberId: M3 } });
    const again = await read<OperationDocument>(await ask(fake, "DELETE", "/v1/members/m3", undefined, key));
    expect(again).toMatchObject({ id: operation.id, member: "m3", status: "succeeded" });
    expect((await ask(fake, "DELETE", "/v1/members/m3")).status).toBe(409);
  });

  test("needs admin, a member, and members that are all new enough", async () => {
    expect((await ask(living(), "DELETE", "/v1/members/m3", undefined, {}, OPERATOR)).status).toBe(403);
    const unknown = await ask(living(), "DELETE", "/v1/members/m9");
    expect(await read<ProblemDocument>(unknown)).toMatchObject({ status: 409, code: "member-unknown" });
    const fake = living({ featureLevel: 1 });
    const low = await read<ProblemDocument>(await ask(fake, "DELETE", "/v1/members/m3"));
    expect(low).toMatchObject({ status: 409, code: "feature-level-low" });
    expect(fake.commands).toEqual([]);
  });

  test("says why not", async () => {
    expect(await read<ProblemDocument>(await ask(living(), "DELETE", "/v1/members/m1"))).toMatchObject({
      status: 409,
      code: "member-is-primary",
      hint: "Make another member primary first, with 'guacamole switchover'.",
    });
  });
});

describe("what a member is wanted for", () => {
  test("PATCH changes what is named, and nothing else", async () => {
    const fake = living();
    const change = { failoverPriority: 5, voting: "learner" };
    const answer = await ask(fake, "PATCH", "/v1/members/m3", change, {}, OPERATOR);
    expect(await read<MemberDocument>(answer)).toMatchObject({
      name: "m3",
      tags: { failoverPriority: 5, isNoFailover: false },
      voting: "learner",
    });
    expect(fake.commands.map(({ change: { kind } }) => kind)).toEqual([
      "set-member-voting",
      "set-member-tags",
    ]);
  });

  test("PATCH says where a member is, and takes it back", async () => {
    const fake = living({ featureLevel: 3 });
    const tagsAfter = async (change: object) =>
      (await read<MemberDocument>(await ask(fake, "PATCH", "/v1/members/m3", change))).tags;
    expect(await tagsAfter({ zone: "rack-1", isNoSync: true, isCloneSource: true })).toEqual({
      failoverPriority: 0,
      isNoFailover: false,
      isNoSync: true,
      isCloneSource: true,
      zone: "rack-1",
    });
    expect(await tagsAfter({ zone: null })).toMatchObject({ isNoSync: true, zone: null });
  });

  test.each([
    [{}],
    [{ zone: "" }],
    [{ zone: "a b" }],
    [{ priority: 1 }],
    [{ failoverPriority: "high" }],
    [{ voting: "perhaps" }],
  ])("PATCH refuses %j", async (body) =>
    expect((await ask(living(), "PATCH", "/v1/members/m3", body)).status).toBe(422),
  );

  test("POST …/voter says a wish", async () => {
    const fake = living();
    const answer = await ask(fake, "POST", "/v1/members/m2/voter", { voting: "voter" });
    expect(await read<MemberDocument>(answer)).toMatchObject({ name: "m2", voting: "voter", vote: "voter" });
    expect((await ask(fake, "POST", "/v1/members/m2/voter", { voting: "voter" }, {}, VIEWER)).status).toBe(
      403,
    );
  });
});

describe("POST /v1/members with replaces", () => {
  test("binds the token to the member that is to be replaced", async () => {
    const fake = living();
    const made = await ask(fake, "POST", "/v1/members", { replaces: "m3" });
    expect(made.status).toBe(201);
    const { id } = await read<JoinTokenDocument>(made);
    expect(fake.state?.joinTokens.find((token) => token.id === id)?.replaces).toBe(M3);
    expect((await ask(fake, "POST", "/v1/members", { replaces: "m9" })).status).toBe(409);
  });
});

describe("joining a cluster that has agreed on more than the joiner knows", () => {
  const join = {
    tokenId: "join-1",
    secret: SECRET,
    csrPem: "CSR",
    name: "m4",
    hosts: [],
    addresses: { api: "m4:8008", peer: "m4:8009", postgres: "m4:5432" },
    kind: "data",
    tags: { failoverPriority: 0, isNoFailover: false },
  };

  test("is refused in plain words, and the token is not spent", async () => {
    const fake = living();
    const old = await ask(fake, "POST", "/v1/members/join", join);
    expect(await read<ProblemDocument>(old)).toMatchObject({ status: 409, code: "release-too-old" });
    expect(fake.commands).toEqual([]);
    const level = { "x-guacamole-feature-level": "2" };
    expect((await ask(fake, "POST", "/v1/members/join", join, level)).status).toBe(201);
    expect((await ask(living({ featureLevel: 1 }), "POST", "/v1/members/join", join)).status).toBe(201);
  });
});

describe("GET /v1/consensus", () => {
  test("shows the group by name", async () => {
    const fake = living({ members: [memberOf(M2, "m2"), memberOf(M3, "m3")] });
    const shown = await read<ConsensusDocument>(
      await ask(fake, "GET", "/v1/consensus", undefined, {}, VIEWER),
    );
    expect(shown).toMatchObject({
      term: 4,
      commitIndex: 41,
      appliedIndex: 41,
      floorIndex: 0,
      featureLevel: 2,
      isChanging: false,
      refusal: null,
      group: { outgoing: [], learners: [], learnersNext: [] },
      followers: [
        { name: "m2", matchIndex: 41, lag: 0, isActive: true, isCaughtUp: true },
        { name: "m3", matchIndex: 41, lag: 0, isActive: true, isCaughtUp: true },
      ],
      freshness: { consistency: "local", index: 41, answeredBy: "m1" },
    });
    expect(shown.group.voters).toContain("m2");
  });
});

describe("GET /v1/backup", () => {
  test("sends the file and leaves none behind", async () => {
    const directory = mkdtempSync(join(tmpdir(), "guacamole-backup-"));
    try {
      const fake = living();
      fake.backupPath = join(directory, "state");
      writeFileSync(fake.backupPath, "x".repeat(300_000));
      const answer = await ask(fake, "GET", "/v1/backup");
      expect(answer.status).toBe(200);
      expect(answer.headers.get("x-guacamole-index")).toBe("41");
      expect(answer.headers.get("content-disposition")).toBe('attachment; filename="orders-41.backup"');
      expect((await answer.bytes()).byteLength).toBe(300_000);
      expect(existsSync(fake.backupPath)).toBe(false);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  test("is for admins, and says when it could not be written", async () => {
    expect((await ask(living(), "GET", "/v1/backup", undefined, {}, OPERATOR)).status).toBe(403);
    const full = await ask(living(), "GET", "/v1/backup");
    expect(await read<ProblemDocument>(full)).toMatchObject({ status: 503, code: "backup-failed" });
  });
});

test("too much at once is 503, with the time to wait", async () => {
  const fake = createFake();
  fake.state = stateOf({ featureLevel: 2 });
  fake.answer = { kind: "overloaded", reason: "1000 proposals wait" };
  const answer = await ask(fake, "POST", "/v1/members/m2/voter", { voting: "auto" });
  expect(answer.headers.get("retry-after")).toBe("1");
  expect(await read<ProblemDocument>(answer)).toMatchObject({ status: 503, code: "overloaded" });
});

describe("GET /v1/members/{name}/forks", () => {
  const FORK: Fork = {
    timeline: 2 as TimelineId,
    forkLsn: 0x3000148 as Lsn,
    keptAtMs: 0,
    bytes: 4_194_304,
    transactions: [
      { transactionId: 740, kind: "commit", at: "2026-11-25 21:00:00.5 UTC", lsn: 0x3000200 as Lsn },
    ],
    transactionCount: 1,
    problem: null,
  };

  test("lists the transactions in doubt", async () => {
    const fake = living();
    fake.forks = [FORK];
    const answer = await ask(fake, "GET", "/v1/members/m2/forks", undefined, {}, VIEWER);
    expect(await read<ForkDocument[]>(answer)).toEqual([
      {
        timeline: 2,
        forkedAt: "0/3000148",
        keptAt: "1970-01-01T00:00:00.000Z",
        bytes: 4_194_304,
        transactionCount: 1,
        transactions: [
          { transactionId: 740, kind: "commit", at: "2026-11-25 21:00:00.5 UTC", lsn: "0/3000200" },
        ],
        problem: null,
      },
    ]);
  });

  test("says which member does not tell", async () => {
    const answer = await ask(living(), "GET", "/v1/members/m3/forks");
    expect(answer.status).toBe(503);
    expect((await read<ProblemDocument>(answer)).code).toBe("member-unreachable");
  });
});
