import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createApi } from "../../../src/api/create-api.ts";
import { certificateFingerprint } from "../../../src/api/credential.ts";
import { type ApiListener, listenApi, type TlsMaterial } from "../../../src/api/listen-api.ts";
import { type AdmissionRequest, requestAdmission } from "../../../src/api/request-admission.ts";
import { commonNameOf } from "../../../src/cluster/common-name.ts";
import { selfSigned } from "./certificates.ts";
import { createFake, type Fake, M1, SECRET, stateOf } from "./fixture.ts";

let directory: string;
let listener: ApiListener;
let tls: TlsMaterial;
let fake: Fake;
let admitted: number;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "join-"));
  tls = await selfSigned(commonNameOf(M1));
  admitted = 0;
  fake = createFake();
  const { admit } = fake.ports;
  fake = createFake({
    admit(request) {
      admitted += 1;
      return admit(request);
    },
  });
  fake.state = stateOf({ authority: { certificatePem: tls.cert, privateKeyPem: "" } });
  listener = await listen();
});

afterEach(async () => {
  await listener.stop();
  await rm(directory, { recursive: true, force: true });
});

/** Any free port below those that the system hands out by itself. */
async function listen(): Promise<ApiListener> {
  for (let port = 26_000 + (process.pid % 5_000); ; port += 1) {
    const options = { tcp: { hostname: "127.0.0.1", port, tls }, unixPath: join(directory, "api.sock") };
    const result = await listenApi(createApi(fake.ports), options);
    if (result.ok) return result.value;
  }
}

function ask(over: Partial<AdmissionRequest> = {}) {
  return requestAdmission({
    address: `127.0.0.1:${listener.port}`,
    token: { id: "join-1", secret: SECRET, caFingerprint: certificateFingerprint(tls.cert) },
    expectedName: null,
    joiner: {
      csrPem: "CSR",
      name: "m3",
      hosts: ["10.0.0.3"],
      addresses: { api: "10.0.0.3:8008", peer: "10.0.0.3:8009", postgres: "10.0.0.3:5432" },
      kind: "data",
      tags: { failoverPriority: 0, isNoFailover: false },
    },
    ...over,
  });
}

test("a joiner with the right token is admitted", async () => {
  const admission = await ask({ expectedName: "orders" });
  expect(admission).toMatchObject({
    ok: true,
    value: { clusterName: "orders", caPem: tls.cert, promotableFrom: 7 },
  });
});

test("a joiner is admitted through an API that shows its owner's certificate", async () => {
  const own = await selfSigned("db.example.com");
  expect((await listener.renewTls({ ...own, ofCluster: tls })).ok).toBe(true);
  const url = `https://127.0.0.1:${listener.port}/liveness`;
  expect((await fetch(url, { tls: { ca: own.cert }, keepalive: false })).status).toBe(200);
  expect(await ask({ expectedName: "orders" })).toMatchObject({ ok: true, value: { caPem: tls.cert } });
});

test("another CA than the token's gets no secret", async () => {
  const token = { id: "join-1", secret: SECRET, caFingerprint: "0".repeat(64) };
  expect(await ask({ token })).toMatchObject({ ok: false, error: { code: "ca-fingerprint-mismatch" } });
  expect(admitted).toBe(0);
});

test("the right CA shown by one that it does not vouch for gets no secret", async () => {
  const impostor = await selfSigned("impostor");
  expect((await listener.renewTls(impostor)).ok).toBe(true);
  expect(await ask()).toMatchObject({ ok: false, error: { code: "certificate-untrusted" } });
  expect(admitted).toBe(0);
});

test.each(["m1", "guacamole-member-1", "guacamole-authority"])(
  "the right CA, shown by %s, which is no member, gets no secret",
  async (name) => {
    const other = await selfSigned(name);
    expect((await listener.renewTls(other)).ok).toBe(true);
    fake.state = stateOf({ authority: { certificatePem: other.cert, privateKeyPem: "" } });
    const token = { id: "join-1", secret: SECRET, caFingerprint: certificateFingerprint(other.cert) };
    expect(await ask({ token })).toMatchObject({ ok: false, error: { code: "certificate-untrusted" } });
    expect(admitted).toBe(0);
  },
);

test("another name than expected does not spend the token", async () => {
  expect(await ask({ expectedName: "billing" })).toMatchObject({
    ok: false,
    error: { code: "cluster-name-mismatch" },
  });
  expect(admitted).toBe(0);
});

test("a wrong secret, a member that was never formed, and nobody at all are told apart", async () => {
  const token = { id: "join-1", secret: "x".repeat(32), caFingerprint: certificateFingerprint(tls.cert) };
  expect(await ask({ token })).toMatchObject({
    ok: false,
    error: { status: 401, code: "join-token-unknown" },
  });
  fake.state = null;
  expect(await ask()).toMatchObject({ ok: false, error: { status: 409, code: "not-formed" } });
  expect(await ask({ address: "127.0.0.1:1" })).toMatchObject({
    ok: false,
    error: { status: 502, code: "peer-unreachable" },
  });
});
