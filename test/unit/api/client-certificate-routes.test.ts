/** Callers by a client certificate: who is believed, for what, and until when. The certificates are real; TLS is not in it. */
import { beforeEach, describe, expect, test } from "bun:test";
import type { ClientCertificatesRequest } from "../../../src/api/client-certificate-documents.ts";
import { createApi } from "../../../src/api/create-api.ts";
import type { AuditPageDocument } from "../../../src/api/documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type { ShownCertificate } from "../../../src/api/shown-certificate.ts";
import type { SpecHistoryDocument } from "../../../src/api/spec-documents.ts";
import { readShownCertificate } from "../../../src/peer/shown-certificate.ts";
import { ClientAuthority, type Issued, type IssueOptions } from "../../support/client-authority.ts";
import { ADMIN, applyCommands, createFake, type Fake, stateOf, VIEWER } from "./fixture.ts";

const PATH = "/v1/access/client-certificates";
const NOW = Date.parse("2026-06-01");
const authority = await ClientAuthority.create([{ CN: ["Corp CA"] }, { O: ["Corp"] }]);
const shownOf = ({ der }: Issued): ShownCertificate => readShownCertificate(der);
const issue = async (over: Partial<IssueOptions> = {}) =>
  authority.issue({ subject: [{ CN: ["ann"] }, { OU: ["dba"] }, { O: ["Corp"] }], ...over });

let fake: Fake;
let wallMs = NOW;
type Options = { token?: string | null; body?: unknown; headers?: Record<string, string> };
let ask: (
  method: string,
  path: string,
  shown: ShownCertificate | null,
  options?: Options,
) => Promise<Response>;

