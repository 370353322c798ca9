/** Callers whom an identity provider vouches for, against an issuer that runs here and signs with real keys. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { createApi } from "../../../src/api/create-api.ts";
import type { AuditPageDocument } from "../../../src/api/documents.ts";
import type {
  IdentityDocument,
  ProviderRequest,
  TokenExplanationDocument,
} from "../../../src/api/identity-documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type { SpecHistoryDocument } from "../../../src/api/spec-documents.ts";
import { LocalIssuer, type SignOptions } from "../../support/local-issuer.ts";
import { selfSigned } from "./certificates.ts";
import { ADMIN, applyCommands, createFake, type Fake, stateOf, VIEWER } from "./fixture.ts";

const PATH = "/v1/access/identity-providers";
const NOW_SECONDS = 1_800_000_000;

let issuer: LocalIssuer;
let clock = { nowMs: 0, wallMs: 0 };
let fake: Fake;
let ask: (method: string, path: string, body?: unknown, token?: string) => Promise<Response>;

/** A member that was started just now. */
function start(): void {
  clock = { nowMs: 1_000_000, wallMs: NOW_SECONDS * 1_000 };
  const { clock: still } = createFake().ports;
  fake = createFake({ clock: { ...still, nowMs: () => clock.nowMs, wallMs: () => clock.wallMs } });
  fake.state = stateOf({ featureLevel: 4 });
  applyCommands(fake);
  const api = createApi(fake.ports);
  ask = (method, path, body, token = ADMIN) =>
    api.handle(
      new Request(`http://localhost${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
      "network",
      "10.0.0.9",
    );
}

beforeEach(async () => {
  issuer = await LocalIssuer.start();
  start();
});
afterEach(() => issuer.stop());

function wait(ms: number): void {
  clock = { nowMs: clock.nowMs + ms, wallMs: clock.wallMs + ms };
}

const provider = (over: Partial<ProviderRequest> = {}): ProviderRequest => ({
  name: "corp",
  issuer: issuer.url,
  audiences: ["guacamole"],
  scopes: [
    { claim: "groups", value: "dba", scope: "admin" },
    { claim: "groups", value: "on-call", scope: "operator" },
    { claim: "groups", value: "doors", scope: "access" },
  ],
  ...over,
});

async function trust(over: Partial<ProviderRequest> = {}): Promise<IdentityDocument> {
  const answer = await ask("PUT", PATH, { providers: [provider(over)] });
  expect(answer.status).toBe(200);
  return (await answer.json()) as IdentityDocument;
}

const sign = (options: SignOptions = {}) =>
  issuer.sign({ atSeconds: Math.floor(clock.wallMs / 1_000), ...options });

async function outcomeOf(token: string, method = "GET", path = "/v1/cluster", body?: unknown) {
  const answer = await ask(method, path, body, token);
  if (answer.ok) return answer.status;
  const { status, code } = (await answer.json()) as ProblemDocument;
  return `${status} ${code}`;
}

async function trail(query = ""): Promise<AuditPageDocument["records"]> {
  const page = (await (await ask("GET", `/v1/audit?limit=1000${query}`)).json()) as AuditPageDocument;
  return page.records;
}

async function explain(token: string): Promise<TokenExplanationDocument> {
  return (await (await ask("POST", `${PATH}/explain`, { token })).json()) as TokenExplanationDocument;
}

describe("a token of an identity provider", () => {
  test("lets in with the scopes of every rule that fits, and no further", async () => {
    await trust();
    const inGroups = (...groups: string[]) => sign({ claims: { groups } });
    expect(await outcomeOf(await inGroups("dba"), "GET", "/v1/tokens")).toBe(200);
    const both = await inGroups("on-call", "doors");
    expect(await outcomeOf(both, "POST", "/v1/pause", { reason: "x" })).toBe(201);
    expect(await outcomeOf(both, "PUT", "/v1/access/roles", { roles: {} })).toBe(200);
    expect(await outcomeOf(both, "GET", "/v1/tokens")).toBe("403 scope-insufficient");
    expect(await outcomeOf(await inGroups("on-call"), "PUT", "/v1/access/roles", { roles: {} })).toBe(
      "403 scope-insufficient",
    );
    for (const claims of [
      { groups: [] },
      { groups: undefined },
      { groups: ["DBA"] },
      { groups: { dba: true } },
    ])
      expect(await outcomeOf(await sign({ claims }))).toBe("403 scope-insufficient");
    // Who it is was proven: the trail says who was refused.
    expect((await trail()).at(-1)).toMatchObject({ by: `${issuer.url}#ann`, code: "scope-insufficient" });
  });

  test("is the author of what it changes, with its issuer, on the trail and in the history", async () => {
    await trust({ nameClaim: "preferred_username" });
    const token = await sign({ claims: { sub: "8f14e45f", preferred_username: "ann" } });
    const durability = { mode: "async", maxLagBytes: 1 };
    expect(await outcomeOf(token, "PATCH", "/v1/topology", { durability })).toBe(200);
    const by = `${issuer.url}#8f14e45f`;
    expect(fake.commands.at(-1)).toMatchObject({ by, asked: { callerName: "ann" } });
    const { versions } = (await (await ask("GET", "/v1/spec/history")).json()) as SpecHistoryDocument;
    expect(versions[0]).toMatchObject({ by, byName: "ann" });
    expect(await outcomeOf(token, "PATCH", "/v1/topology", { durability: 7 })).toBe("422 invalid-request");
    expect((await trail(`&by=${encodeURIComponent(by)}`)).map(({ code, byName }) => [code, byName])).toEqual([
      ["invalid-request", "ann"],
    ]);
  });

  test("of two whose subjects and issuers look alike is never the same author", async () => {
    await trust();
    const key = { "idempotency-key": "k" };
    const [one, other] = [await sign(), await sign({ claims: { sub: "ann#x" } })];
    const api = createApi(fake.ports);
    for (const token of [one, other])
      await api.handle(
        new Request("http://localhost/v1/pause", {
          method: "POST",
          headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...key },
          body: '{"reason":"same"}',
        }),
        "network",
      );
    const pauses = fake.commands.filter(({ change }) => change.kind === "pause");
    expect(new Set(pauses.map(({ by }) => by)).size).toBe(2);
    expect(new Set(pauses.map(({ id }) => id)).size).toBe(2);
  });

  test("counts nothing where its provider is not trusted, or not any more", async () => {
    const token = await sign();
    expect(await outcomeOf(token)).toBe("401 token-invalid");
    await trust();
    expect(await outcomeOf(token)).toBe(200);
    expect((await ask("PUT", PATH, { providers: [] })).status).toBe(200);
    expect(fake.state?.spec.identity).toBeUndefined();
    expect(await outcomeOf(token)).toBe("401 token-invalid");
  });

  test("is asked for nothing over the Unix socket, and looked at only where a token is asked for", async () => {
    await trust();
    issuer.asked.length = 0;
    wait(3_600_000);
    expect(await outcomeOf("a.b.c", "GET", "/health")).toBe(200);
    const local = new Request("http://localhost/v1/tokens", { headers: { authorization: "Bearer a.b.c" } });
    expect((await createApi(fake.ports).handle(local, "local")).status).toBe(200);
    expect(issuer.asked).toEqual([]);
  });
});

