import { describe, expect, test } from "bun:test";
import type { HbaDocument } from "../../../src/api/access-documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import { ok } from "../../../src/base/result.ts";
import type { ClusterSpec } from "../../../src/cluster/spec.ts";
import { type Fake, living as livingAt, read, request, SECRET, VIEWER } from "./fixture.ts";

const ACCESS = `gcm_access-1_${SECRET}`;
const ALL = "/v1/access/hba";
const PATH = `${ALL}/rules`;

const rule = (user: string, name?: string) => ({
  type: "host",
  databases: ["sales"],
  users: [user],
  address: "10.0.0.0/8",
  method: "scram-sha-256",
  ...(name === undefined ? {} : { name }),
});

const ask = (
  fake: Fake,
  method: string,
  path: string,
  body: unknown = undefined,
  headers: Readonly<Record<string, string>> = {},
  token = ACCESS,
) => request(fake, method, path, body, headers, token);

/** With rules for a, b and c; that of b is called bee. */
async function living(): Promise<Fake> {
  const fake = livingAt({ featureLevel: 4 });
  await ask(fake, "PUT", ALL, { rules: [rule("a"), rule("b", "bee"), rule("c")] });
  fake.commands.length = 0;
  return fake;
}

const usersIn = ({ spec }: { readonly spec: ClusterSpec }) =>
  (spec.access?.hba ?? []).map(({ users }) => users[0]).join("");
const users = (fake: Fake) => (fake.state === null ? "" : usersIn(fake.state));
const problem = async (response: Response) => {
  const { status, code, detail } = await read<ProblemDocument>(response);
  return [status, code, detail] as const;
};

/** Somebody else adds a rule in front, each time before one of these commands is applied. */
function overtaking(fake: Fake, times: number): void {
  let left = times;
  fake.beforeApply = async () => {
    if (left === 0 || fake.state === null) return;
    left -= 1;
    const { state } = fake;
    const hba = [{ ...rule(`x${left}`), type: "host" as const }, ...(state.spec.access?.hba ?? [])];
    const generation = (state.generation + 1) as typeof state.generation;
    fake.state = { ...state, generation, spec: { ...state.spec, access: { revision: generation, hba } } };
  };
}

