import { describe, expect, test } from "bun:test";
import { LineFraming } from "../../../src/supervisor/line-framing.ts";
import { parseEnvelope } from "../../../src/supervisor/parse-request.ts";
import { parsePidFile } from "../../../src/supervisor/postmaster.ts";
import { supervisorEnvironment } from "../../../src/supervisor/spawn.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("lines", () => {
  test("come whole, however the bytes were cut", () => {
    const framing = new LineFraming();
    const [first, second] = [bytes('{"a":"é"}\n{').slice(0, 7), bytes('{"a":"é"}\n{').slice(7)];
    expect(framing.push(first)).toEqual([]);
    expect(framing.push(second)).toEqual(['{"a":"é"}']);
    expect(framing.push(bytes("}\n\n"))).toEqual(["{}"]);
  });

  test("a line without end is not our protocol", () => {
    expect(() => new LineFraming().push(bytes("x".repeat(2 ** 20 + 1)))).toThrow("longer");
  });
});

describe("requests", () => {
  const settings = {
    memberName: "m1",
    clusterId: "11111111-2222-4333-8444-555555555555",
    listenAddresses: "*",
    port: 5432,
    socketDirectory: "/tmp",
    upstream: { host: "h", port: 1 },
    synchronousStandbyNames: { k: 1, names: ["m2"] },
  };

  test.each([
    { kind: "look" },
    { kind: "look", isStarting: true },
    { kind: "reload" },
    { kind: "hello", pid: 7, startTicks: 8 },
    { kind: "extend-lease", epoch: 3, stampMs: 1.5, durationMs: 3000 },
    { kind: "release-lease", epoch: 3 },
    { kind: "discard-aside" },
    { kind: "try-parameters", parameters: { work_mem: "64MB" } },
    { kind: "pledge", epoch: 3 },
    { kind: "start", epoch: 3 },
    { kind: "promote", epoch: 3, timelines: [{ timeline: 2, epoch: 1 }] },
    { kind: "initdb", clusterId: settings.clusterId, options: { encoding: "UTF8", locale: "C" } },
    {
      kind: "initdb",
      clusterId: settings.clusterId,
      options: { encoding: "UTF8", locale: "C", walSegmentMb: 4 },
    },
    { kind: "install-certificates", caPem: "a\n", certificatePem: "b\n", privateKeyPem: "c\n" },
    {
      kind: "rewind",
      epoch: 3,
      timelines: [],
      source: { host: "h", port: 1 },
      forkTimeline: 2,
      forkLsn: 77,
    },
    { kind: "stop", mode: "fast", deadlineMs: 10 },
    { kind: "configure", epoch: 3, timelines: [{ timeline: 1, epoch: 0 }], settings },
    {
      kind: "configure",
      epoch: 3,
      timelines: [],
      settings: { ...settings, parameters: { work_mem: "64MB", "a.b": "" } },
    },
    {
      kind: "clone",
      clusterId: settings.clusterId,
      epoch: 1,
      timelines: [],
      source: { host: "h", port: 1 },
      replace: null,
    },
  ])("%j is one", (request) => {
    const parsed = parseEnvelope(JSON.stringify({ id: 1, request }));
    expect(parsed).toMatchObject({ ok: true, value: { id: 1, request } });
  });

  test.each([
    [{ "x = 1 #": "1" }, "is no name of a parameter"],
    [{ Work_Mem: "1" }, "is no name of a parameter"],
    [{ "some.pem": "1\nfsync = off" }, "must be one line"],
    [{ work_mem: 64 }, "must be a string"],
  ])("no parameter brings another line along: %j", (parameters, says) => {
    const request = { kind: "configure", epoch: 1, timelines: [], settings: { ...settings, parameters } };
    const parsed = parseEnvelope(JSON.stringify({ id: 1, request }));
    expect(parsed.ok).toBe(false);
    if (!parsed.ok) expect(parsed.error.message).toContain(says);
  });

  test.each([
    ["not json", "JSON"],
    [JSON.stringify({ id: 1, request: { kind: "dance" } }), "'dance' is not a request"],
    [JSON.stringify({ id: 1, request: { kind: "pledge", epoch: "3" } }), "epoch"],
    [JSON.stringify({ id: 1, request: { kind: "stop", mode: "smart", deadlineMs: 1 } }), "mode"],
    [
      JSON.stringify({
        id: 1,
        request: {
          kind: "configure",
          epoch: 1,
          timelines: [],
          settings: { ...settings, memberName: "m\nx" },
        },
      }),
      "memberName must be one line",
    ],
  ])("%s is none", (line, says) => {
    const parsed = parseEnvelope(line);
    expect(parsed.ok).toBe(false);
    if (!parsed.ok) expect(parsed.error.message).toContain(says);
  });
});

test("postmaster.pid tells who runs, since when, and whether its sockets are bound", () => {
  const start = "4711\n/data\n1760000000\n5432\n/tmp\n127.0.0.1\n  123 456\n";
  expect(parsePidFile(start)).toMatchObject({ pid: 4711, startedAtMs: 1_760_000_000_000, hasSockets: false });
  expect(parsePidFile(`${start}ready   \n`)?.hasSockets).toBe(true);
  expect(parsePidFile("")).toBeNull();
});

test("secrets and what bends programs are not handed on", () => {
  const environment = {
    PATH: "/bin",
    GUACAMOLE_TOKEN: "x",
    BUN_OPTIONS: "x",
    PGPASSWORD: "x",
    PGDATA: "x",
    LANG: "C",
  };
  expect(supervisorEnvironment(environment)).toEqual({ PATH: "/bin", LANG: "C" });
});