describe("refused is", () => {
  const hour = 3_600;
  const refused: readonly (readonly [string, () => Promise<string>, string, string])[] = [
    ["one that has expired", () => sign({ atSeconds: NOW_SECONDS - hour }), "token-expired", "token expired"],
    [
      "one that was issued too long ago",
      () => sign({ atSeconds: NOW_SECONDS - 30 * hour, lifetimeSeconds: 100 * hour }),
      "token-expired",
      "issued more than 86400 s ago",
    ],
    ["one for others", () => sign({ claims: { aud: "wiki" } }), "token-invalid", "wrong audience"],
    [
      "one for nobody",
      () => sign({ claims: { aud: undefined } }),
      "token-invalid",
      "the claim aud is missing",
    ],
    [
      "one without an end",
      () => sign({ claims: { exp: undefined } }),
      "token-invalid",
      "the claim exp is missing",
    ],
    [
      "one without a beginning",
      () => sign({ claims: { iat: undefined } }),
      "token-invalid",
      "the claim iat is missing",
    ],
    [
      "one without a subject",
      () => sign({ claims: { sub: undefined } }),
      "token-invalid",
      "the claim sub is missing",
    ],
    [
      "one whose subject cannot be printed",
      () => sign({ claims: { sub: "ann\nroot" } }),
      "token-invalid",
      "its subject is not 1 to 255 characters of ASCII",
    ],
    [
      "one that is not good yet",
      () => sign({ claims: { nbf: NOW_SECONDS + 60 } }),
      "token-invalid",
      "it is not good yet: is a clock wrong?",
    ],
    [
      "one of another issuer",
      () => sign({ claims: { iss: "https://other.example" } }),
      "token-invalid",
      "nobody trusts the issuer that it names: https://other.example",
    ],
    [
      "one of no issuer",
      () => sign({ claims: { iss: undefined } }),
      "token-invalid",
      "nobody trusts the issuer",
    ],
    [
      "one that somebody else signed under the issuer's key id",
      async () => {
        const { privateKey } = await generateKeyPair("ES256");
        const claims = { iss: issuer.url, aud: "guacamole", sub: "ann", groups: ["dba"] };
        return new SignJWT({ ...claims, iat: NOW_SECONDS, exp: NOW_SECONDS + 60 })
          .setProtectedHeader({ alg: "ES256", kid: "first" })
          .sign(privateKey);
      },
      "token-invalid",
      "its signature is wrong",
    ],
    [
      "one that was altered",
      async () => {
        const [header, , signature] = (await sign()).split(".");
        const claims = { iss: issuer.url, aud: "guacamole", sub: "root", groups: ["dba"] };
        const text = JSON.stringify({ ...claims, iat: NOW_SECONDS, exp: NOW_SECONDS + 60 });
        return `${header}.${Buffer.from(text).toString("base64url")}.${signature}`;
      },
      "token-invalid",
      "its signature is wrong",
    ],
    [
      "one that nobody signed",
      async () => {
        const claims = { iss: issuer.url, aud: "guacamole", sub: "ann", groups: ["dba"] };
        return `${new UnsecuredJWT({ ...claims, iat: NOW_SECONDS, exp: NOW_SECONDS + 60 }).encode()}AA`;
      },
      "token-invalid",
      "its algorithm is not allowed",
    ],
    [
      "one that is signed with a public key as a shared secret",
      async () => {
        await issuer.addKey("rsa", "RS256");
        const [, rsa] = issuer.keySet.keys;
        const spki = await exportSPKI(
          await crypto.subtle.importKey(
            "jwk",
            rsa as object,
            { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
            true,
            ["verify"],
          ),
        );
        const claims = { iss: issuer.url, aud: "guacamole", sub: "ann", groups: ["dba"] };
        return new SignJWT({ ...claims, iat: NOW_SECONDS, exp: NOW_SECONDS + 60 })
          .setProtectedHeader({ alg: "HS256", kid: "rsa" })
          .sign(new TextEncoder().encode(spki));
      },
      "token-invalid",
      "its algorithm is not allowed",
    ],
    [
      "one by an algorithm that is not allowed",
      async () => {
        await issuer.addKey("other", "ES384");
        return sign();
      },
      "token-invalid",
      "its algorithm is not allowed",
    ],
    [
      "a logout token",
      () => sign({ header: { typ: "logout+jwt" } }),
      "token-invalid",
      "it is a token of another kind (typ)",
    ],
    [
      "what only looks like one",
      async () => "aaaa.bbbb.cccc",
      "token-invalid",
      "it cannot be read as a signed token",
    ],
    [
      "one whose header demands what nobody understands",
      () => sign({ header: { crit: ["demanded"], demanded: 1 } }),
      "token-invalid",
      "it is not as it should be",
    ],
    [
      "one of somebody who is blocked",
      () => sign({ claims: { sub: "bob" } }),
      "token-invalid",
      "its subject is blocked",
    ],
  ];

  test.each(refused)("%s", async (_what, make, code, why) => {
    await trust({ blockedSubjects: ["bob"] });
    const token = await make();
    fake.commands.length = 0;
    const answer = await ask("POST", "/v1/pause", { reason: "x" }, token);
    const text = await answer.text();
    expect(answer.status).toBe(401);
    expect(answer.headers.get("www-authenticate")).toStartWith("Bearer");
    expect((JSON.parse(text) as ProblemDocument).code).toBe(code);
    expect(fake.commands).toEqual([]);
    // Clear to whoever keeps the cluster, discreet to whoever asks.
    const told = (await trail()).at(-1);
    expect(told?.code).toBe(code);
    expect(told?.why).toContain(why);
    expect(text).not.toContain(why);
    expect(text).not.toContain("corp");
    expect((await explain(token)).why).toContain(why);
    expect(JSON.stringify(await trail())).not.toContain(token.split(".")[2] ?? token);
  });

  test("a token a moment after its end, but for what the clocks may differ by", async () => {
    await trust({ clockToleranceSeconds: 20 });
    const token = await sign({ lifetimeSeconds: 60 });
    wait(79_000);
    expect(await outcomeOf(token)).toBe(200);
    wait(1_000);
    expect(await outcomeOf(token)).toBe("401 token-expired");
  });

  test("nobody who is right, however often somebody guesses from the same address", async () => {
    await trust();
    const wrong = await sign({ claims: { aud: "wiki" } });
    const answers = [];
    for (let count = 0; count < 12; count += 1) answers.push(await outcomeOf(wrong));
    expect(answers.slice(9)).toEqual(["401 token-invalid", "429 too-many-attempts", "429 too-many-attempts"]);
    expect(await outcomeOf(await sign())).toBe(200);
  });
});

describe("the keys of an issuer", () => {
  test("are fetched at the first need, and again for one that is not known, but not for everybody who guesses", async () => {
    await trust();
    expect(issuer.asked).toEqual(["/.well-known/openid-configuration", "/keys"]);
    for (let count = 0; count < 20; count += 1) expect(await outcomeOf(await sign())).toBe(200);
    expect(issuer.asked).toHaveLength(2);
    await issuer.addKey("second");
    expect(await outcomeOf(await sign())).toBe("401 token-invalid");
    wait(30_000);
    expect(await outcomeOf(await sign())).toBe(200);
    expect(await outcomeOf(await sign({ keyId: "first" }))).toBe(200);
    expect(issuer.asked).toHaveLength(4);
    const guessed = await sign({ header: { kid: "guessed" } });
    for (let count = 0; count < 20; count += 1) await outcomeOf(guessed);
    expect(issuer.asked).toHaveLength(4);
  });

  test("that it takes back count for ten minutes at most", async () => {
    await trust();
    const token = await sign({ lifetimeSeconds: 3_600 });
    await issuer.addKey("second");
    issuer.removeKey("first");
    wait(599_000);
    expect(await outcomeOf(token)).toBe(200);
    wait(1_000);
    expect(await outcomeOf(token)).toBe("401 token-invalid");
  });

  test("outlast its absence for a day, and then nobody can tell", async () => {
    await trust();
    await issuer.stop();
    wait(86_399_000);
    expect(await outcomeOf(await sign())).toBe(200);
    const [known] = ((await (await ask("GET", PATH)).json()) as IdentityDocument).providers;
    expect(known?.keys).toMatchObject({ count: 1, problem: expect.stringContaining("cannot be reached") });
    wait(1_000);
    expect(await outcomeOf(await sign())).toBe("503 identity-provider-unavailable");
    // Guacamole's own tokens need nobody.
    expect(await outcomeOf(VIEWER)).toBe(200);
  });

  test("of an issuer that was never reached keep nobody waiting twice", async () => {
    issuer.answers.set("/keys", () => new Response("down", { status: 500 }));
    const { providers } = await trust();
    expect(providers[0]?.keys).toMatchObject({ count: 0, fetchedAt: null });
    expect(providers[0]?.keys.problem).toContain("status 500");
    expect(fake.logged).toContain("identity.no-keys");
    const asked = issuer.asked.length;
    expect(await outcomeOf(await sign())).toBe("503 identity-provider-unavailable");
    expect(issuer.asked).toHaveLength(asked);
    issuer.answers.clear();
    wait(30_000);
    expect(await outcomeOf(await sign())).toBe(200);
  });

  test("are waited for by all who need them at once, and asked for once", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    await trust();
    wait(86_400_000);
    issuer.asked.length = 0;
    issuer.answers.set("/keys", async () => {
      await promise;
      return Response.json(issuer.keySet);
    });
    await issuer.addKey("second");
    const tokens = await Promise.all(Array.from({ length: 8 }, () => sign()));
    const answers = tokens.map((token) => outcomeOf(token));
    resolve();
    expect(await Promise.all(answers)).toEqual(Array(8).fill(200));
    expect(issuer.asked).toHaveLength(2);
  });

  const bad: readonly (readonly [string, string, () => Response, string])[] = [
    [
      "a discovery document about another issuer",
      "/.well-known/openid-configuration",
      () => Response.json({ issuer: "https://x", jwks_uri: issuer.jwksUri }),
      "another issuer",
    ],
    [
      "keys at a place that anybody could stand before",
      "/.well-known/openid-configuration",
      () => Response.json({ issuer: issuer.url, jwks_uri: "http://keys.example/" }),
      "begins with https://",
    ],
    ["a redirection", "/keys", () => Response.redirect(`${issuer.url}/elsewhere`), "cannot be reached"],
    ["no JSON", "/keys", () => new Response("<html>"), "does not answer with JSON"],
    ["more than keys can be", "/keys", () => new Response("x".repeat(300_000)), "fitting size"],
    ["no keys", "/keys", () => Response.json({}), "no set of keys"],
    [
      "only secrets",
      "/keys",
      () => Response.json({ keys: [{ kty: "oct", k: "c2VjcmV0", kid: "first" }] }),
      "no public key",
    ],
    [
      "only keys for secrecy",
      "/keys",
      () => Response.json({ keys: [{ kty: "EC", use: "enc", kid: "first" }] }),
      "no public key",
    ],
  ];
  test.each(bad)("are not taken from %s", async (_what, path, answer, why) => {
    issuer.answers.set(path, answer);
    const { providers } = await trust();
    expect(providers[0]?.keys).toMatchObject({ count: 0, problem: expect.stringContaining(why) });
    expect(await outcomeOf(await sign())).toBe("503 identity-provider-unavailable");
  });

  test("come from where the settings say, over TLS of an authority of one's own, and from nobody else's", async () => {
    const tls = await selfSigned("issuer");
    const secure = await LocalIssuer.start(tls);
    try {
      const { issuer: _, ...others } = provider();
      const said = { ...others, issuer: secure.url };
      const put = async (request: ProviderRequest) => {
        const answer = await ask("PUT", PATH, { providers: [request] });
        return ((await answer.json()) as IdentityDocument).providers[0]?.keys;
      };
      expect(await put(said)).toMatchObject({
        count: 0,
        problem: expect.stringContaining("cannot be reached"),
      });
      expect(await put({ ...said, jwksUri: secure.jwksUri, caCertificate: tls.cert })).toMatchObject({
        count: 1,
      });
      expect(secure.asked).toEqual(["/keys"]);
      expect(await outcomeOf(await secure.sign({ atSeconds: NOW_SECONDS }))).toBe(200);
    } finally {
      await secure.stop();
    }
  });
});

