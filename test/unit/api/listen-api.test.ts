import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { connect } from "node:tls";
import { createApi } from "../../../src/api/create-api.ts";
import { type ApiListener, type ListenOptions, listenApi } from "../../../src/api/listen-api.ts";
import { nextPort } from "../../support/ports-in-turn.ts";
import { selfSigned } from "./certificates.ts";
import { ADMIN, createFake, type Fake, living } from "./fixture.ts";

const MODULE = resolve(import.meta.dir, "../../../src/api/listen-api.ts");
let directory: string;
let unixPath: string;
const open: ApiListener[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "api-"));
  unixPath = join(directory, "api.sock");
});

afterEach(async () => {
  for (const listener of open.splice(0)) await listener.stop();
  await rm(directory, { recursive: true, force: true });
});

async function listen(tcp: ListenOptions["tcp"], fake: Fake = createFake()): Promise<ApiListener> {
  const listener = await listenApi(createApi(fake.ports), { tcp, unixPath });
  if (!listener.ok) throw new Error(listener.error);
  open.push(listener.value);
  return listener.value;
}

/** Any free port below those that the system hands out by itself. */
async function listenTls(): Promise<{ listener: ApiListener; ca: string; port: number }> {
  const tls = await selfSigned("m1");
  for (let port = 21_000 + (process.pid % 5_000); ; port += 1) {
    const api = createApi(createFake().ports);
    const listener = await listenApi(api, { tcp: { hostname: "127.0.0.1", port, tls }, unixPath });
    if (!listener.ok) continue;
    open.push(listener.value);
    return { listener: listener.value, ca: tls.cert, port };
  }
}

describe("a request", () => {
  async function raw(port: number, text: string): Promise<string> {
    const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
    socket.end(text);
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString();
  }

  // HAProxy's checks are the first, `curl --http1.0 -H Host:` the second.
  test.each([
    "OPTIONS /liveness HTTP/1.0\r\n\r\n",
    "GET /liveness HTTP/1.0\r\n\r\n",
    "HEAD /liveness HTTP/1.0\r\nHost: m1\r\n\r\n",
    "GET /liveness HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
    "GET /liveness HTTP/1.1\r\nHost: no host\r\nConnection: close\r\n\r\n",
    "GET /liveness?lag=10MB HTTP/1.1\r\nHost: m1:99999\r\nConnection: close\r\n\r\n",
    "GET http://m1/liveness HTTP/1.1\r\nHost: m1\r\nConnection: close\r\n\r\n",
  ])("is answered whatever host it names, or none: %j", async (text) => {
    const { port } = await listenTls();
    expect(await raw(port, text)).toStartWith("HTTP/1.1 200 ");
  });

  // In a process of its own: this one's runner takes what nobody caught for a failed test.
  test("at which the API itself fails gets no page with our source on it", async () => {
    const child = Bun.spawn(
      [
        process.execPath,
        "-e",
        `const { listenApi } = await import(${JSON.stringify(MODULE)});
         const api = { handle: () => Promise.reject(new Error("a fault of ours")) };
         await listenApi(api, { tcp: null, unixPath: ${JSON.stringify(unixPath)} });
         console.log("up");`,
      ],
      { stdout: "pipe", stderr: "ignore" },
    );
    try {
      for await (const _chunk of child.stdout) break;
      const response = await fetch("http://localhost/liveness", { unix: unixPath });
      expect(response.status).toBe(500);
      expect(await response.text()).not.toContain("a fault of ours");
    } finally {
      child.kill("SIGKILL");
      await child.exited;
    }
  });
});

