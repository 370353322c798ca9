import { describe, expect, test } from "bun:test";
import { createApi } from "../../../src/api/create-api.ts";
import { HEALTH_CHECKS, HEALTH_MEANINGS, parseBytes } from "../../../src/api/health.ts";
import type { Epoch } from "../../../src/base/ids.ts";
import type { Member } from "../../../src/cluster/member.ts";
import {
  createFake,
  type Fake,
  M1,
  M2,
  M3,
  PRIMARY,
  reignOf,
  STANDBY,
  stateOf,
  statusOf,
} from "./fixture.ts";

async function codes(fake: Fake, paths: readonly string[], method = "GET"): Promise<Record<string, number>> {
  const api = createApi(fake.ports);
  const entries = await Promise.all(
    paths.map(async (path): Promise<[string, number]> => {
      const response = await api.handle(new Request(`http://localhost${path}`, { method }), "network");
      return [path, response.status];
    }),
  );
  return Object.fromEntries(entries);
}

const AS_PRIMARY = ["/", "/primary", "/read-write", "/leader"];

function standby(): Fake {
  const fake = createFake();
  fake.selfId = M2;
  fake.local = statusOf(M2, STANDBY);
  const zoned = (tags: Member["tags"]): Member["tags"] => ({ ...tags, zone: "a" });
  if (fake.state !== null) {
    const members = fake.state.members.map((each) => ({ ...each, tags: zoned(each.tags) }));
    fake.state = { ...fake.state, members };
  }
  fake.observations.set(M1, {
    status: statusOf(M1, PRIMARY),
    statusAtMs: 90,
    heardAtMs: 95,
    isConnected: true,
  });
  return fake;
}

describe("on the primary", () => {
  test("writes go here", async () => {
    const paths = [
      ...AS_PRIMARY,
      "/read-only",
      "/health",
      "/liveness",
      "/readiness",
      "/replica",
      "/sync",
      "/async",
      "/standby-leader",
    ];
    for (const method of ["GET", "HEAD", "OPTIONS"]) {
      expect(await codes(createFake(), paths, method)).toEqual({
        "/": 200,
        "/primary": 200,
        "/read-write": 200,
        "/leader": 200,
        "/read-only": 200,
        "/health": 200,
        "/liveness": 200,
        "/readiness": 200,
        "/replica": 503,
        "/sync": 503,
        "/async": 503,
        "/standby-leader": 503,
      });
    }
  });

  test("not while it is appointed and still in recovery: /leader says it, /primary does not", async () => {
    const fake = createFake();
    fake.local = statusOf(M1, STANDBY);
    expect(await codes(fake, [...AS_PRIMARY, "/replica"])).toEqual({
      "/": 503,
      "/primary": 503,
      "/read-write": 503,
      "/leader": 200,
      "/replica": 503,
    });
  });

  const fence = { reason: "lost", preferredId: null, fencedAtWallMs: 1 };
  const pledged = { newestEpoch: 3 as Epoch, pledgedEpoch: 3 as Epoch, walEpoch: 3 as Epoch, timelines: [] };
  const newer = { newestEpoch: 4 as Epoch, pledgedEpoch: 2 as Epoch, walEpoch: 3 as Epoch, timelines: [] };
  const cases: readonly [string, (fake: Fake) => void][] = [
    [
      "the reign is fenced",
      (fake) => {
        fake.state = stateOf({ reign: reignOf({ fence }) });
      },
    ],
    [
      "another one is appointed",
      (fake) => {
        fake.state = stateOf({ reign: reignOf({ primaryId: M3 }) });
      },
    ],
    [
      "its supervisor pledged",
      (fake) => {
        fake.local = statusOf(M1, PRIMARY, { promises: pledged });
      },
    ],
    [
      "its supervisor knows a newer epoch",
      (fake) => {
        fake.local = statusOf(M1, PRIMARY, { promises: newer });
      },
    ],
    [
      "PostgreSQL is gone",
      (fake) => {
        fake.local = statusOf(M1, { kind: "unresponsive", detail: "" });
      },
    ],
    [
      "it has not looked yet",
      (fake) => {
        fake.local = null;
      },
    ],
    [
      "it belongs to no cluster",
      (fake) => {
        fake.state = null;
      },
    ],
  ];
  test.each(cases)("no writes where %s", async (_name, change) => {
    const fake = createFake();
    change(fake);
    const found = await codes(fake, ["/", "/primary", "/read-write"]);
    expect(found).toEqual({ "/": 503, "/primary": 503, "/read-write": 503 });
  });

  test("nor while so few standbys stream that a commit would wait", async () => {
    const fake = createFake();
    fake.local = statusOf(M1, PRIMARY.kind === "primary" ? { ...PRIMARY, standbys: [] } : PRIMARY);
    expect(await codes(fake, ["/primary", "/leader"])).toEqual({ "/primary": 503, "/leader": 200 });
  });
});

