/** Passwords that overlap, over HTTP. */
import { describe, expect, test } from "bun:test";
import type { ClusterDocument } from "../../../src/api/documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type { RoleDocument, RotatedDocument } from "../../../src/api/role-documents.ts";
import type { SpecDocument } from "../../../src/api/spec-documents.ts";
import { type Fake, living, read, request, SECRET } from "./fixture.ts";

const PATH = "/v1/access/roles";
const ROTATION = `${PATH}/app/rotation`;
const ACCESS = `gcm_access-1_${SECRET}`;
const DAY_MS = 86_400_000;

const wishOf = (fake: Fake, name = "app") => fake.state?.spec.declared?.roles?.[name];
const roleOf = async (fake: Fake) => read<RoleDocument>(await request(fake, "GET", `${PATH}/app`));
const instant = (ms: number) => new Date(ms).toISOString();

/** A clock that the test moves. */
function declaring() {
  const fake = living({ featureLevel: 4 });
  const time = { nowMs: Date.parse("2027-01-01T00:00:00Z") };
  Object.assign(fake.ports, { clock: { ...fake.ports.clock, wallMs: () => time.nowMs } });
  return { fake, time };
}

async function codeOf(answer: Response): Promise<string> {
  return `${answer.status} ${(await read<ProblemDocument>(answer)).code}`;
}

