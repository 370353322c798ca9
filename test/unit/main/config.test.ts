import { describe, expect, test } from "bun:test";
import { type MemberConfig, parseMemberConfig, readDataDir } from "../../../src/main/config.ts";
import { findKeyLine, nearest } from "../../../src/main/config-diagnostics.ts";
import { parseHostPort } from "../../../src/main/host-port.ts";

const FACTS = { hostName: "m7.example.org", firstAddress: "10.0.0.7" };

function accept(
  text: string,
  env: Record<string, string> = {},
  facts: typeof FACTS | { hostName: string; firstAddress: null } = FACTS,
): MemberConfig {
  const config = parseMemberConfig(text, env, facts);
  if (!config.ok) throw new Error(config.error.join("\n"));
  return config.value;
}

function refuse(
  text: string,
  env: Record<string, string> = {},
  facts: typeof FACTS | { hostName: string; firstAddress: null } = FACTS,
): readonly string[] {
  const config = parseMemberConfig(text, env, facts);
  return config.ok ? [] : config.error;
}

const MINIMAL = '[postgres]\ndata-dir = "/data"\n';

const FULL = `name = "m1"
data-dir = "/var/lib/guacamole/"
init = "manual"

[api]
listen = "0.0.0.0:8008"
advertise = "10.0.0.1:8008"
certificate-file = "/etc/ssl/db.crt"
key-file = "/etc/ssl/db.key"
certificate-listen = "0.0.0.0:8010"
health-listen = "0.0.0.0:8007"
[peer]
listen = "10.0.0.1:8009"

[postgres]
bin-dir = "/usr/lib/postgresql/15/bin"
data-dir = "/var/lib/postgresql/15/main"
listen = "[::]:5432"
advertise = "m1.example:5432"
socket-dir = "/tmp"
user = "pg"

[supervisor]
socket = "/run/guacamole/supervisor.sock"

[tags]
failover-priority = 5
no-failover = true
no-sync = true
clone-source = true
zone = "rack-1"

[watchdog]
mode = "required"
device = "/dev/watchdog0"

[hooks]
on-role-change = "/usr/local/bin/move-address"
after-failover = "/usr/local/bin/tell"
timeout-seconds = 5

[audit]
syslog = "tls://log.example"
syslog-facility = "local4"
syslog-ca-file = "/etc/ssl/log-ca.pem"
`;

describe("a good configuration", () => {
  test("is read with every key", () => {
    expect(accept(FULL)).toEqual({
      name: "m1",
      dataDir: "/var/lib/guacamole",
      init: "manual",
      api: { listen: { host: "0.0.0.0", port: 8008 }, advertise: "10.0.0.1:8008" },
      certificateListen: { host: "0.0.0.0", port: 8010 },
      healthListen: { host: "0.0.0.0", port: 8007 },
      apiCertificate: { certificateFile: "/etc/ssl/db.crt", keyFile: "/etc/ssl/db.key" },
      peer: { listen: { host: "10.0.0.1", port: 8009 }, advertise: "10.0.0.1:8009" },
      postgres: {
        binDir: "/usr/lib/postgresql/15/bin",
        dataDir: "/var/lib/postgresql/15/main",
        listen: { host: "::", port: 5432 },
        advertise: "m1.example:5432",
        socketDir: "/tmp",
        user: "pg",
      },
      supervisorSocket: "/run/guacamole/supervisor.sock",
      watchdog: { mode: "required", device: "/dev/watchdog0" },
      syslog: {
        target: { kind: "tls", host: "log.example", port: 6514 },
        facility: 20,
        caFile: "/etc/ssl/log-ca.pem",
      },
      hooks: {
        onRoleChange: "/usr/local/bin/move-address",
        beforeSwitchover: null,
        afterSwitchover: null,
        afterFailover: "/usr/local/bin/tell",
        timeoutMs: 5_000,
        attempts: 3,
      },
      tags: {
        failoverPriority: 5,
        isNoFailover: true,
        isNoSync: true,
        isCloneSource: true,
        zone: "rack-1",
      },
      warnings: [],
    });
  });

  test("needs next to nothing", () => {
    expect(accept(MINIMAL)).toMatchObject({
      name: "m7",
      dataDir: "/var/lib/guacamole",
      api: { advertise: "10.0.0.7:8008" },
      peer: { advertise: "10.0.0.7:8009" },
      postgres: { binDir: null, advertise: "10.0.0.7:5432", socketDir: "/run/postgresql", user: "postgres" },
      supervisorSocket: "/data.guacamole/supervisor.sock",
      watchdog: { mode: "off", device: "/dev/watchdog" },
      hooks: null,
      tags: { failoverPriority: 0, isNoFailover: false },
    });
  });

  test("of a witness has no PostgreSQL", () => {
    expect(accept("[tags]\nwitness = true\n").postgres).toBeNull();
  });

  test("is overridden by the environment, and needs no file", () => {
    const env = {
      GUACAMOLE_NAME: "m2",
      GUACAMOLE_POSTGRES_DATA_DIR: "/pg",
      GUACAMOLE_API_LISTEN: "127.0.0.1:9000",
      GUACAMOLE_TAGS_NO_FAILOVER: "true",
      GUACAMOLE_TAGS_FAILOVER_PRIORITY: "-3",
    };
    expect(accept(FULL, env)).toMatchObject({
      name: "m2",
      api: { listen: { host: "127.0.0.1", port: 9000 } },
      postgres: { dataDir: "/pg" },
      tags: { failoverPriority: -3, isNoFailover: true },
    });
    expect(accept("", env).api.advertise).toBe("127.0.0.1:9000");
  });

  test("a variable that is almost ours is worth a warning, others' variables are not", () => {
    const env = {
      GUACAMOLE_POSTGRES_DATADIR: "/pg",
      GUACAMOLE_TOKEN: "t",
      GUACAMOLE_SERVICE_HOST: "10.1.1.1",
      GUACAMOLE_PORT: "tcp://1",
    };
    expect(accept(MINIMAL, env).warnings).toEqual([
      "the environment variable GUACAMOLE_POSTGRES_DATADIR is none of ours: did you mean GUACAMOLE_POSTGRES_DATA_DIR?",
    ]);
  });
});

