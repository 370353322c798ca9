import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  checkAgainstServers,
  checkNames,
  isInEffect,
  noticesOf,
} from "../../../src/cluster/check-parameters.ts";
import { isGuarded, ownerOf } from "../../../src/cluster/parameter-rules.ts";
import { normalizeValue } from "../../../src/cluster/parameter-value.ts";
import {
  changedLayers,
  desiredParameters,
  type ParameterLayers,
  type ParameterLayersChange,
  parametersOf,
  parseParameterName,
} from "../../../src/cluster/parameters.ts";
import type { ServerSetting } from "../../../src/cluster/server-settings.ts";
import { id } from "../../support/situation.ts";

function setting(name: string, over: Partial<ServerSetting> = {}): ServerSetting {
  return {
    name,
    setting: "0",
    unit: null,
    type: "integer",
    context: "user",
    min: "0",
    max: "2147483647",
    choices: null,
    source: "default",
    sourceFile: null,
    pendingRestart: false,
    description: "",
    ...over,
  };
}

const WORK_MEM = setting("work_mem", { setting: "4096", unit: "kB", min: "64" });
const BUFFERS = setting("shared_buffers", {
  unit: "8kB",
  context: "postmaster",
  min: "16",
  max: "1073741823",
});
const CONNECTIONS = setting("max_connections", {
  setting: "100",
  context: "postmaster",
  min: "1",
  max: "262143",
});
const TIMEOUT = setting("statement_timeout", { unit: "ms" });
const COST = setting("random_page_cost", { type: "real", setting: "4", max: "1.79769e+308" });
const JIT = setting("jit", { type: "bool", setting: "on", min: null, max: null });
const WAL_LEVEL = setting("wal_level", {
  type: "enum",
  setting: "replica",
  context: "postmaster",
  min: null,
  max: null,
  choices: ["minimal", "replica", "logical"],
});
const STYLE = setting("DateStyle", { type: "string", setting: "ISO, MDY", min: null, max: null });
const PRELOAD = setting("shared_preload_libraries", {
  type: "string",
  setting: "",
  context: "postmaster",
  min: null,
  max: null,
});
const VERSION = setting("server_version_num", { context: "internal" });

const value = (text: string, of: ServerSetting) => {
  const normalized = normalizeValue(text, of);
  return normalized.ok ? normalized.value : `! ${normalized.error}`;
};

describe("a value", () => {
  test.each([
    ["64MB", WORK_MEM, "65536"],
    [" 64 MB ", WORK_MEM, "65536"],
    ["65536", WORK_MEM, "65536"],
    ["0.5GB", WORK_MEM, "524288"],
    ["0x1000", WORK_MEM, "4096"],
    ["128MB", BUFFERS, "16384"],
    ["16", BUFFERS, "16"],
    ["1min", TIMEOUT, "60000"],
    ["1.5h", TIMEOUT, "5400000"],
    ["2d", TIMEOUT, "172800000"],
    ["500us", TIMEOUT, "0"],
    ["1.1", COST, "1.1"],
    ["1e1", COST, "10"],
    ["tr", JIT, "on"],
    ["OFF", JIT, "off"],
    ["0", JIT, "off"],
    ["Logical", WAL_LEVEL, "logical"],
    ["german, dmy", STYLE, "german, dmy"],
  ] as const)("%s is read as PostgreSQL reads it", (text, of, expected) => {
    expect(value(text, of)).toBe(expected);
  });

  test.each([
    ["63kB", WORK_MEM, "from 64 to 2147483647 (in kB)"],
    ["3TB", WORK_MEM, "from 64 to 2147483647 (in kB)"],
    ["64mb", WORK_MEM, "units B, kB, MB, GB, TB"],
    ["1s", WORK_MEM, "units B, kB, MB, GB, TB"],
    ["lots", WORK_MEM, "must be a number, in kB"],
    ["1 kB", CONNECTIONS, "without a unit"],
    ["-1", TIMEOUT, "from 0"],
    ["1GB", TIMEOUT, "units us, ms, s, min, h, d"],
    ["o", JIT, "on or off"],
    ["", JIT, "on or off"],
    ["archive", WAL_LEVEL, "one of minimal, replica, logical"],
    ["a\nport = 1", STYLE, "one line"],
    ["x".repeat(4_001), STYLE, "at most 4000"],
  ] as const)("%s is refused with what is allowed, and without being repeated", (text, of, words) => {
    const said = value(text, of);
    expect(said).toStartWith("! ");
    expect(said).toContain(words);
  });

  test("is the same in every unit that it can be written in", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2047 }), (count) => {
        expect(value(`${count}GB`, WORK_MEM)).toBe(value(`${count * 1024}MB`, WORK_MEM));
        expect(value(`${count}MB`, WORK_MEM)).toBe(value(`${count * 1024}`, WORK_MEM));
        expect(value(`${count}min`, TIMEOUT)).toBe(value(`${count * 60}s`, TIMEOUT));
      }),
    );
  });

  test("as the server shows it is the value itself", () => {
    fc.assert(
      fc.property(fc.integer({ min: 64, max: 2_147_483_647 }), (count) => {
        expect(value(String(count), WORK_MEM)).toBe(String(count));
      }),
    );
  });

  test("of any kind is read or refused, and never anything else", () => {
    const kinds = [WORK_MEM, TIMEOUT, COST, JIT, WAL_LEVEL, STYLE];
    fc.assert(
      fc.property(fc.string(), fc.constantFrom(...kinds), (text, of) => {
        const normalized = normalizeValue(text, of);
        if (normalized.ok) expect(normalizeValue(normalized.value, of)).toEqual(normalized);
      }),
    );
  });
});