describe("a rotation", () => {
  test("gives another login the new password, and the one before a time", async () => {
    const { fake, time } = declaring();
    await request(fake, "PUT", `${PATH}/app`, { login: true, password: "the-old-one", connectionLimit: 5 });
    const old = wishOf(fake)?.password;
    const answer = await request(fake, "POST", ROTATION, { password: "the-new-one", overlapSeconds: 3_600 });
    expect(answer.status).toBe(200);
    const { login, role, notices } = await read<RotatedDocument>(answer);
    expect({ login, notices }).toEqual({ login: "app_a", notices: [] });
    const until = instant(time.nowMs + 3_600_000);
    const previous = { login: "app", until, state: "overlapping" as const };
    expect(role.logins).toEqual({ newest: "app_a", previous });
    expect(role.wish).toEqual({ state: "present", connectionLimit: 5, rotation: { overlapSeconds: 86_400 } });
    expect(wishOf(fake)?.logins?.selfVerifier).toBe(old ?? "");
    const cluster = await read<ClusterDocument>(await request(fake, "GET", "/v1/cluster"));
    expect(cluster.warnings).toMatchObject([{ code: "passwords-overlap" }]);
    expect(cluster.warnings[0]?.text).toContain(`the one before of app (login app) until ${until}`);
    time.nowMs += 3_600_000;
    expect((await roleOf(fake)).logins?.previous.state).toBe("ended");
    const later = await read<ClusterDocument>(await request(fake, "GET", "/v1/cluster"));
    expect(later.warnings).toEqual([]);
    // The next one by the time that is declared, and back to the first login after it.
    await request(fake, "PATCH", `${PATH}/app`, { rotation: { overlapSeconds: 60 } });
    await request(fake, "POST", ROTATION, { password: "another" });
    expect((await roleOf(fake)).logins).toMatchObject({
      newest: "app_b",
      previous: { login: "app_a", until: instant(time.nowMs + 60_000) },
    });
    expect(wishOf(fake)?.logins).not.toHaveProperty("selfVerifier");
  });

  test("is refused while an overlap goes on, unless the newest password was lost", async () => {
    const { fake } = declaring();
    await request(fake, "PUT", `${PATH}/app`, {});
    await request(fake, "POST", ROTATION, { password: "first" });
    const before = wishOf(fake)?.logins;
    expect(await codeOf(await request(fake, "POST", ROTATION, { password: "second" }))).toBe(
      "409 overlap-goes-on",
    );
    expect(wishOf(fake)?.logins).toEqual(before as NonNullable<typeof before>);
    const again = await request(fake, "POST", ROTATION, { password: "second", replacesNewest: true });
    expect(again.status).toBe(200);
    const after = wishOf(fake)?.logins;
    expect({ ...after, aVerifier: "" }).toEqual({ ...before, aVerifier: "" });
    expect(after?.aVerifier).not.toBe(before?.aVerifier ?? "");
  });

  test("is given more time, and ended; what ended stays so", async () => {
    const { fake, time } = declaring();
    await request(fake, "PUT", `${PATH}/app`, {});
    expect(await codeOf(await request(fake, "PATCH", ROTATION, { overlapSeconds: 1 }))).toBe(
      "409 never-rotated",
    );
    await request(fake, "POST", ROTATION, { password: "first" });
    const more = await request(fake, "PATCH", ROTATION, { overlapSeconds: 7 * 86_400 });
    const { logins } = await read<RoleDocument>(more);
    expect(logins?.previous.until).toBe(instant(time.nowMs + 7 * DAY_MS));
    const ended = await read<RoleDocument>(await request(fake, "PATCH", ROTATION, { overlapSeconds: 0 }));
    expect(ended.logins?.previous.state).toBe("ended");
    expect(await codeOf(await request(fake, "PATCH", ROTATION, { overlapSeconds: 60 }))).toBe(
      "409 overlap-over",
    );
    expect((await request(fake, "DELETE", ROTATION)).status).toBe(200);
    expect(wishOf(fake)).toEqual({ since: 6, isTrusted: true });
    expect(await codeOf(await request(fake, "DELETE", ROTATION))).toBe("409 never-rotated");
  });

  test("nobody is told a password or a verifier, whatever is asked", async () => {
    const { fake } = declaring();
    await request(fake, "PUT", `${PATH}/app`, { password: "word-before" });
    const { generation } = fake.state ?? { generation: 0 };
    const said = [await request(fake, "POST", ROTATION, { password: "word-after" })];
    for (const path of [
      PATH,
      `${PATH}/app`,
      "/v1/spec",
      "/v1/spec/history",
      `/v1/spec/diff?from=${generation}`,
      "/v1/spec/blame",
      "/v1/audit",
    ])
      said.push(await request(fake, "GET", path));
    const texts = await Promise.all(said.map((answer) => answer.text()));
    expect(texts.filter((text) => /word-(before|after)|SCRAM-SHA-256\$/.test(text))).toEqual([]);
    expect(said.filter(({ status }) => status !== 200)).toEqual([]);
    expect(JSON.stringify([fake.commands, fake.state, fake.logged])).not.toMatch(/word-(before|after)/);
  });

  test("stays as it is where all else is declared anew, or again as it was", async () => {
    const { fake } = declaring();
    await request(fake, "PUT", `${PATH}/app`, { createdb: true });
    await request(fake, "POST", ROTATION, { password: "first", overlapSeconds: 0 });
    const logins = () => wishOf(fake)?.logins;
    const before = logins();
    const generation = fake.state?.generation;
    const rotation = { overlapSeconds: 60 };
    await request(fake, "PUT", `${PATH}/app`, { rotation });
    expect(wishOf(fake)).toEqual({ since: 4, isTrusted: true, rotation, logins: before } as never);
    const { spec } = await read<SpecDocument>(await request(fake, "GET", "/v1/spec"));
    expect(spec.declared?.roles).toEqual({ app: { rotation } });
    const sent = await request(fake, "PUT", "/v1/spec", {
      declared: { roles: { app: { rotation, createdb: false } } },
    });
    expect(sent.status).toBe(200);
    expect(logins()).toEqual(before as never);
    await request(fake, "POST", ROTATION, { password: "second" });
    const turned = logins();
    const back = await request(fake, "POST", `/v1/spec/history/${generation}/rollback`);
    expect(back.status).toBe(200);
    expect(wishOf(fake)).toMatchObject({ createdb: true });
    expect(logins()).toEqual(turned as never);
    await request(fake, "PUT", `${PATH}/app`, {});
    expect(logins()).toBeUndefined();
  });

  test("goes with its role", async () => {
    const { fake } = declaring();
    await request(fake, "PUT", `${PATH}/app`, {});
    await request(fake, "POST", ROTATION, { password: "first" });
    await request(fake, "DELETE", `${PATH}/app?drop=true`);
    expect(wishOf(fake)).toMatchObject({ isAbsent: true, logins: { newest: "a" } });
    expect(JSON.stringify(wishOf(fake))).not.toContain("SCRAM");
    expect(await codeOf(await request(fake, "POST", ROTATION, { password: "x" }))).toBe("404 role-unknown");
  });

  test("warns of rules that do not admit its login", async () => {
    const { fake } = declaring();
    const rule = { type: "hostssl", databases: ["sales"], address: "all", method: "scram-sha-256" } as const;
    const access = (users: string[]) => ({ revision: 1, hba: [{ ...rule, users }] });
    const rotate = async (users: string[]) => {
      if (fake.state !== null)
        fake.state = { ...fake.state, spec: { ...fake.state.spec, access: access(users) } };
      const body = { password: "x", overlapSeconds: 0 };
      return (await read<RotatedDocument>(await request(fake, "POST", ROTATION, body))).notices;
    };
    await request(fake, "PUT", `${PATH}/app`, {});
    expect(await rotate(["app"])).toEqual([
      "Rules for connections that name app do not admit app_a: let them name +app.",
    ]);
    expect(await rotate(["app", "+app"])).toEqual([]);
    expect(await rotate(["others"])).toEqual([]);
  });
});