describe("on a standby", () => {
  test("reads go here, within the lag that is asked for", async () => {
    expect(
      await codes(standby(), [
        ...AS_PRIMARY,
        "/replica",
        "/read-only",
        "/readiness",
        "/quorum",
        "/sync",
        "/async",
        "/replica?lag=1000",
        "/replica?lag=999",
        "/replica?lag=1kB",
        "/replica?lag=nonsense",
        "/readiness?lag=1500",
        "/readiness?lag=1500&mode=apply",
        "/replica?tag_nofailover=false",
        "/replica?tag_nofailover=true",
        "/replica?tag_toString=x",
        "/replica?tag_zone=A",
        "/replica?tag_zone=b",
        "/replica?tag_nosync=true",
        "/replica?replication_state=streaming",
      ]),
    ).toEqual({
      "/": 503,
      "/primary": 503,
      "/read-write": 503,
      "/leader": 503,
      "/replica": 200,
      "/read-only": 200,
      "/readiness": 200,
      "/quorum": 200,
      "/sync": 503,
      "/async": 503,
      "/replica?lag=1000": 200,
      "/replica?lag=999": 503,
      "/replica?lag=1kB": 200,
      "/replica?lag=nonsense": 503,
      "/readiness?lag=1500": 200,
      "/readiness?lag=1500&mode=apply": 503,
      "/replica?tag_nofailover=false": 200,
      "/replica?tag_nofailover=true": 503,
      "/replica?tag_toString=x": 503,
      "/replica?tag_zone=A": 200,
      "/replica?tag_zone=b": 503,
      "/replica?tag_nosync=true": 503,
      "/replica?replication_state=streaming": 200,
    });
  });

  test("a lag that is not known is not small", async () => {
    const fake = standby();
    fake.observations.clear();
    expect(await codes(fake, ["/replica", "/replica?lag=1TB"])).toEqual({
      "/replica": 200,
      "/replica?lag=1TB": 503,
    });
  });

  test("every commit waits for it: /sync; none does: /async", async () => {
    const fake = standby();
    fake.state = stateOf({ reign: reignOf({ cohort: { standbyIds: [M2], k: 1 } }) });
    expect(await codes(fake, ["/sync", "/quorum", "/async"])).toEqual({
      "/sync": 200,
      "/quorum": 503,
      "/async": 503,
    });
    fake.state = stateOf({ reign: reignOf({ cohort: { standbyIds: [M3], k: 1 } }) });
    expect(await codes(fake, ["/sync", "/quorum", "/async"])).toEqual({
      "/sync": 503,
      "/quorum": 503,
      "/async": 200,
    });
  });
});

test("a member that formed nothing is alive and not ready, and its reads answer", async () => {
  const fake = createFake();
  fake.state = null;
  expect(
    await codes(fake, ["/liveness", "/readiness", "/health", "/patroni", "/cluster", "/history"]),
  ).toEqual({
    "/liveness": 200,
    "/readiness": 503,
    "/health": 503,
    "/patroni": 200,
    "/cluster": 200,
    "/history": 200,
  });
});

test("liveness says which loop stands still", async () => {
  const fake = createFake({ stalledReason: () => "the member loop has not turned for 30 s" });
  expect(await codes(fake, ["/liveness"])).toEqual({ "/liveness": 503 });
});

test.each([
  ["0", 0],
  ["16kB", 16384],
  ["10MB", 10485760],
  ["1 GB", 2 ** 30],
  ["-1", null],
  ["1.5MB", null],
  ["MB", null],
  ["10XB", null],
])("a size: %s", (text, bytes) => {
  expect(parseBytes(text)).toBe(bytes);
});

test("every health path says what its 200 means", () => {
  expect(Object.keys(HEALTH_MEANINGS).sort()).toEqual(Object.keys(HEALTH_CHECKS).sort());
});