const M1 = id("m1");
const M2 = id("m2");
const LAYERS: ParameterLayers = {
  cluster: { work_mem: "1MB", jit: "off", statement_timeout: "1s" },
  primary: { work_mem: "2MB" },
  standby: { statement_timeout: "2s" },
  members: { [M2]: { work_mem: "3MB" } },
};

describe("layers", () => {
  test("a member's own counts more than its role's, and that more than the cluster's", () => {
    expect(parametersOf(LAYERS, M1, "primary")).toEqual({
      jit: "off",
      statement_timeout: "1s",
      work_mem: "2MB",
    });
    expect(parametersOf(LAYERS, M1, "standby")).toEqual({
      jit: "off",
      statement_timeout: "2s",
      work_mem: "1MB",
    });
    expect(parametersOf(LAYERS, M2, "primary")).toEqual({
      jit: "off",
      statement_timeout: "1s",
      work_mem: "3MB",
    });
    expect(desiredParameters(LAYERS, M2, "standby").get("statement_timeout")).toEqual({
      value: "2s",
      from: "role",
    });
    expect(parametersOf(undefined, M1, "primary")).toBeNull();
    expect(parametersOf({}, M1, "primary")).toBeNull();
  });

  test("a change touches what it names; what is taken out leaves nothing behind", () => {
    const change: ParameterLayersChange = {
      cluster: { jit: null, log_min_messages: "error" },
      primary: { work_mem: null },
      members: { [M1]: { work_mem: "9MB" }, [M2]: { work_mem: null } },
    };
    expect(changedLayers(LAYERS, change, [M1, M2])).toEqual({
      cluster: { log_min_messages: "error", statement_timeout: "1s", work_mem: "1MB" },
      standby: { statement_timeout: "2s" },
      members: { [M1]: { work_mem: "9MB" } },
    });
    const { members: _, ...others } = LAYERS;
    expect(changedLayers(LAYERS, {}, [M1])).toEqual(others);
  });

  test("a change is there once, however often it is made", () => {
    const name = fc.constantFrom("work_mem", "jit", "a.b");
    const changes = fc.dictionary(name, fc.option(fc.constantFrom("1", "2")), { noNullPrototype: true });
    fc.assert(
      fc.property(changes, changes, changes, (cluster, standby, own) => {
        const change = { cluster, standby, members: { [M1]: own } };
        const once = changedLayers(LAYERS, change, [M1, M2]);
        expect(changedLayers(once, change, [M1, M2])).toEqual(once);
      }),
    );
  });

  test("names have one form, and nothing else is a name", () => {
    expect(parseParameterName("DateStyle")).toBe("datestyle");
    expect(parseParameterName("pg_stat_statements.max")).toBe("pg_stat_statements.max");
    for (const text of ["", "a b", "a=b", "1a", "a.", ".a", "a\nb", "include'x'", "a".repeat(64)])
      expect(parseParameterName(text)).toBeNull();
  });
});