describe("what is refused", () => {
  test.each([
    ["its own login", { login: true }],
    ["its own password", { password: "x" }],
    ["its own end", { validUntil: "2027-01-01T00:00:00Z" }],
    ["replication", { replication: true }],
    ["a time without end", { rotation: { overlapSeconds: 31_536_001 } }],
  ])("%s, once its logins take turns", async (_what, body) => {
    const { fake } = declaring();
    await request(fake, "PUT", `${PATH}/app`, {});
    await request(fake, "POST", ROTATION, { password: "first" });
    const before = fake.state;
    expect((await request(fake, "PATCH", `${PATH}/app`, body)).status).toBe(422);
    expect(fake.state).toBe(before);
  });

  test("a login that is declared for itself, whichever came first, and a name that is too long for one", async () => {
    const { fake } = declaring();
    await request(fake, "PUT", `${PATH}/app`, {});
    await request(fake, "PUT", `${PATH}/app_b`, {});
    expect((await request(fake, "POST", ROTATION, { password: "x" })).status).toBe(422);
    await request(fake, "DELETE", `${PATH}/app_b`);
    expect((await request(fake, "POST", ROTATION, { password: "x" })).status).toBe(200);
    expect((await request(fake, "PUT", `${PATH}/app_b`, {})).status).toBe(422);
    expect(
      (
        await request(fake, "PUT", "/v1/spec", {
          declared: { roles: { app: { rotation: { overlapSeconds: 1 } }, app_a: {} } },
        })
      ).status,
    ).toBe(422);
    const long = "x".repeat(62);
    await request(fake, "PUT", `${PATH}/${long}`, {});
    expect((await request(fake, "POST", `${PATH}/${long}/rotation`, { password: "x" })).status).toBe(422);
  });

  test("a role that only admin may give what it has, to all others", async () => {
    const { fake } = declaring();
    await request(fake, "PUT", `${PATH}/app`, { bypassrls: true });
    expect((await request(fake, "POST", ROTATION, { password: "x" }, {}, ACCESS)).status).toBe(403);
    expect((await request(fake, "POST", ROTATION, { password: "x" })).status).toBe(200);
    expect((await request(fake, "PATCH", ROTATION, { overlapSeconds: 0 }, {}, ACCESS)).status).toBe(403);
  });
});

test("a rotation that is repeated with its key is made once", async () => {
  const { fake } = declaring();
  await request(fake, "PUT", `${PATH}/app`, {});
  const key = { "idempotency-key": "k1" };
  await request(fake, "POST", ROTATION, { password: "first" }, key);
  const first = wishOf(fake);
  expect((await request(fake, "POST", ROTATION, { password: "first" }, key)).status).toBe(200);
  expect(wishOf(fake)).toBe(first as NonNullable<typeof first>);
});