describe("single rules for connections", () => {
  test("are added, changed, moved and removed by name or number; maps stay", async () => {
    const fake = await living();
    await ask(fake, "PUT", ALL, { identText: "krb a b" });
    const added = await ask(fake, "POST", PATH, { ...rule("d", "dee"), before: "bee" });
    expect(added.status).toBe(201);
    const hba = await read<HbaDocument>(added);
    expect(added.headers.get("etag")).toBe(`"${hba.generation}"`);
    expect(hba.rules.map(({ number, name, users: [user] }) => [number, name, user])).toEqual([
      [1, undefined, "a"],
      [2, "dee", "d"],
      [3, "bee", "b"],
      [4, undefined, "c"],
    ]);
    expect(hba.tried).toHaveLength(3);
    await ask(fake, "POST", PATH, rule("e"));
    expect(users(fake)).toBe("adbce");
    await ask(fake, "PATCH", `${PATH}/dee`, { after: 5 });
    expect(users(fake)).toBe("abced");
    const changed = await ask(fake, "PATCH", `${PATH}/5`, {
      users: ["f"],
      name: null,
      comment: "why",
      roles: ["standby"],
      at: 1,
    });
    expect(changed.status).toBe(200);
    expect(fake.state?.spec.access?.hba[0]).toEqual({
      ...rule("f"),
      type: "host",
      comment: "why",
      roles: ["standby"],
    });
    await ask(fake, "DELETE", `${PATH}/bee`);
    await ask(fake, "DELETE", `${PATH}/1`);
    expect(users(fake)).toBe("ace");
    expect(fake.state?.spec.access?.identMaps).toHaveLength(1);
    const shown = await read<{ rule: { text: string } }>(await ask(fake, "GET", `${PATH}/3`));
    expect(shown.rule.text).toContain("sales");
    expect(shown.rule).toMatchObject({ number: 3, users: ["e"] });
  });

  test("begin from what applies where nobody says anything", async () => {
    const fake = livingAt({ featureLevel: 4 });
    await ask(fake, "POST", PATH, { ...rule("a"), at: 1 });
    expect(fake.state?.spec.access?.hba.map(({ method }) => method)).toEqual([
      "scram-sha-256",
      "scram-sha-256",
      "reject",
      "scram-sha-256",
    ]);
  });

  test("are warned about and tried as the whole list is", async () => {
    const fake = await living();
    const shadowed = await read<HbaDocument>(await ask(fake, "POST", PATH, rule("a")));
    expect(shadowed.warnings).toMatchObject([{ rule: 4, code: "duplicate" }]);
    fake.tryAccess = (_memberId, lines) => {
      const line = lines.hba.at(-1) ?? "";
      return ok({ kind: "bad", version: "15.18", faults: [{ line, message: "no", value: null }] } as never);
    };
    const before = users(fake);
    expect((await problem(await ask(fake, "POST", PATH, rule("z")))).slice(0, 2)).toEqual([
      422,
      "hba-refused",
    ]);
    expect(users(fake)).toBe(before);
  });

  test("that are not there, places that are not, and what is no rule are refused, and nothing is changed", async () => {
    const fake = await living();
    const of = async (...args: readonly [string, string, unknown?, Record<string, string>?]) =>
      (await problem(await ask(fake, ...args))).slice(0, 2);
    expect(await of("DELETE", `${PATH}/4`)).toEqual([404, "rule-unknown"]);
    expect(await of("PATCH", `${PATH}/nobody`, { comment: "x" })).toEqual([404, "rule-unknown"]);
    expect(await of("GET", `${PATH}/nobody`)).toEqual([404, "rule-unknown"]);
    const invalid = [422, "invalid-request"];
    expect(await of("DELETE", `${PATH}/0`)).toEqual(invalid);
    expect(await of("DELETE", `${PATH}/UPPER`)).toEqual(invalid);
    expect(await of("POST", PATH, { ...rule("d"), at: 5 })).toEqual(invalid);
    expect(await of("POST", PATH, { ...rule("d"), before: "nobody" })).toEqual(invalid);
    expect(await of("POST", PATH, { ...rule("d"), before: 1, after: 2 })).toEqual(invalid);
    expect(await of("POST", PATH, { ...rule("d"), name: "7up" })).toEqual(invalid);
    expect(await of("POST", PATH, rule("d", "bee"))).toEqual(invalid);
    expect(await of("POST", PATH, { ...rule("d"), method: "hope" })).toEqual(invalid);
    expect(await of("PATCH", `${PATH}/1`, {})).toEqual(invalid);
    expect(await of("PATCH", `${PATH}/1`, { databases: null })).toEqual(invalid);
    expect(await of("PATCH", `${PATH}/1`, { weather: "fine" })).toEqual(invalid);
    expect(await of("PATCH", `${PATH}/1`, { members: ["m9"] })).toEqual(invalid);
    expect(await of("DELETE", `${PATH}/1`, undefined, { "if-match": '"1"' })).toEqual([
      412,
      "stale-generation",
    ]);
    expect(fake.commands).toEqual([]);
    expect((await ask(fake, "DELETE", `${PATH}/1`, undefined, {}, VIEWER)).status).toBe(403);
  });

  test("of a dry run are tried, and nothing is changed", async () => {
    const fake = await living();
    const dry = await ask(fake, "POST", `${PATH}?dryRun=true`, rule("d"));
    expect(dry.status).toBe(200);
    const hba = await read<HbaDocument>(dry);
    expect(hba.rules).toHaveLength(4);
    expect(hba.tried).toHaveLength(3);
    expect(users(fake)).toBe("abc");
  });

  test("keep secrets that are not named, and take no mask for one", async () => {
    const fake = await living();
    const options = { ldapserver: "x", ldapbasedn: "y", ldapbindpasswd: "hush" };
    await ask(fake, "POST", PATH, { ...rule("d", "dee"), method: "ldap", options });
    await ask(fake, "PATCH", `${PATH}/dee`, { comment: "x" });
    expect(fake.state?.spec.access?.hba[3]?.options).toEqual(options);
    const seen = await (await ask(fake, "GET", `${PATH}/dee`, undefined, {}, VIEWER)).text();
    expect(seen).not.toContain("hush");
    const masked = { options: { ...options, ldapbindpasswd: "***" } };
    expect((await ask(fake, "PATCH", `${PATH}/dee`, masked)).status).toBe(422);
  });
});

