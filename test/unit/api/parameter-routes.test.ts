import { describe, expect, test } from "bun:test";
import type { ParametersDocument } from "../../../src/api/parameter-documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type { SpecAppliedDocument, SpecDocument } from "../../../src/api/spec-documents.ts";
import type { MemberId } from "../../../src/base/ids.ts";
import { err, ok, type Result } from "../../../src/base/result.ts";
import type { Parameters } from "../../../src/cluster/parameters.ts";
import type { ServerSetting, ServerSettings, TriedParameters } from "../../../src/cluster/server-settings.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import {
  ADMIN,
  applyCommands,
  CONNECTIONS,
  createFake,
  type Fake,
  M1,
  M2,
  M3,
  memberOf,
  OPERATOR,
  observed,
  read,
  request,
  STANDBY,
  stateOf,
  statusOf,
  VIEWER,
  WORK_MEM,
} from "./fixture.ts";

const ARCHIVE: ServerSetting = {
  ...WORK_MEM,
  name: "archive_command",
  type: "string",
  context: "sighup",
  setting: "",
};

interface World {
  readonly fake: Fake;
  readonly asked: (readonly string[] | null)[];
  readonly tried: Parameters[];
  settings: readonly ServerSetting[];
  silent: readonly MemberId[];
  trial: TriedParameters;
}

function world(over: Partial<ClusterState> = {}): World {
  const settings = async (
    id: MemberId,
    names: readonly string[] | null,
  ): Promise<Result<ServerSettings, string>> => {
    made.asked.push(names);
    if (made.silent.includes(id)) return err("it does not answer");
    const said = made.settings.filter(
      ({ name }) => names === null || names.includes(name) || name === "max_connections",
    );
    return ok({ settings: said, prefixes: [], fileErrors: [], takenOut: id === M2 ? ["work_mem"] : [] });
  };
  const fake = createFake({
    serverSettings: settings,
    tryParameters: async (_id, parameters) => {
      made.tried.push(parameters);
      return made.trial;
    },
  });
  const made: World = {
    fake,
    asked: [],
    tried: [],
    settings: [WORK_MEM, CONNECTIONS, ARCHIVE],
    silent: [],
    trial: { kind: "fits" },
  };
  fake.state = stateOf({ featureLevel: 4, ...over });
  applyCommands(fake);
  return made;
}

const ask = (
  { fake }: World,
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
  token = ADMIN,
) => request(fake, method, path, body, headers, token);
const codeOf = async (response: Response) =>
  [response.status, (await read<ProblemDocument>(response)).code] as const;
const change = (of: World, body: unknown, token = ADMIN) =>
  ask(of, "PATCH", "/v1/parameters", body, {}, token);