describe("a port for health checks", () => {
  let opened: Fake | null = null;
  async function listenInClear(): Promise<number> {
    const health = { hostname: "127.0.0.1", port: nextPort(10_000, 30_000) };
    opened = living();
    const listener = await listenApi(createApi(opened.ports), { tcp: null, health, unixPath });
    if (!listener.ok) throw new Error(listener.error);
    open.push(listener.value);
    return health.port;
  }
  const authorization = `Bearer ${ADMIN}`;

  test.each([
    ["GET", "/liveness", 200],
    ["OPTIONS", "/primary", 200],
    ["HEAD", "/replica?lag=10MB", 503],
    ["GET", "/cluster", 200],
    ["GET", "/v1/cluster", 403],
    ["GET", "/metrics", 403],
    ["GET", "/openapi.json", 403],
    ["POST", "/primary", 403],
    ["POST", "/v1/admission", 403],
  ])(
    "answers them without TLS, and nothing else, whatever token is sent: %s %s",
    async (method, path, status) => {
      const port = await listenInClear();
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, headers: { authorization } });
      expect(response.status).toBe(status);
      if (status === 403) expect(await response.json()).toMatchObject({ code: "tls-required" });
    },
  );

  test("remembers whom it refused, as every other does", async () => {
    const port = await listenInClear();
    const fake = opened;
    if (fake === null) throw new Error("nothing listens");
    await fetch(`http://127.0.0.1:${port}/v1/pause`, { method: "POST", headers: { authorization } });
    expect(fake.logged.at(-1)).toBe("audit.refused");
  });

  test("that is in use is named with its key, and nothing stays open", async () => {
    const port = await listenInClear();
    const health = { hostname: "127.0.0.1", port };
    const unixPath = join(directory, "other.sock");
    const result = await listenApi(createApi(createFake().ports), { tcp: null, health, unixPath });
    expect(result.ok ? "" : result.error).toContain(
      "[api] health-listen in guacamole.toml (GUACAMOLE_API_HEALTH_LISTEN)",
    );
    expect(await readdir(directory)).toEqual(["api.sock"]);
  });
});

describe("the Unix socket", () => {
  test("serves its owner without a token, and is closed to everybody else", async () => {
    await listen(null);
    const response = await fetch("http://localhost/v1/cluster", { unix: unixPath });
    expect(response.status).toBe(200);
    expect((await stat(unixPath)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(["api.sock"]);
  });

  test("takes the place of one that a killed process left", async () => {
    const child = Bun.spawn(
      [
        process.execPath,
        "-e",
        `Bun.serve({ unix: ${JSON.stringify(unixPath)}, fetch: () => new Response() }); console.log("up")`,
      ],
      { stdout: "pipe" },
    );
    for await (const _chunk of child.stdout) break;
    child.kill("SIGKILL");
    await child.exited;
    expect((await stat(unixPath)).isSocket()).toBe(true);
    await listen(null);
    expect((await fetch("http://localhost/liveness", { unix: unixPath })).status).toBe(200);
  });

  test("not the place of one that answers, nor of a file", async () => {
    await listen(null);
    const api = createApi(createFake().ports);
    const second = await listenApi(api, { tcp: null, unixPath });
    expect(second.ok ? "" : second.error).toContain("two members cannot share a data-dir");
    const filePath = join(directory, "file");
    await writeFile(filePath, "precious");
    const third = await listenApi(api, { tcp: null, unixPath: filePath });
    expect(third.ok ? "" : third.error).toContain("is not a socket");
    expect(await Bun.file(filePath).text()).toBe("precious");
  });

  test("is gone after stop", async () => {
    const listener = await listen(null);
    await listener.stop();
    expect(await readdir(directory)).toEqual([]);
  });
});

describe("HTTPS", () => {
  test("needs a token, and its certificate", async () => {
    const { ca, port } = await listenTls();
    const url = `https://127.0.0.1:${port}/v1/cluster`;
    expect((await fetch(url, { tls: { ca } })).status).toBe(401);
    expect((await fetch(url, { tls: { ca }, headers: { authorization: `Bearer ${ADMIN}` } })).status).toBe(
      200,
    );
    expect(fetch(url)).rejects.toThrow();
  });

  test("takes a new certificate on the same port", async () => {
    const { listener, ca, port } = await listenTls();
    const next = await selfSigned("m1-next");
    const headers = { authorization: `Bearer ${ADMIN}`, accept: "text/event-stream" };
    const stream = await fetch(`https://127.0.0.1:${port}/v1/events`, { tls: { ca }, headers });
    const reader = stream.body?.getReader();
    expect((await reader?.read())?.done).toBe(false);
    expect(await listener.renewTls(next)).toEqual({ ok: true, value: undefined });
    const url = `https://127.0.0.1:${port}/liveness`;
    expect((await fetch(url, { tls: { ca: next.cert }, keepalive: false })).status).toBe(200);
    expect(fetch(url, { tls: { ca }, keepalive: false })).rejects.toThrow();
    await reader?.cancel();
  });

  test("goes on with the certificate before where the next cannot be used", async () => {
    const { listener, ca, port } = await listenTls();
    const refused = await listener.renewTls({ cert: "no certificate", key: "no key" });
    expect(refused.ok).toBe(false);
    const url = `https://127.0.0.1:${port}/liveness`;
    expect((await fetch(url, { tls: { ca }, keepalive: false })).status).toBe(200);
  });

  test("a port in use is named, with the key that says it, and nothing stays open", async () => {
    const { ca: _ca, port } = await listenTls();
    const other = join(directory, "other.sock");
    const tcp = { hostname: "127.0.0.1", port, tls: await selfSigned("m2") };
    const result = await listenApi(createApi(createFake().ports), { tcp, unixPath: other });
    expect(result.ok ? "" : result.error).toContain(`port ${port} on 127.0.0.1 is in use`);
    expect(result.ok ? "" : result.error).toContain("[api] listen");
    expect(await readdir(directory)).toEqual(["api.sock"]);
  });
});

test("a body that is too large is explained, also when its length is not said", async () => {
  await listen(null);
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let kib = 0; kib < 1100; kib += 1) controller.enqueue(new Uint8Array(1024).fill(32));
      controller.close();
    },
  });
  const response = await fetch("http://localhost/v1/switchover", { unix: unixPath, method: "POST", body });
  expect([response.status, response.headers.get("content-type")]).toEqual([413, "application/problem+json"]);
});