describe("a bad configuration", () => {
  const cases: readonly [string, string, string][] = [
    ["an unknown key", `nmae = "m1"\n${MINIMAL}`, "line 1: there is no key 'nmae': did you mean 'name'?"],
    [
      "an unknown key of a section",
      `${MINIMAL}datadir = "/x"`,
      "line 3: there is no key 'postgres.datadir': did you mean 'postgres.data-dir'?",
    ],
    [
      "a key in the wrong section",
      `${MINIMAL}advertize = "x:1"`,
      "line 3: there is no key 'postgres.advertize': did you mean 'postgres.advertise'?",
    ],
    ["an unknown section", `${MINIMAL}[timing]\nheartbeat = 3`, "there is no key 'timing'"],
    ["a wrong type", `name = 5\n${MINIMAL}`, "line 1: 'name' must be a string, but is a whole number"],
    ["an unknown mode", `${MINIMAL}[watchdog]\nmode = "on"`, "must be one of off, automatic, required"],
    [
      "a fraction",
      `${MINIMAL}[tags]\nfailover-priority = 1.5`,
      "line 4: 'tags.failover-priority' must be a whole number, but is a number with a fraction",
    ],
    [
      "a hook without a place",
      `${MINIMAL}[hooks]\nbefore-switchover = "check.sh"`,
      "'hooks.before-switchover' (GUACAMOLE_HOOKS_BEFORE_SWITCHOVER) must be an absolute path",
    ],
    [
      "a hook that is tried for ever",
      `${MINIMAL}[hooks]\nattempts = 0`,
      "'hooks.attempts' (GUACAMOLE_HOOKS_ATTEMPTS) must be 1 to 10",
    ],
    [
      "a hook that may take for ever",
      `${MINIMAL}[hooks]\ntimeout-seconds = 3600`,
      "'hooks.timeout-seconds' (GUACAMOLE_HOOKS_TIMEOUT_SECONDS) must be 1 to 20",
    ],
    [
      "a zone with a space",
      `${MINIMAL}[tags]\nzone = "rack 1"`,
      "'tags.zone' (GUACAMOLE_TAGS_ZONE) must be 1 to 60 letters, digits, dots, dashes or underscores",
    ],
    [
      "a word for a flag",
      `${MINIMAL}[tags]\nno-failover = "yes"`,
      "line 4: 'tags.no-failover' must be true or false, but is a string",
    ],
    ["a value for a section", `api = 5\n${MINIMAL}`, "line 1: 'api' is a section"],
    ["a key twice", `name = "m1"\nname = "m2"\n`, "line 2"],
    ["no TOML", "name = m1\n", "line 1, column 8"],
    [
      "a bad name",
      `name = "M 1"\n${MINIMAL}`,
      "'name' (GUACAMOLE_NAME) is not good: 'M 1' is not a member name",
    ],
    ["init = auto", `init = "auto"\n${MINIMAL}`, 'cannot be "auto" in this version'],
    ["another init", `init = "later"\n${MINIMAL}`, 'must be "manual"'],
    ["no data directory", "", "'postgres.data-dir' (GUACAMOLE_POSTGRES_DATA_DIR) is needed"],
    [
      "a relative path",
      `data-dir = "data"\n${MINIMAL}`,
      "'data-dir' (GUACAMOLE_DATA_DIR) must be an absolute path",
    ],
    [
      "PostgreSQL's directory around ours",
      'data-dir = "/data/g"\n[postgres]\ndata-dir = "/data"',
      "must not hold the member's own data-dir",
    ],
    [
      "no port",
      `${MINIMAL}[api]\nlisten = "0.0.0.0"`,
      "'api.listen' (GUACAMOLE_API_LISTEN) must be host:port",
    ],
    ["a port that is none", `${MINIMAL}[api]\nlisten = "0.0.0.0:70000"`, "must be host:port"],
    [
      "an advertised wildcard",
      `${MINIMAL}[api]\nadvertise = "0.0.0.0:8008"`,
      "must be an address that others can connect to",
    ],
    [
      "one port twice",
      `${MINIMAL}[api]\nlisten = "127.0.0.1:8009"`,
      "'peer.listen' (GUACAMOLE_PEER_LISTEN) uses port 8009, which 'api.listen' has already",
    ],
    ["root", `${MINIMAL}user = "root"`, "cannot be root"],
    [
      "a syslog daemon that is nowhere",
      `${MINIMAL}[audit]\nsyslog = "/dev/log"`,
      "'audit.syslog' (GUACAMOLE_AUDIT_SYSLOG) must say where the daemon listens, for instance unix:/dev/log",
    ],
    [
      "a facility of others",
      `${MINIMAL}[audit]\nsyslog = "unix:/dev/log"\nsyslog-facility = "kern"`,
      "'audit.syslog-facility' (GUACAMOLE_AUDIT_SYSLOG_FACILITY) must be one of user, daemon",
    ],
    [
      "an authority where nothing is encrypted",
      `${MINIMAL}[audit]\nsyslog = "udp://10.0.0.9"\nsyslog-ca-file = "/ca.pem"`,
      "is for 'audit.syslog' over tls:// only",
    ],
  ];
  test.each(cases)("%s is named", (_name, text, sentence) => {
    const problems = refuse(text);
    expect(problems.join("\n")).toContain(sentence);
    expect(problems).toHaveLength(1);
  });

  test("is told everything at once", () => {
    expect(refuse('nmae = "m1"\ninit = "auto"\n[tags]\nwitness = 1\n')).toHaveLength(4);
  });

  test("a variable of a wrong type is named", () => {
    expect(refuse(MINIMAL, { GUACAMOLE_TAGS_WITNESS: "maybe" })).toEqual([
      "the environment variable GUACAMOLE_TAGS_WITNESS must be true or false",
    ]);
  });

  test("a host with loopback only must say what to advertise, a host without a good name its name", () => {
    const problems = refuse(MINIMAL, {}, { hostName: "7up", firstAddress: null });
    expect(problems.map((each) => each.split(" ")[0])).toEqual([
      "'api.advertise'",
      "'peer.advertise'",
      "'postgres.advertise'",
      "'name'",
    ]);
  });
});