describe("where somebody else is faster", () => {
  test("a change is made again for the rule that was meant, and never for another", async () => {
    const fake = await living();
    overtaking(fake, 3);
    expect((await ask(fake, "DELETE", `${PATH}/3`)).status).toBe(200);
    expect(usersIn(fake.state as never)).toBe("x0x1x2ab");
    overtaking(fake, 1);
    expect((await ask(fake, "POST", PATH, { ...rule("d"), before: "bee" })).status).toBe(201);
    expect(users(fake)).toBe("x0x0x1x2adb");
  });

  test("and took the rule itself away, it is told", async () => {
    const fake = await living();
    fake.beforeApply = async () => {
      const { state } = fake;
      if (state === null || (state.spec.access?.hba.length ?? 0) < 3) return;
      const access = { revision: 9, hba: (state.spec.access?.hba ?? []).slice(0, 2) };
      fake.state = { ...state, generation: 9 as never, spec: { ...state.spec, access } };
    };
    expect((await problem(await ask(fake, "DELETE", `${PATH}/3`))).slice(0, 2)).toEqual([409, "stale-rule"]);
    expect(users(fake)).toBe("ab");
  });

  test("who named a version is refused", async () => {
    const fake = await living();
    overtaking(fake, 1);
    const match = { "if-match": `"${fake.state?.generation}"` };
    expect((await problem(await ask(fake, "DELETE", `${PATH}/3`, undefined, match)))[0]).toBe(409);
    expect(users(fake)).toBe("x0abc");
  });

  test("a request that is repeated with its key takes effect once", async () => {
    const fake = await living();
    overtaking(fake, 2);
    const key = { "idempotency-key": "once" };
    expect((await ask(fake, "DELETE", `${PATH}/1`, undefined, key)).status).toBe(200);
    expect(users(fake)).toBe("x0x1bc");
    const proposed = fake.commands.length;
    expect((await ask(fake, "DELETE", `${PATH}/1`, undefined, key)).status).toBe(200);
    expect(users(fake)).toBe("x0x1bc");
    expect(fake.commands.length).toBe(proposed);
  });

  test("the rules are not tried again where they are the same", async () => {
    const fake = await living();
    let tries = 0;
    fake.tryAccess = () => {
      tries += 1;
      return ok({ kind: "good", version: "15.18" });
    };
    let left = 4;
    fake.beforeApply = async () => {
      if (left === 0 || fake.state === null) return;
      left -= 1;
      fake.state = { ...fake.state, generation: (fake.state.generation + 1) as never };
    };
    expect((await ask(fake, "POST", PATH, rule("d"))).status).toBe(201);
    expect(tries).toBe(3);
  });
});

test("fifty clients that change different things at once all get what they want", async () => {
  const fake = await living();
  // Each command is applied later than all of its time were made.
  fake.beforeApply = () => new Promise((resolve) => setImmediate(resolve));
  const failover = ["calmMs", "crashLoopMs", "diskStallMs", "restartMsMax"];
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, index) => {
      const key = failover[index];
      if (key !== undefined)
        return request(fake, "PATCH", "/v1/topology", { failover: { [key]: 5_000 + index } });
      if (index % 2 === 0) return ask(fake, "POST", PATH, rule(`u${index}`, `n${index}`));
      return ask(fake, "PUT", `/v1/access/roles/r${index}`, { login: true });
    }),
  );
  expect(answers.map(({ status }) => status).filter((status) => status >= 300)).toEqual([]);
  const { spec } = fake.state ?? {};
  expect(spec?.failover).toMatchObject(
    Object.fromEntries(failover.map((key, index) => [key, 5_000 + index])),
  );
  expect(spec?.access?.hba).toHaveLength(3 + 23);
  expect(Object.keys(spec?.declared?.roles ?? {})).toHaveLength(23);
  const refused = [...fake.outcomes.values()].filter((outcome) => !outcome.ok);
  expect(refused.length).toBeGreaterThan(40);
});
