import { describe, expect, test } from "bun:test";
import type { ClusterId } from "../../../src/base/ids.ts";
import type { ManagedSettings } from "../../../src/cluster/managed-settings.ts";
import { ownerOf } from "../../../src/cluster/parameter-rules.ts";
import {
  type ConfigPlaces,
  hashSettings,
  ownedSettings,
  renderCommandLine,
  renderHba,
  renderIdent,
  renderPostgresqlConf,
  settledSettings,
} from "../../../src/postgres/render-config.ts";

const SETTINGS: ManagedSettings = {
  memberName: "m1",
  clusterId: "11111111-2222-4333-8444-555555555555" as ClusterId,
  listenAddresses: "127.0.0.1",
  port: 5432,
  socketDirectory: "/run/postgresql",
  upstream: { host: "10.0.0.2", port: 5433 },
  synchronousStandbyNames: { k: 1, names: ["m3", "m2"] },
};

const PLACES: ConfigPlaces = {
  dataDirectory: "/data/it's here",
  configFile: "/state/postgresql.conf",
  hbaFile: "/state/pg_hba.conf",
  identFile: "/state/pg_ident.conf",
  caFile: "/state/ca.crt",
  certificateFile: "/state/server.crt",
  keyFile: "/state/server.key",
  upstreamKeyFile: "/state/upstream-7.key",
  major: 17,
  superuserSystemUsers: ["root", "postgres", "root"],
};

const conf = (changes: Partial<ManagedSettings> = {}, places = PLACES): string =>
  renderPostgresqlConf({ ...SETTINGS, ...changes }, places);

describe("what operators want", () => {
  const wanted = { ...SETTINGS, parameters: { work_mem: "64MB", "app.motto": "it's\\me", fsync: "off" } };

  test("comes after the base file and before what is ours, in the order of its names", () => {
    const lines = renderPostgresqlConf(wanted, PLACES).split("\n");
    const at = (text: string) => lines.findIndex((line) => line.startsWith(text));
    expect(at("app.motto = 'it''s\\\\me'")).toBeGreaterThan(at("include_if_exists"));
    expect(at("work_mem = '64MB'")).toBe(at("app.motto") + 2);
    expect(lines.lastIndexOf("fsync = 'on'")).toBeGreaterThan(at("fsync = 'off'"));
    expect(conf()).not.toContain("As wanted");
  });

  test("has its part in the hash, which is what it was where nothing is wanted", () => {
    expect(hashSettings(wanted)).not.toBe(hashSettings(SETTINGS));
    const { parameters } = wanted;
    const turned = Object.fromEntries(Object.entries(parameters).reverse());
    expect(hashSettings({ ...SETTINGS, parameters: turned })).toBe(hashSettings(wanted));
    // As release 0.1.0 and its successors made it: a supervisor that stayed says the same.
    expect(hashSettings(SETTINGS)).toBe("cb8e37e288b17a77");
  });

  test("is never what is ours: the list of what is refused is the list of what is written", () => {
    const owned = [...ownedSettings(SETTINGS, { ...PLACES, major: 15 })];
    expect(owned.filter((name) => ownerOf(name) === null)).toEqual([]);
    expect(settledSettings(wanted, PLACES).has("work_mem")).toBe(true);
  });
});