describe("events", () => {
  const event = (id: number) => ({
    id,
    name: "primary.appointed",
    atMs: id,
    message: `event ${id}`,
    fields: {},
  });

  test("come as a stream, go on as they happen, and resume where the reader was", async () => {
    const fake = createFake();
    fake.events.push(event(1), event(2));
    await listen(null, fake);
    const response = await fetch("http://localhost/v1/events", {
      unix: unixPath,
      headers: { accept: "text/event-stream", "last-event-id": "1" },
    });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    if (response.body === null) throw new Error("no body");
    let text = "";
    for await (const chunk of response.body) {
      text += new TextDecoder().decode(chunk);
      if (text.includes("id: 2\n") && fake.events.length === 2) {
        fake.events.push(event(3));
        fake.changed();
      }
      if (text.includes("id: 3\n")) break;
    }
    expect(text).not.toContain("id: 1\n");
    expect(text).toContain('id: 3\nevent: primary.appointed\ndata: {"id":3,');
  });

  test("a reader that goes away leaves nothing behind", async () => {
    const fake = createFake();
    const api = createApi(fake.ports);
    const request = new Request("http://localhost/v1/events", { headers: { accept: "text/event-stream" } });
    const response = await api.handle(request, "local");
    const reader = response.body?.getReader();
    await reader?.read();
    await reader?.cancel();
    fake.changed();
    await Bun.sleep(0);
    expect(fake.listenerCount()).toBe(0);
  });

  test("as pages: after an id, at most so many, with where to go on", async () => {
    const fake = createFake();
    fake.events.push(event(1), event(2), event(3));
    const api = createApi(fake.ports);
    const page = async (query: string) =>
      (await api.handle(new Request(`http://localhost/v1/events?${query}`), "local")).json();
    expect(await page("after=1&limit=1")).toMatchObject({ events: [{ id: 2 }], next: 2 });
    expect(await page("after=3")).toEqual({ events: [], next: 3 });
  });
});