test("the data directory alone is read without the rest being right", () => {
  expect(readDataDir('data-dir = "/x"\ninit = "auto"', {})).toEqual({ ok: true, value: "/x" });
  expect(readDataDir("", { GUACAMOLE_DATA_DIR: "/y" })).toEqual({ ok: true, value: "/y" });
  expect(readDataDir("data-dir = 5", {}).ok).toBe(false);
});

test("host and port", () => {
  expect(parseHostPort("[::1]:8008")).toEqual({ host: "::1", port: 8008 });
  for (const bad of ["", ":8008", "host", "host:", "host:0", "host:65536", "a b:1", "-x:1", "http://x:1"]) {
    expect(parseHostPort(bad)).toBeNull();
  }
});

test("the line of a key", () => {
  expect(findKeyLine(FULL, "postgres.user")).toBe(21);
  expect(findKeyLine(FULL, "tags.no-failover")).toBe(28);
  expect(findKeyLine(FULL, "nothing")).toBeNull();
});

test("the nearest word, if it is near", () => {
  expect(nearest("adress", ["address", "name"])).toBe("address");
  expect(nearest("colour", ["address", "name"])).toBeNull();
});

test("an API's own certificate needs both of its files, and where they are", () => {
  expect(accept(MINIMAL).apiCertificate).toBeNull();
  const env = { GUACAMOLE_API_CERTIFICATE_FILE: "/c", GUACAMOLE_API_KEY_FILE: "/k" };
  expect(accept(MINIMAL, env).apiCertificate).toEqual({ certificateFile: "/c", keyFile: "/k" });
  expect(refuse(`[api]\ncertificate-file = "/c"\n${MINIMAL}`).join()).toContain("'api.key-file'");
  expect(refuse(`[api]\nkey-file = "/k"\n${MINIMAL}`).join()).toContain("'api.certificate-file'");
  expect(refuse(MINIMAL, { ...env, GUACAMOLE_API_KEY_FILE: "k" }).join()).toContain("absolute path");
});