beforeEach(() => {
  wallMs = NOW;
  const { clock } = createFake().ports;
  fake = createFake({ clock: { ...clock, wallMs: () => wallMs } });
  fake.state = stateOf({ featureLevel: 4 });
  applyCommands(fake);
  const api = createApi(fake.ports);
  ask = (method, path, shown, { token = null, body, headers = {} } = {}) =>
    api.handle(
      new Request(`http://localhost${path}`, {
        method,
        headers: {
          "content-type": "application/json",
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
      "network",
      "10.0.0.9",
      shown,
    );
});

const wish = (over: Partial<ClientCertificatesRequest> = {}): ClientCertificatesRequest => ({
  authorities: authority.pem,
  scopes: [
    { attribute: "ou", value: "dba", scope: "operator" },
    { attribute: "cn", value: "ann", scope: "access" },
    { attribute: "uri", value: "spiffe://corp/ci", scope: "admin" },
  ],
  ...over,
});
const set = async (over: Partial<ClientCertificatesRequest> = {}) => {
  const answer = await ask("PUT", PATH, null, { token: ADMIN, body: wish(over) });
  expect([answer.status, await answer.text()]).toMatchObject([200, expect.any(String)]);
};

async function outcome(shown: ShownCertificate, method = "GET", path = "/v1/cluster", options: Options = {}) {
  const answer = await ask(method, path, shown, options);
  if (answer.ok) return String(answer.status);
  const { status, code } = (await answer.json()) as ProblemDocument;
  return `${status} ${code}`;
}

describe("whoever shows a certificate", () => {
  test("has the scopes of every rule that fits, and no further", async () => {
    await set();
    const ann = shownOf(await issue());
    expect(await outcome(ann)).toBe("200");
    expect(await outcome(ann, "POST", "/v1/pause", { body: { reason: "disk" } })).toBe("201");
    expect(await outcome(ann, "DELETE", "/v1/access/hba")).toBe("200");
    expect(await outcome(ann, "GET", "/v1/tokens")).toBe("403 scope-insufficient");
    const ci = shownOf(
      await issue({ subject: [{ CN: ["ci"] }], names: [{ type: "url", value: "spiffe://corp/ci" }] }),
    );
    expect(await outcome(ci, "GET", "/v1/tokens")).toBe("200");
    const stranger = shownOf(await issue({ subject: [{ CN: ["bob"] }] }));
    expect(await outcome(stranger)).toBe("403 scope-insufficient");
  });

  test("is the author of what they do, and no other", async () => {
    await set();
    const ann = shownOf(await issue());
    await ask("POST", "/v1/pause", ann, { body: { reason: "disk" } });
    const by = "x509:CN=ann, OU=dba, O=Corp<CN=Corp CA, O=Corp";
    expect(fake.commands.at(-1)).toMatchObject({ by });
    await ask("PATCH", "/v1/topology", ann, { body: { failover: { calmMs: 20_000 } } });
    const history = await ask("GET", "/v1/spec/history", ann);
    const { versions } = (await history.json()) as SpecHistoryDocument;
    expect(versions[0]).toMatchObject({ by, byName: "ann" });
  });

  test.each([
    [[{ CN: ["ann, OU=dba"] }], [{ CN: ["ann"] }, { OU: ["dba"] }]],
    [[{ CN: ["ann<CN=Corp CA"] }], [{ CN: ["ann"] }]],
    [[{ CN: ["a\\"] }, { OU: ["b"] }], [{ CN: ["a\\, OU=b"] }]],
    [[{ CN: ["ann "] }], [{ CN: ["ann"] }]],
  ])("of two names that look alike is never the same author: %j", async (one, other) => {
    await set({ scopes: [{ attribute: "o", value: "Corp", scope: "operator" }] });
    const authors: unknown[] = [];
    for (const subject of [one, other]) {
      const shown = shownOf(await issue({ subject: [...subject, { O: ["Corp"] }] }));
      await ask("POST", "/v1/pause", shown, { body: { reason: "disk" } });
      authors.push(fake.commands.at(-1)?.by);
      await ask("DELETE", "/v1/pause", shown);
    }
    expect(new Set(authors).size).toBe(2);
  });

  test("is that token, with one", async () => {
    await set();
    const ann = shownOf(await issue());
    expect(await outcome(ann, "GET", "/v1/tokens", { token: ADMIN })).toBe("200");
    expect(await outcome(ann, "DELETE", "/v1/access/hba", { token: VIEWER })).toBe("403 scope-insufficient");
    expect(await outcome(ann, "GET", "/v1/cluster", { token: "gcm_x" })).toBe("401 token-invalid");
  });

  test("is looked at anew by each request: rules, time, and what is refused", async () => {
    await set();
    const issued = await issue({ notAfter: new Date(NOW + 60_000) });
    const ann = shownOf(issued);
    expect(await outcome(ann)).toBe("200");
    await set({ scopes: [] });
    expect(await outcome(ann)).toBe("403 scope-insufficient");
    await set({ blocked: [issued.sha256] });
    expect(await outcome(ann)).toBe("401 certificate-invalid");
    await set();
    expect(await outcome(ann)).toBe("200");
    wallMs = NOW + 60_001;
    expect(await outcome(ann)).toBe("401 certificate-invalid");
    wallMs = NOW;
    expect((await ask("DELETE", PATH, null, { token: ADMIN })).status).toBe(200);
    expect(await outcome(ann)).toBe("401 certificate-invalid");
    const trail = await ask("GET", "/v1/audit?limit=100", null, { token: ADMIN });
    const { records } = (await trail.json()) as AuditPageDocument;
    expect(records.flatMap(({ why }) => (why == null ? [] : [why])).sort()).toEqual([
      "certificate blocked",
      "certificate expired",
      "no certificate is believed any more",
    ]);
  });

  test.each([
    ["made for servers", { usage: "serverAuth" as const }],
    ["not good yet", { notBefore: new Date(NOW + 1_000) }],
    ["of an endless name", { subject: [{ CN: ["a".repeat(2_000)] }, { OU: ["dba"] }] }],
  ])("is nobody with one that is %s", async (_what, over) => {
    await set();
    expect(await outcome(shownOf(await issue(over)))).toBe("401 certificate-invalid");
  });

  test("may be known by the one certificate", async () => {
    const issued = await issue({ subject: [{ CN: ["anybody"] }], usage: "clientAuth" });
    await set({ scopes: [{ attribute: "sha256", value: issued.sha256, scope: "viewer" }] });
    expect(await outcome(shownOf(issued))).toBe("200");
    expect(await outcome(shownOf(await issue({ subject: [{ CN: ["anybody"] }] })))).toBe(
      "403 scope-insufficient",
    );
  });
});

describe("who is believed", () => {
  test("is shown, with the authorities, and stands beside identity providers", async () => {
    const corp = {
      name: "corp",
      issuer: "https://id.example.org",
      audiences: ["guacamole"],
      scopes: [],
    };
    await set();
    const put = (path: string, body: unknown) => ask("PUT", path, null, { token: ADMIN, body });
    expect((await put("/v1/access/identity-providers", { providers: [corp] })).status).toBe(200);
    expect(fake.state?.spec.identity).toMatchObject({
      providers: [{ name: "corp" }],
      clientCertificates: wish(),
    });
    await set({ scopes: [] });
    expect(fake.state?.spec.identity?.providers).toHaveLength(1);
    const shown = await (await ask("GET", PATH, null, { token: VIEWER })).json();
    expect(shown).toMatchObject({
      port: null,
      wanted: { scopes: [] },
      authorities: [{ subject: "CN=Corp CA, O=Corp", expiresAt: "2120-01-01T00:00:00.000Z" }],
    });
    await ask("DELETE", PATH, null, { token: ADMIN });
    expect(fake.state?.spec.identity).toMatchObject({ providers: [{ name: "corp" }] });
    expect(fake.state?.spec.identity?.clientCertificates).toBeUndefined();
    expect((await put("/v1/access/identity-providers", { providers: [] })).status).toBe(200);
    expect(fake.state?.spec.identity).toBeUndefined();
  });

  test.each([
    ["no PEM", "nonsense", "it is one or more certificates in PEM"],
    ["no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "no certificate"],
  ])("is refused: %s", async (_what, authorities, why) => {
    const answer = await ask("PUT", PATH, null, { token: ADMIN, body: wish({ authorities }) });
    expect([answer.status, await answer.text()]).toEqual([422, expect.stringContaining(why)]);
    expect(fake.commands.filter(({ change }) => change.kind === "change-spec")).toEqual([]);
  });

  test("is no certificate that may sign none", async () => {
    const { cert } = await issue();
    const answer = await ask("PUT", PATH, null, {
      token: ADMIN,
      body: wish({ authorities: `${authority.pem}${cert}` }),
    });
    expect([answer.status, await answer.text()]).toEqual([
      422,
      expect.stringContaining("'CN=ann, OU=dba, O=Corp' is no authority's certificate"),
    ]);
  });

  test("is refused for another version than was meant", async () => {
    const headers = { "if-match": '"9"' };
    const answer = await ask("PUT", PATH, null, { token: ADMIN, body: wish(), headers });
    expect(answer.status).toBe(412);
  });
});