describe("PATCH /v1/parameters", () => {
  test("puts values into layers, and takes them out again", async () => {
    const of = world();
    const body = {
      cluster: { Work_Mem: "64MB", max_connections: 200 },
      standby: { work_mem: "32MB" },
      members: { m2: { work_mem: "16MB" } },
    };
    const answer = await change(of, body);
    expect(answer.status).toBe(200);
    const after = await read<ParametersDocument>(answer);
    expect(answer.headers.get("etag")).toBe(`"${after.generation}"`);
    expect(after.desired).toEqual({
      cluster: { max_connections: "200", work_mem: "64MB" },
      primary: {},
      standby: { work_mem: "32MB" },
      members: { m2: { work_mem: "16MB" } },
    });
    const workMem = after.parameters.find(({ name }) => name === "work_mem");
    expect(
      workMem?.members.map(({ member, role, desired, desiredFrom }) => [member, role, desired, desiredFrom]),
    ).toEqual([
      ["m1", "primary", "64MB", "cluster"],
      ["m2", "standby", "16MB", "member"],
      ["m3", "standby", "32MB", "role"],
    ]);
    expect(workMem?.members[0]).toMatchObject({ effective: "4MB", source: "default", isDrifting: true });
    expect(after.notices.join(" ")).toContain("a standby must not have less than its primary");

    const emptied = await change(of, { cluster: { work_mem: null }, standby: { work_mem: null } });
    expect((await read<ParametersDocument>(emptied)).desired).toMatchObject({
      cluster: { max_connections: "200" },
      standby: {},
      members: { m2: { work_mem: "16MB" } },
    });
    expect(await read<unknown>(await ask(of, "GET", "/v1/spec"))).toMatchObject({
      spec: { postgres: { parameters: { members: { m2: { work_mem: "16MB" } } } } },
    });
  });

  test("has each server try what it would have in either role", async () => {
    const of = world();
    await change(of, { cluster: { work_mem: "1MB" }, primary: { work_mem: "2MB" } });
    expect(of.tried.map(({ work_mem }) => work_mem).sort()).toEqual([
      "1MB",
      "1MB",
      "1MB",
      "2MB",
      "2MB",
      "2MB",
    ]);
  });

  test.each([
    [{}, 422, "invalid-request"],
    [{ everywhere: { work_mem: "1MB" } }, 422, "invalid-request"],
    [{ cluster: { "work mem": "1MB" } }, 422, "invalid-request"],
    [{ cluster: { work_mem: ["1MB"] } }, 422, "invalid-request"],
    [{ cluster: { work_mem: "1MB\nfsync = off" } }, 422, "parameter-invalid"],
    [{ cluster: { work_mem: "1kB" } }, 422, "parameter-invalid"],
    [{ cluster: { work_memory: "1MB" } }, 422, "parameter-unknown"],
    [{ cluster: { synchronous_standby_names: "*" } }, 422, "parameter-owned"],
    [{ primary: { max_connections: "200" } }, 422, "parameter-invalid"],
    [{ members: { m9: { work_mem: "1MB" } } }, 409, "member-unknown"],
  ])("refuses %j with %d %s, and changes nothing", async (body, status, code) => {
    const of = world();
    const answer = await change(of, body);
    const problem = await read<ProblemDocument>(answer);
    expect([answer.status, problem.code]).toEqual([status, code]);
    expect(of.fake.commands).toEqual([]);
    expect(of.tried).toEqual([]);
  });

  test("says what is allowed of each one that is wrong, and never repeats a value", async () => {
    const problem = await read<ProblemDocument>(
      await change(world(), { cluster: { work_mem: "1kB", max_connections: "77s" } }),
    );
    expect(problem.errors?.map(({ field }) => field)).toEqual(["work_mem", "max_connections"]);
    expect(problem.detail).toContain("from 64 to 2147483647 (in kB)");
    expect(problem.detail).not.toContain("77");
  });

  test("what PostgreSQL would not start with is refused in its own words", async () => {
    const of = world();
    of.trial = { kind: "refused", why: "could not access file" };
    const answer = await change(of, { cluster: { work_mem: "1MB" } });
    expect(answer.status).toBe(422);
    const problem = await read<ProblemDocument>(answer);
    expect(problem.code).toBe("parameter-refused");
    expect(problem.detail).toContain("could not access file");
    expect(of.fake.commands).toEqual([]);
  });

  test("needs the primary's server, or the member's own; others are named", async () => {
    const of = world();
    of.silent = [M1];
    expect(await codeOf(await change(of, { cluster: { work_mem: "1MB" } }))).toEqual([
      503,
      "member-unreachable",
    ]);
    of.silent = [M2];
    expect(await codeOf(await change(of, { members: { m2: { work_mem: "1MB" } } }))).toEqual([
      503,
      "member-unreachable",
    ]);
    const answer = await change(of, { cluster: { work_mem: "1MB" } });
    expect((await read<ParametersDocument>(answer)).notices.join(" ")).toContain(
      "m2: its PostgreSQL was not asked",
    );
    of.silent = [];
    of.trial = { kind: "unknown", why: "too old" };
    expect(await codeOf(await change(of, { cluster: { work_mem: "2MB" } }))).toEqual([
      503,
      "member-unreachable",
    ]);
    // What is taken out needs nobody's word.
    of.silent = [M1, M2, M3];
    expect((await change(of, { cluster: { work_mem: null } })).status).toBe(200);
  });

  test("what runs programs or loads code needs admin, to be set and to be taken out; the rest operator", async () => {
    const of = world();
    expect((await change(of, { cluster: { work_mem: "1MB" } }, OPERATOR)).status).toBe(200);
    expect(await codeOf(await change(of, { cluster: { work_mem: "2MB" } }, VIEWER))).toEqual([
      403,
      "scope-insufficient",
    ]);
    for (const value of ["cp %p /archive/%f", null])
      expect(await codeOf(await change(of, { cluster: { archive_command: value } }, OPERATOR))).toEqual([
        403,
        "scope-insufficient",
      ]);
    expect((await change(of, { cluster: { archive_command: "cp %p /archive/%f" } })).status).toBe(200);
  });

  test("of another version than was meant is refused; the same key takes effect once; no change is none", async () => {
    const of = world();
    const stale = await ask(
      of,
      "PATCH",
      "/v1/parameters",
      { cluster: { work_mem: "1MB" } },
      { "if-match": '"7"' },
    );
    expect(await codeOf(stale)).toEqual([412, "stale-generation"]);
    const key = { "idempotency-key": "once" };
    await ask(of, "PATCH", "/v1/parameters", { cluster: { work_mem: "1MB" } }, key);
    await change(of, { cluster: { work_mem: "2MB" } });
    const again = await ask(of, "PATCH", "/v1/parameters", { cluster: { work_mem: "1MB" } }, key);
    expect((await read<ParametersDocument>(again)).desired.cluster).toEqual({ work_mem: "2MB" });
    const before = of.fake.commands.length;
    expect((await change(of, { cluster: { work_mem: "2MB" } })).status).toBe(200);
    expect(of.fake.commands).toHaveLength(before);
  });

  test("waits for the last member to be upgraded, and for a PostgreSQL", async () => {
    const older = world({ featureLevel: 3 });
    expect(await codeOf(await change(older, { cluster: { work_mem: "1MB" } }))).toEqual([
      409,
      "feature-level-low",
    ]);
    const unborn = world({ reign: null, initialization: null, systemIdentifier: null });
    expect(await codeOf(await change(unborn, { cluster: { work_mem: "1MB" } }))).toEqual([
      409,
      "not-initialized",
    ]);
  });

  test("a witness has none", async () => {
    const of = world({
      members: [memberOf(M1, "m1"), memberOf(M2, "m2"), memberOf(M3, "m3", { kind: "witness" })],
    });
    expect(await codeOf(await change(of, { members: { m3: { work_mem: "1MB" } } }))).toEqual([
      409,
      "member-unsuitable",
    ]);
  });
});