describe("what may be wanted", () => {
  const settings = [WORK_MEM, BUFFERS, CONNECTIONS, TIMEOUT, JIT, WAL_LEVEL, STYLE, PRELOAD, VERSION];
  const server = (over = {}, more: readonly ServerSetting[] = []) => ({
    memberId: M1,
    memberName: "m1",
    isPrimary: true,
    answer: {
      settings: [...settings, ...more],
      prefixes: more.map(({ name }) => name.split(".")[0] ?? ""),
      fileErrors: [],
      takenOut: [],
    },
    ...over,
  });
  const issues = (change: ParameterLayersChange, servers = [server()]) =>
    [...checkNames(change), ...checkAgainstServers(change, changedLayers({}, change, [M1, M2]), servers)].map(
      ({ code, message }) => `${code}: ${message}`,
    );

  test("what fits is accepted, and what is taken out always", () => {
    expect(
      issues({ cluster: { work_mem: "64MB", datestyle: "german", port: null, nonsense: null } }),
    ).toEqual([]);
  });

  test.each([
    [{ cluster: { synchronous_standby_names: "*" } }, "parameter-owned", "/v1/topology"],
    [{ cluster: { restore_command: "cp" } }, "parameter-owned", "guacamole's"],
    [{ standby: { recovery_target_lsn: "0/1" } }, "parameter-owned", "to the end"],
    [{ cluster: { work_memory: "1MB" } }, "parameter-unknown", "no parameter of this PostgreSQL"],
    [{ cluster: { "pg_cron.host": "x" } }, "parameter-unknown", "shared_preload_libraries"],
    [{ cluster: { server_version_num: "1" } }, "parameter-invalid", "cannot be set"],
    [{ primary: { shared_buffers: "1GB" } }, "parameter-invalid", "differ by role"],
    [{ members: { [M1]: { max_connections: "200" } } }, "parameter-invalid", "same on every member"],
    [{ cluster: { wal_level: "minimal" } }, "parameter-invalid", "replica or logical"],
    [{ cluster: { work_mem: "1" } }, "parameter-invalid", "from 64"],
  ] as const)("%j is refused: %s", (change, code, words) => {
    const said = issues(change as ParameterLayersChange);
    expect(said[0]).toStartWith(code);
    expect(said[0]).toContain(words);
  });

  test("each server that it is for is asked, and those alike say it once", () => {
    const second = server({ memberId: M2, memberName: "m2", isPrimary: false });
    expect(issues({ cluster: { work_mem: "1" } }, [server(), second])).toHaveLength(1);
    expect(issues({ members: { [M2]: { nope: "1" } } }, [server()])).toEqual([]);
    expect(issues({ members: { [M2]: { nope: "1" } } }, [second])).toHaveLength(1);
    // A standby that was started with more already does not hold the others to it.
    const raised = { ...CONNECTIONS, setting: "300" };
    const ahead = { ...second, answer: { ...second.answer, settings: [raised] } };
    expect(issues({ cluster: { max_connections: "200" } }, [server(), ahead])).toEqual([]);
  });

  test("an extension's parameter comes with its library", () => {
    const both = {
      cluster: { shared_preload_libraries: "pg_stat_statements", "pg_stat_statements.max": "500" },
    };
    expect(issues(both)).toEqual([]);
    expect(noticesOf(both, [server()]).join(" ")).toContain("pg_stat_statements.max: could not be checked");
    const max = setting("pg_stat_statements.max", { min: "100" });
    const loaded = server({}, [max, { ...PRELOAD, setting: "pg_stat_statements" }].reverse());
    const known = {
      ...loaded,
      answer: { ...loaded.answer, settings: [{ ...PRELOAD, setting: "pg_stat_statements" }, max] },
    };
    expect(issues({ cluster: { "pg_stat_statements.max": "5" } }, [known])[0]).toContain("from 100");
    expect(issues({ cluster: { "pg_stat_statements.maxx": "5" } }, [known])[0]).toContain(
      "no parameter of the extension",
    );
  });

  test("what does not happen at once is said", () => {
    const said = noticesOf({ cluster: { max_connections: "200", work_mem: "1MB" } }, [server()]);
    expect(said).toHaveLength(2);
    expect(said.join(" ")).toContain("a standby must not have less than its primary");
    expect(noticesOf({ cluster: { work_mem: "1MB" } }, [server()])).toEqual([]);
  });

  test("a value is in effect whatever unit it was written in", () => {
    expect(isInEffect({ value: "4MB", from: "cluster" }, WORK_MEM)).toBe(true);
    expect(isInEffect({ value: "8MB", from: "cluster" }, WORK_MEM)).toBe(false);
    expect(isInEffect({ value: "8MB", from: "cluster" }, { ...WORK_MEM, source: "user" })).toBeNull();
  });
});

test("what runs programs or loads code is for admins, also that of extensions", () => {
  for (const name of [
    "archive_command",
    "shared_preload_libraries",
    "basebackup_to_shell.command",
    "plperl.on_init",
  ])
    expect(isGuarded(name)).toBe(true);
  for (const name of ["work_mem", "pg_stat_statements.max", "archive_timeout", "log_min_messages"])
    expect(isGuarded(name)).toBe(false);
  expect(ownerOf("work_mem")).toBeNull();
});