describe("what is said of identity providers", () => {
  const wrong: readonly (readonly [string, () => readonly object[]])[] = [
    ["an issuer without TLS", () => [provider({ issuer: "http://id.example.org" })]],
    ["an issuer that is no URL", () => [provider({ issuer: "id.example.org" })]],
    ["an issuer of another kind", () => [provider({ issuer: "file:///etc/keys" })]],
    ["an issuer with a password", () => [provider({ issuer: "https://a:b@id.example.org" })]],
    ["an issuer with a fragment", () => [provider({ issuer: "https://id.example.org#ann" })]],
    ["keys without TLS", () => [provider({ jwksUri: "http://id.example.org/keys" })]],
    ["what is no certificate", () => [provider({ caCertificate: "PRIVATE KEY" })]],
    ["the same name twice", () => [provider(), provider({ issuer: "https://b.example" })]],
    ["the same issuer twice", () => [provider(), provider({ name: "b" })]],
    ["no audience", () => [provider({ audiences: [] })]],
    ["a symmetric algorithm", () => [{ ...provider(), algorithms: ["HS256"] }]],
    ["no algorithm at all", () => [{ ...provider(), algorithms: ["none"] }]],
    [
      "a scope that there is not",
      () => [{ ...provider(), scopes: [{ claim: "a", value: "b", scope: "root" }] }],
    ],
    ["what nobody knows", () => [{ ...provider(), secret: "x" }]],
  ];
  test.each(wrong)("is refused with %s", async (_what, providers) => {
    const answer = await ask("PUT", PATH, { providers: providers() });
    expect(answer.status).toBe(422);
    expect(fake.state?.generation).toBe(1 as never);
  });

  test("is shown as it may be sent back, with what is meant where nothing was said", async () => {
    const { generation, providers } = await trust();
    expect(generation).toBe(2);
    const [{ keys, ...shown } = expect.unreachable()] = providers;
    expect(keys.count).toBe(1);
    expect(shown).toEqual({
      ...provider(),
      algorithms: ["RS256", "ES256"],
      clockToleranceSeconds: 30,
      maxAgeSeconds: 86_400,
    });
    const answer = await ask("PUT", "/v1/spec", { identity: { providers: [shown] } });
    expect(await answer.json()).toMatchObject({ generation: 2, changes: [] });
    const gone = await ask("PUT", "/v1/spec", { identity: null });
    expect(await gone.json()).toMatchObject({ generation: 3 });
    expect(fake.state?.spec.identity).toBeUndefined();
  });

  test("waits until every member understands it", async () => {
    fake.state = stateOf({ featureLevel: 3 });
    const answer = await ask("PUT", PATH, { providers: [provider()] });
    expect([answer.status, ((await answer.json()) as ProblemDocument).code]).toEqual([
      409,
      "feature-level-low",
    ]);
  });

  test("explains a token that would be let in, and one that may do nothing", async () => {
    await trust({ nameClaim: "email" });
    expect(await explain(await sign({ claims: { email: "ann@example.org" } }))).toEqual({
      isGood: true,
      provider: "corp",
      by: `${issuer.url}#ann`,
      name: "ann@example.org",
      scopes: ["admin"],
      why: null,
    });
    expect(await explain(await sign({ claims: { groups: ["x"] } }))).toMatchObject({
      isGood: false,
      scopes: [],
      why: "no rule of corp gives it a scope",
    });
  });
});