describe("GET /v1/parameters", () => {
  test("says where each value comes from, what waits for a start, what drifts, and who did not say", async () => {
    const of = world();
    of.fake.state = stateOf({
      featureLevel: 4,
      spec: {
        ...stateOf().spec,
        postgres: { parameters: { cluster: { work_mem: "64MB", max_connections: "200" } } },
      },
    });
    const ours = { source: "configuration file", sourceFile: "/data.guacamole/postgresql.conf" };
    of.settings = [
      { ...WORK_MEM, ...ours, setting: "65536" },
      { ...CONNECTIONS, pendingRestart: true },
    ];
    of.silent = [M3];
    const seen = await read<ParametersDocument>(
      await ask(of, "GET", "/v1/parameters", undefined, {}, VIEWER),
    );
    const [connections, workMem] = seen.parameters;
    expect(workMem).toMatchObject({ name: "work_mem", unit: "kB", takesEffect: "reload", needs: "operator" });
    expect(workMem?.members[0]).toMatchObject({ effective: "64MB", source: "cluster", isDrifting: false });
    expect(connections?.members[0]).toMatchObject({
      source: "base-file",
      pendingRestart: true,
      isDrifting: false,
    });
    expect(connections?.members[2]).toMatchObject({ desired: "200", effective: null, source: null });
    expect(seen.pendingRestart).toEqual([
      { member: "m1", names: ["max_connections"] },
      { member: "m2", names: ["max_connections"] },
    ]);
    expect(seen.takenOut).toEqual([{ member: "m2", names: ["work_mem"] }]);
    expect(seen.unseen).toEqual([{ member: "m3", why: "it does not answer" }]);
  });

  test("asks for what is named, for all, or for what is wanted; members that are gone are not asked", async () => {
    const of = world();
    of.fake.observations.set(M3, observed(statusOf(M3, STANDBY), { isConnected: false }));
    await ask(of, "GET", "/v1/parameters?name=Work_Mem,jit");
    expect(of.asked).toEqual([
      ["work_mem", "jit"],
      ["work_mem", "jit"],
    ]);
    await ask(of, "GET", "/v1/parameters?all=true");
    expect(of.asked.at(-1)).toBeNull();
    await ask(of, "GET", "/v1/parameters");
    expect(of.asked.at(-1)).toEqual([]);
    expect((await ask(of, "GET", "/v1/parameters?name=a%20b")).status).toBe(422);
  });
});

describe("what may hold a secret", () => {
  const values = async (path: string, token: string) => {
    const { fake } = withCommand;
    return (await request(fake, "GET", path, undefined, {}, token)).text();
  };
  const withCommand = world({
    featureLevel: 4,
    spec: {
      ...stateOf().spec,
      postgres: { parameters: { cluster: { archive_command: "cp %p /a --key=hush", work_mem: "64MB" } } },
    },
  });
  withCommand.settings = [{ ...ARCHIVE, setting: "cp %p /a --key=hush" }, WORK_MEM];

  test("is shown to those who may set it", async () => {
    for (const path of ["/v1/parameters", "/v1/spec", "/v1/spec/blame"]) {
      expect(await values(path, ADMIN)).toContain("hush");
      for (const token of [VIEWER, OPERATOR]) {
        const text = await values(path, token);
        expect(text).not.toContain("hush");
        expect(text).toContain("archive_command");
        expect(text).toContain("64MB");
      }
    }
  });

  test("is no value when it comes back masked", async () => {
    const change = { cluster: { archive_command: "***" } };
    const answer = await request(withCommand.fake, "PATCH", "/v1/parameters", change, {}, ADMIN);
    expect([answer.status, (await read<ProblemDocument>(answer)).code]).toEqual([422, "invalid-request"]);
    expect(withCommand.fake.commands).toEqual([]);
  });

  test("stays what it is in a file of somebody who does not see it", async () => {
    const { fake } = withCommand;
    const { spec } = JSON.parse(await values("/v1/spec", OPERATOR)) as SpecDocument;
    const put = await request(fake, "PUT", "/v1/spec?dryRun=true", spec, {}, OPERATOR);
    expect([put.status, (await read<SpecAppliedDocument>(put)).changes]).toEqual([200, []]);
  });
});
