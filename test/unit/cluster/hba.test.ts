/** `pg_hba.conf` as values: what is read, what is refused, what is written, which rule is met, which never is. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { formatIpNetwork, parseIpNetwork, prefixOfMask } from "../../../src/base/ip-network.ts";
import { covers, lintRules } from "../../../src/cluster/hba-lint.ts";
import { type Attempt, meetRule } from "../../../src/cluster/hba-match.ts";
import { DEFAULT_RULES, OWN_RULES, REPLICATION_ROLE } from "../../../src/cluster/hba-own.ts";
import { checkRule, HBA_TYPES, type HbaRule } from "../../../src/cluster/hba-rule.ts";
import {
  parseHba,
  parseIdent,
  renderHbaText,
  renderIdentLine,
  renderRuleLine,
} from "../../../src/cluster/hba-text.ts";
import { HBA_FILES } from "../../support/hba-files.ts";

function read(text: string): readonly HbaRule[] {
  const parsed = parseHba(text);
  if (!parsed.ok) throw new Error(parsed.error.map(({ line, message }) => `${line}: ${message}`).join("\n"));
  return parsed.value;
}

function faultsOf(text: string): readonly string[] {
  const parsed = parseHba(text);
  return parsed.ok ? [] : parsed.error.map(({ line, message }) => `${line}: ${message}`);
}

describe("files as people have them", () => {
  test.each(Object.entries(HBA_FILES))("%s: what is written reads the same", (_name, text) => {
    const rules = read(text);
    expect(rules.length).toBeGreaterThan(0);
    expect(read(renderHbaText(rules))).toEqual(rules);
    expect(renderHbaText(read(renderHbaText(rules)))).toBe(renderHbaText(rules));
  });

  test("netmasks become prefixes", () => {
    expect(read(HBA_FILES["netmasks"] ?? "").map(({ address }) => address)).toEqual([
      "192.168.12.10/32",
      "192.168.0.0/16",
      "fe80::/64",
    ]);
  });

  test("quotes take the meaning of a keyword away, and stay only where they mean something", () => {
    expect(read(HBA_FILES["quoting"] ?? "")).toMatchObject([
      { databases: ['"all"', '"replication"'], users: ['"all"'] },
      { databases: ['"My Database"', '"say ""hi"""'], users: ['"Anna #1"'], address: "host.example.org" },
      { databases: ["db-1", "db-2", "db-3"], users: ["app"], address: "10.0.0.0/8" },
    ]);
    expect(read('host "sales" "+x","y" all md5')).toMatchObject([
      { databases: ["sales"], users: ['"+x"', "y"] },
    ]);
  });

  test("a line that ends in a backslash goes on, in a comment too", () => {
    expect(read(HBA_FILES["continued"] ?? "")).toEqual([
      {
        type: "host",
        databases: ["accounts", "billing", "reporting"],
        users: ["reader", "writer"],
        address: "10.9.8.0/24",
        method: "scram-sha-256",
        comment: "read by the whole team",
      },
    ]);
  });

  test("comments belong to the rule that follows, or in whose line they stand", () => {
    const [first, second] = read("# one\n#\n# two\nlocal all all peer # three\nlocal all x peer");
    expect(first?.comment).toBe("one\n\ntwo\nthree");
    expect(second?.comment).toBeUndefined();
    expect(read("# a\\ \nlocal all all peer")).toHaveLength(1);
    expect(read(renderHbaText([{ ...(second ?? fail()), comment: "ends in \\" }]))).toHaveLength(1);
  });

  test("for whom a rule is stands in a comment that is kept", () => {
    const rules = read(
      "# reports\n# guacamole: roles=standby members=m2,m1\nhost all reports all scram-sha-256",
    );
    expect(rules).toMatchObject([{ comment: "reports", roles: ["standby"], members: ["m1", "m2"] }]);
    expect(read(renderHbaText(rules))).toEqual(rules);
    expect(faultsOf("# guacamole: role=standby\nlocal all all peer")).toHaveLength(1);
  });
});

function fail(): never {
  throw new Error("there is no such rule");
}

describe("what is refused", () => {
  test.each([
    ["host all all 10.0.0.0/8", "1: the line ends before the method"],
    ["host all all 10.0.0.0 md5", "1: '10.0.0.0' needs a prefix"],
    ["host all all 10.0.0.0 255.0.255.0 md5", "1: '10.0.0.0' needs a prefix"],
    ["host all all 10.0.0.0/33 md5", "1: '10.0.0.0/33' has a prefix that is not between 0 and 32"],
    ["host all all 10.1 md5", "1: '10.1' is no address"],
    ["hsot all all all md5", "1: 'hsot' is no type of connection"],
    ["\nlocal all all md6", "2: 'md6' is no authentication method"],
    ["local all all all md5", "1: 'md5' is no option: name=value is wanted"],
    ["host @admins all all md5", "1: databases: '@admins' names another file"],
    ["include more.conf", "1: 'include' names another file"],
    ["include_dir conf.d", "1: 'include_dir' names another file"],
    ["host all all all peer", "1: 'peer' works on the Unix socket only"],
    ["host all all all cert", "1: 'cert' needs type hostssl"],
    ["host all all all md5 map=x", "1: 'map' is no option of 'md5' on 'host'"],
    ["host all all all ident map=x map=y", "1: the option map is given twice"],
    ['host "all all all md5', "1: a double quote is not closed"],
    ["host all all a,b md5", "1: a rule has one address"],
  ])("%s", (text, message) => {
    expect(faultsOf(text)).toHaveLength(1);
    expect(faultsOf(text)[0]).toStartWith(message);
  });

  test("each line that is wrong is named", () => {
    expect(faultsOf("local all\nlocal all all peer\nfoo").map((each) => each.slice(0, 2))).toEqual([
      "1:",
      "3:",
    ]);
  });
});

const name = fc.oneof(
  fc.constantFrom(
    "all",
    '"all"',
    "app",
    "+ops",
    '"+ops"',
    "/^x_.*$",
    '"a b"',
    '"with ""quotes"""',
    '"#1"',
    "ünïcode",
    '"@file"',
  ),
);
const anyRule: fc.Arbitrary<HbaRule> = fc
  .record({
    name: fc.option(fc.stringMatching(/^[a-z][a-z0-9_.-]{0,10}$/), { nil: undefined }),
    type: fc.constantFrom(...HBA_TYPES),
    databases: fc.uniqueArray(fc.oneof(name, fc.constantFrom("sameuser", "samerole", "replication")), {
      minLength: 1,
      maxLength: 4,
    }),
    users: fc.uniqueArray(name, { minLength: 1, maxLength: 4 }),
    address: fc.oneof(
      fc.constantFrom("all", "samehost", "samenet", "db.example.com", ".example.com"),
      fc.tuple(fc.ipV4(), fc.nat(32)).map(([ip, bits]) => `${ip}/${bits}`),
      fc.tuple(fc.ipV6(), fc.nat(128)).map(([ip, bits]) => `${ip}/${bits}`),
    ),
    method: fc.constantFrom("trust", "reject", "scram-sha-256", "ldap"),
    comment: fc.option(fc.string({ maxLength: 60 }), { nil: undefined }),
    ldapsuffix: fc.string({ maxLength: 20 }),
    roles: fc.option(fc.constantFrom(["primary" as const], ["standby" as const]), { nil: undefined }),
  })
  .map(({ name: called, type, address, method, comment, ldapsuffix, roles, ...rest }) => ({
    ...(called === undefined ? {} : { name: called }),
    ...rest,
    type,
    method,
    ...(type === "local" ? {} : { address }),
    ...(method === "ldap" ? { options: { ldapserver: "x", ldapsuffix } } : {}),
    ...(comment === undefined ? {} : { comment }),
    ...(roles === undefined ? {} : { roles }),
  }));

test("any rules that are taken are read as they were written", () => {
  fc.assert(
    fc.property(fc.array(anyRule, { maxLength: 6 }), (wished) => {
      const rules = wished.flatMap((rule) => {
        const checked = checkRule(rule);
        return checked.ok ? [checked.value] : [];
      });
      expect(read(renderHbaText(rules))).toEqual([...rules]);
    }),
  );
});

test("a rule that is never met is found as by comparing it with each one before", () => {
  fc.assert(
    fc.property(fc.array(anyRule, { maxLength: 12 }), (wished) => {
      const rules = wished.flatMap((rule) => {
        const checked = checkRule(rule);
        return checked.ok ? [checked.value] : [];
      });
      const never = rules.flatMap((rule, index) => {
        const isCovered = [...OWN_RULES, ...rules.slice(0, index)].some((earlier) => covers(earlier, rule));
        return isCovered ? [index + 1] : [];
      });
      const found = lintRules(rules, null).filter(({ code }) => code === "shadowed" || code === "duplicate");
      expect(found.map(({ rule }) => rule)).toEqual(never);
    }),
  );
});

describe("addresses", () => {
  test.each([
    ["::1", "::1/128"],
    ["::", "::/128"],
    ["2001:db8:0:0:1:0:0:1/64", "2001:db8::/64"],
    ["2001:db8::1:0:0:1", "2001:db8::1:0:0:1/128"],
    ["::ffff:10.0.0.1", "::ffff:a00:1/128"],
    ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8/128"],
    ["10.1.2.3/8", "10.0.0.0/8"],
    ["0.0.0.0/0", "0.0.0.0/0"],
  ])("%s is %s", (text, shown) => {
    const parsed = parseIpNetwork(text);
    expect(parsed.ok && formatIpNetwork(parsed.value)).toBe(shown);
  });

  test.each([
    "1::2::3",
    "1:2:3",
    "10.0.0",
    "010.0.0.1",
    "256.1.1.1",
    "10.0.0.0/08",
    "fe80::1%eth0",
    "1:2:3:4:5:6:7:8:9",
  ])("%s is none", (text) => expect(parseIpNetwork(text).ok).toBe(false));

  test("masks with holes are none", () => {
    expect(prefixOfMask("255.255.0.0")?.prefixLength).toBe(16);
    expect(prefixOfMask("255.0.255.0")).toBeNull();
  });
});

describe("the rule that a connection meets", () => {
  const attempt = (changes: Partial<Attempt> = {}): Attempt => ({
    user: "app",
    database: "sales",
    isReplication: false,
    network: { address: "10.0.0.7", encryption: "none" },
    ...changes,
  });
  const met = (
    text: string,
    changes: Partial<Attempt> = {},
    memberOf: readonly string[] | null = null,
    major = 15,
  ) => meetRule(read(text), attempt(changes), { major, memberOf });
  const overSsl = { network: { address: "10.0.0.7", encryption: "ssl" as const } };

  test("the first that fits, and none means no", () => {
    expect(met("host all bert all md5\nhost sales app 10.0.0.0/8 md5\nhost all all all trust").index).toBe(1);
    expect(met("host all app 10.1.0.0/16 md5\nhost all all ::/0 md5\nlocal all all md5")).toEqual({
      index: null,
      open: [],
    });
    expect(met("host all all all md5\nlocal all all peer", { network: null }).index).toBe(1);
  });

  test("types ask for encryption or for none", () => {
    const text = "hostssl all all all cert\nhostgssenc all all all gss\nhostnossl all all all reject";
    expect(met(text).index).toBe(2);
    expect(met(text, overSsl).index).toBe(0);
    expect(met(text, { network: { address: "10.0.0.7", encryption: "gss" } }).index).toBe(1);
    expect(met("hostnogssenc all all all md5", overSsl).index).toBe(0);
  });

  test("replication is met by its keyword only, and by no database of that name", () => {
    const text = 'host all all all md5\nhost "replication" all all md5\nhost replication all all md5';
    expect(met(text, { isReplication: true }).index).toBe(2);
    expect(met(text, { database: "replication" }).index).toBe(0);
    expect(met("host replication all all md5", { database: "replication" }).index).toBeNull();
    expect(met('host "replication" all all md5', { database: "replication" }).index).toBe(0);
  });

  test("sameuser, samerole and +role", () => {
    expect(met("host sameuser all all md5").index).toBeNull();
    expect(met("host sameuser all all md5", { database: "app" }).index).toBe(0);
    expect(met("host samerole all all md5", {}, ["sales"]).index).toBe(0);
    expect(met("host samerole all all md5", {}, []).index).toBeNull();
    expect(met("host all +ops all md5", {}, ["ops"]).index).toBe(0);
    expect(met("host all +app all md5").index).toBe(0);
    expect(met('host all "+ops" all md5', {}, ["ops"]).index).toBeNull();
  });

  test("what only the server knows is said", () => {
    expect(met("host all +ops all reject\nhost all all db.example.com md5\nhost all all all md5")).toEqual({
      index: 2,
      open: [
        { index: 0, unknown: "whether app is a member of the role ops" },
        { index: 1, unknown: "whether 10.0.0.7 is called 'db.example.com', forwards and backwards" },
      ],
    });
    expect(met("host other +ops all reject\nhost all all all md5").open).toEqual([]);
  });

  test("regular expressions from 16 on; before, a name", () => {
    expect(met("host all /^a.p$ all md5", {}, null, 16).index).toBe(0);
    expect(met("host all /^a.p$ all md5", {}, null, 15).index).toBeNull();
    expect(met("host all /(?i)APP all md5", {}, null, 17).open).toHaveLength(1);
    expect(
      meetRule(read("host all /^a all md5"), attempt(), { major: null, memberOf: null }).open,
    ).toHaveLength(1);
  });
});

describe("guacamole's own rules", () => {
  test("are valid, and so are those that apply where nobody said anything", () => {
    for (const rule of [...OWN_RULES, ...DEFAULT_RULES]) expect(checkRule(rule)).toMatchObject({ ok: true });
    expect(lintRules(DEFAULT_RULES, 15)).toEqual([]);
  });

  test("let members in by certificate, whatever follows", () => {
    const rules = [
      ...OWN_RULES,
      ...read("host all all all reject\nlocal all all reject\nhost replication all all trust"),
    ];
    const meets = (changes: Partial<Attempt>) => {
      const attempt = { user: "x", database: "x", isReplication: false, network: null, ...changes };
      const { index } = meetRule(rules, attempt, { major: 15, memberOf: [] });
      return index === null ? null : rules[index]?.method;
    };
    const network = { address: "10.0.0.1", encryption: "ssl" as const };
    expect(meets({ user: "postgres" })).toBe("peer");
    expect(meets({ user: REPLICATION_ROLE, isReplication: true, network })).toBe("cert");
    expect(meets({ user: REPLICATION_ROLE, database: "postgres", network })).toBe("cert");
    expect(
      meets({ user: REPLICATION_ROLE, isReplication: true, network: { ...network, encryption: "none" } }),
    ).toBe("reject");
    expect(meets({ user: REPLICATION_ROLE, database: "sales", network })).toBe("reject");
    expect(meets({ user: REPLICATION_ROLE, isReplication: true })).toBe("reject");
  });
});

describe("what is hardly meant", () => {
  const codes = (text: string, major: number | null = 15) =>
    lintRules(read(text), major).map(({ rule, code }) => `${rule} ${code}`);

  test.each([
    ["host all all all md5\nhost sales app 10.0.0.0/8 reject", ["2 shadowed"]],
    ["host sales app 10.0.0.0/8 md5\nhost sales app 10.0.0.0/8 reject", ["2 duplicate"]],
    ["host all all 10.0.0.0/8 md5\nhost all all 10.1.0.0/16 reject", ["2 shadowed"]],
    ["host all all 10.1.0.0/16 md5\nhost all all 10.0.0.0/8 reject", []],
    ["host all all all md5\nhost replication all all md5", []],
    ["hostssl all all all md5\nhost all all all md5", []],
    ["host all all all md5\nhostssl all all all md5", ["2 shadowed"]],
    ["host all all 0.0.0.0/0 md5\nhost all all ::1/128 md5", []],
    ["# guacamole: roles=standby\nhost all all all md5\nhost all all all md5", []],
    ["host all all all md5\n# guacamole: roles=standby\nhost all all all md5", ["2 shadowed"]],
    ["# guacamole: members=m1\nhost all all all md5\nhost all all all md5", []],
    ["local all postgres trust", ["1 shadowed"]],
    ["host all all all trust", ["1 trust"]],
    ["host all all all password", ["1 password-in-clear"]],
    ["hostssl all all all password", []],
    ["host all all .example.com md5\nhost all all db.example.com md5", ["2 shadowed"]],
    ["host all /^a all md5", ["1 regular-expression"]],
  ])("%s", (text, expected) => expect(codes(text)).toEqual(expected));

  test("with PostgreSQL 16 regular expressions are what they look like", () => {
    expect(codes("host all /^a all md5", 16)).toEqual([]);
  });
});

describe("maps", () => {
  test("are read and written", () => {
    const maps = parseIdent(
      '# people\nomicron  bryanh  bryanh\nkrb "/^(.*)@EXAMPLE\\.COM$" \\1\nx "a b" "all"\n',
    );
    if (!maps.ok) throw new Error("they are well formed");
    expect(maps.value).toEqual([
      { map: "omicron", systemUser: "bryanh", databaseUser: "bryanh" },
      { map: "krb", systemUser: "/^(.*)@EXAMPLE\\.COM$", databaseUser: "\\1" },
      { map: "x", systemUser: '"a b"', databaseUser: '"all"' },
    ]);
    expect(parseIdent(maps.value.map(renderIdentLine).join("\n"))).toEqual(maps);
  });

  test.each([
    "guacamole me postgres",
    '"guacamole_members" me postgres',
    "a b",
    "a b c d",
    "@x b c",
    "a,b c d",
  ])("%s is refused", (text) => expect(parseIdent(text).ok).toBe(false));
});

test("a line has what PostgreSQL reads, and nothing else", () => {
  const [rule] = read(
    '# c\n# guacamole: roles=primary\nhost a,b c 10.0.0.0/8 ldap ldapserver=x "ldapsuffix=, x"',
  );
  expect(renderRuleLine(rule ?? fail()).split(/\s{2,}/)).toEqual([
    "host",
    "a,b",
    "c",
    "10.0.0.0/8",
    "ldap",
    "ldapserver=x",
    '"ldapsuffix=, x"',
  ]);
});
