import { describe, expect, test } from "bun:test";
import { nameOf, scopesOf } from "../../../src/api/claim-scopes.ts";
import { keysStep } from "../../../src/api/issuer-keys.ts";
import { IDENTITY_DEFAULTS, type IdentityProvider } from "../../../src/cluster/identity.ts";

const providerOf = (
  claim: string,
  value: string,
  over: Partial<IdentityProvider> = {},
): IdentityProvider => ({
  ...IDENTITY_DEFAULTS,
  name: "corp",
  issuer: "https://id.example.org",
  audiences: ["guacamole"],
  scopes: [{ claim, value, scope: "operator" }],
  ...over,
});

describe("claims as scopes", () => {
  const cases: readonly (readonly [string, string, string, object, boolean])[] = [
    ["one of a list", "groups", "dba", { groups: ["x", "dba"] }, true],
    ["a text", "team", "dba", { team: "dba" }, true],
    ["not a part of a text", "team", "dba", { team: "dba x" }, false],
    ["one of the words of scope", "scope", "guacamole:operate", { scope: "openid guacamole:operate" }, true],
    ["along a path", "realm_access.roles", "dba", { realm_access: { roles: ["dba"] } }, true],
    ["a name with dots before a path", "a.b", "x", { "a.b": "x", a: { b: "y" } }, true],
    [
      "a name that is a URL",
      "https://x.example/groups",
      "dba",
      { "https://x.example/groups": ["dba"] },
      true,
    ],
    ["no number that looks the same", "level", "1", { level: 1 }, false],
    ["nothing of the language's own", "constructor.name", "Object", {}, false],
    ["no path into a list", "groups.0", "dba", { groups: ["dba"] }, false],
    ["an address that is verified", "email", "a@b.c", { email: "a@b.c", email_verified: true }, true],
    ["no address that is not", "email", "a@b.c", { email: "a@b.c" }, false],
    ["no address that is said to be", "email", "a@b.c", { email: "a@b.c", email_verified: "true" }, false],
  ];
  test.each(cases)("%s", (_what, claim, value, claims, isIn) => {
    expect(scopesOf(providerOf(claim, value), { ...claims })).toEqual(isIn ? ["operator"] : []);
  });

  test("a name is what can be printed in a line, and nothing endless", () => {
    const named = providerOf("x", "y", { nameClaim: "name" });
    expect(nameOf(named, { name: "Ann" })).toBe("Ann");
    expect(nameOf(named, { name: "x".repeat(500) })?.length).toBe(100);
    for (const name of ["", "a\nb", "a\u202eb", 7, null]) expect(nameOf(named, { name })).toBeNull();
    expect(nameOf(providerOf("x", "y"), { name: "Ann" })).toBeNull();
  });
});

describe("when keys are fetched", () => {
  const cases: readonly (readonly [
    string,
    number | null,
    number | null,
    boolean,
    "fetch" | "use" | "none",
  ])[] = [
    ["never tried", null, null, false, "fetch"],
    ["tried a moment ago, in vain", null, 980_000, false, "none"],
    ["tried half a minute ago, in vain", null, 970_000, false, "fetch"],
    ["fresh, and the key is known", 500_000, 500_000, true, "use"],
    ["fresh, and the key is not known", 980_000, 980_000, false, "use"],
    ["not asked for half a minute, and the key is not known", 500_000, 500_000, false, "fetch"],
    ["ten minutes old", 400_000, 400_000, true, "fetch"],
    ["ten minutes old, and tried since in vain", 400_000, 980_000, true, "use"],
  ];
  test.each(cases)("%s", (_what, fetchedAtMs, triedAtMs, isKnown, step) => {
    expect(keysStep({ fetchedAtMs, triedAtMs }, isKnown, 1_000_000)).toBe(step);
  });

  test("a day old, and tried since in vain: they count no more", () => {
    const age = { fetchedAtMs: 0, triedAtMs: 86_400_000 };
    expect(keysStep(age, true, 86_400_000)).toBe("none");
  });
});