describe("postgresql.conf", () => {
  test("ours comes after the base file, defaults before it", () => {
    const lines = conf().split("\n");
    const include = lines.indexOf("include_if_exists = '/data/it''s here/postgresql.conf'");
    expect(include).toBeGreaterThan(lines.indexOf("wal_level = 'replica'"));
    expect(include).toBeLessThan(lines.indexOf("synchronous_commit = 'on'"));
  });

  test("an upstream is followed by certificate, under the key of its epoch, and without a password", () => {
    const line = conf()
      .split("\n")
      .find((text) => text.startsWith("primary_conninfo"));
    expect(line).toContain("host=''10.0.0.2'' port=''5433'' user=''guacamole_replicator''");
    expect(line).toContain("application_name=''m1'' sslmode=''verify-ca''");
    expect(line).toContain("sslkey=''/state/upstream-7.key''");
    expect(line).not.toContain("pass");
  });

  test("no upstream: nothing to connect to", () => {
    expect(conf({ upstream: null })).toContain("primary_conninfo = ''\n");
  });

  test("the rule of the cohort is quoted and sorted; none means asynchronous", () => {
    expect(conf()).toContain(`synchronous_standby_names = 'ANY 1 ("m2","m3")'`);
    expect(conf({ synchronousStandbyNames: null })).toContain("synchronous_standby_names = ''");
  });

  test("PostgreSQL 15 can be promoted by a file of anybody's choice, unless that is taken away", () => {
    expect(conf({}, { ...PLACES, major: 15 })).toContain("promote_trigger_file = ''");
    expect(conf({}, { ...PLACES, major: 16 })).not.toContain("promote_trigger_file");
  });
});

test("what ALTER SYSTEM must not reach stands on the command line, and is owned", () => {
  const options = renderCommandLine(SETTINGS, PLACES);
  expect(options).toContain("config_file=/state/postgresql.conf");
  expect(options).toContain("port=5432");
  expect(options).toContain("ssl=on");
  const owned = ownedSettings(SETTINGS, PLACES);
  for (const name of [
    "port",
    "primary_conninfo",
    "restore_command",
    "synchronous_commit",
    "data_directory",
  ]) {
    expect(owned.has(name)).toBe(true);
  }
  expect(owned.has("work_mem")).toBe(false);
});

test("pg_hba.conf lets members in by certificate only, before anything lets applications in", () => {
  const rules = renderHba(null)
    .split("\n")
    .map((line) => line.split(/\s+/).join(" "));
  const cert = rules.indexOf("hostssl replication guacamole_replicator all cert map=guacamole_members");
  const reject = rules.indexOf("host all guacamole_replicator all reject");
  const applications = rules.indexOf("host all all all scram-sha-256");
  expect(cert).toBeGreaterThan(0);
  expect(reject).toBeGreaterThan(cert);
  expect(applications).toBeGreaterThan(reject);
});

test("rules of operators take the place of those for applications, and come after guacamole's own", () => {
  const rules = renderHba({ hba: ["# theirs", "host all all all reject"] }).split("\n");
  expect(rules.indexOf("host all all all reject")).toBe(rules.indexOf("# theirs") + 1);
  expect(rules.findIndex((line) => /cert +map=guacamole_members/.test(line))).toBeGreaterThan(0);
  expect(rules.indexOf("# theirs")).toBeGreaterThan(
    rules.findLastIndex((line) => line.includes("guacamole_")),
  );
  expect(rules.some((line) => line.includes("scram-sha-256"))).toBe(false);
});

test("pg_ident.conf names each system user once, and members by their certificates", () => {
  const ident = renderIdent(PLACES.superuserSystemUsers, null);
  expect(ident.match(/"root"/g)).toHaveLength(1);
  expect(ident).toContain("/^guacamole-member-[0-9a-f-]+$  guacamole_replicator");
  expect(renderIdent([], { identMaps: ["krb a b"] })).toContain("\nkrb a b\n");
});

test("the hash names the settings: equal for equal ones in any order of keys, another for any change", () => {
  const { port, ...rest } = SETTINGS;
  expect(hashSettings({ ...rest, port })).toBe(hashSettings(SETTINGS));
  expect(hashSettings({ ...SETTINGS, upstream: null })).not.toBe(hashSettings(SETTINGS));
  expect(hashSettings({ ...SETTINGS, synchronousStandbyNames: null })).not.toBe(hashSettings(SETTINGS));
  const access = { revision: 3, hba: ["local all all peer"], identMaps: [] };
  expect(hashSettings({ ...SETTINGS, access })).not.toBe(hashSettings(SETTINGS));
  expect(hashSettings({ ...SETTINGS, access: { ...access, hba: [] } })).not.toBe(
    hashSettings({ ...SETTINGS, access }),
  );
});
