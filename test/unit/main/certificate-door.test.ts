/** The port that asks for a certificate, over real TLS, with what clients do to it. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import type { Api } from "../../../src/api/create-api.ts";
import type { TlsMaterial } from "../../../src/api/listen-api.ts";
import type { ShownCertificate } from "../../../src/api/shown-certificate.ts";
import type { Log } from "../../../src/base/log.ts";
import { CertificateDoor } from "../../../src/main/certificate-door.ts";
import { ClientAuthority, type Issued } from "../../support/client-authority.ts";
import { realClock } from "../../support/postgres-clock.ts";
import { selfSigned } from "../api/certificates.ts";

const authority = await ClientAuthority.create([{ CN: ["Corp CA"] }]);
const stranger = await ClientAuthority.create([{ CN: ["Corp CA"] }]);
const own: TlsMaterial = await selfSigned("m1");
const ann = await authority.issue({ subject: [{ CN: ["ann"] }] });
const bob = await authority.issue({ subject: [{ CN: ["bob"] }] });

interface Seen {
  readonly who: string | undefined;
  readonly address: string | null;
  readonly body: string;
}

let place: string;
let directory: string;
let seen: Seen[];
let told: string[];
let door: CertificateDoor;
let answer: (request: Request) => Response;

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "door-"));
  directory = join(place, "door");
  seen = [];
  told = [];
  answer = () => new Response("ok");
  const api: Api = {
    async handle(request, _origin, address = null, shown: ShownCertificate | null = null) {
      seen.push({ who: shown?.attributes.cn[0], address, body: await request.text() });
      return answer(request);
    },
  };
  const note = (event: string, fields?: object) => void told.push(`${event} ${JSON.stringify(fields)}`);
  const log: Log = { error: note, warn: note, info: () => undefined, debug: () => undefined };
  door = new CertificateDoor({
    api,
    listen: { host: "127.0.0.1", port: 0 },
    directory,
    clock: realClock,
    log,
  });
});
afterEach(() => {
  door.stop();
  rmSync(place, { recursive: true });
});

function open(): void {
  door.show(own.cert, own.key);
  door.trust(authority.pem);
}

const url = (path = "/") => `https://127.0.0.1:${door.port}${path}`;
const tlsOf = (issued: Issued | null, ca = own.cert) => ({
  ca,
  ...(issued === null ? {} : { cert: issued.cert, key: issued.key }),
});
const get = (issued: Issued | null, init: RequestInit & { ca?: string } = {}): Promise<Response> =>
  fetch(url(), { keepalive: false, ...init, tls: tlsOf(issued, init.ca) } as RequestInit);
/** A connection that stands: each request is sent once the one before is answered. */
function standing(issued: Issued) {
  const { port } = door;
  if (port === null) throw new Error("the door is shut");
  const socket = connect({ host: "127.0.0.1", port, ...tlsOf(issued) });
  let text = "";
  let wake: (() => void) | null = null;
  const more = () =>
    new Promise<void>((resolve) => {
      wake = resolve;
    });
  const ended = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.on("error", () => undefined);
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
    wake?.();
  });
  return {
    socket,
    ended,
    async ask(path: string, wanted = "ok"): Promise<void> {
      text = "";
      socket.write(`GET ${path} HTTP/1.1\r\nhost: m1\r\n\r\n`);
      while (!text.endsWith(wanted)) await more();
    },
  };
}

describe("a client", () => {
  test("is let in by a certificate of an authority that is trusted, and told apart from others", async () => {
    open();
    const all = Array.from({ length: 40 }, (_, index) => get(index % 2 === 0 ? ann : bob));
    expect(new Set((await Promise.all(all)).map(({ status }) => status))).toEqual(new Set([200]));
    const names = seen.map(({ who }) => who).sort();
    expect(names).toEqual([...Array<string>(20).fill("ann"), ...Array<string>(20).fill("bob")]);
    expect(new Set(seen.map(({ address }) => address))).toEqual(new Set(["127.0.0.1"]));
  });

  test("is let in by one that an authority below it has signed", async () => {
    open();
    const below = await authority.below([{ CN: ["Team CA"] }]);
    const carol = await below.issue({ subject: [{ CN: ["carol"] }] });
    expect((await get(carol)).status).toBe(200);
    expect(seen).toMatchObject([{ who: "carol" }]);
  });

  test("speaks over one connection for as long as it likes", async () => {
    open();
    const client = standing(ann);
    for (let turn = 0; turn < 20; turn += 1) await client.ask(`/${turn}`);
    expect(seen.map(({ who }) => who)).toEqual(Array<string>(20).fill("ann"));
    client.socket.destroy();
  });

  test("sends much, and reads much slowly", async () => {
    open();
    const sent = "x".repeat(900_000);
    expect((await get(ann, { method: "POST", body: sent })).status).toBe(200);
    expect(seen[0]?.body).toBe(sent);
    const bytes = 64 * 1024 * 1024;
    answer = () => new Response(new Uint8Array(bytes).fill(7));
    const reader = (await get(ann)).body?.getReader();
    if (reader === undefined) throw new Error("no body");
    await Bun.sleep(50);
    let count = 0;
    for (let part = await reader.read(); !part.done; part = await reader.read())
      count += part.value.byteLength;
    expect(count).toBe(bytes);
  });

  test("reads a stream that goes on", async () => {
    open();
    answer = () =>
      new Response(
        new ReadableStream({
          async start(controller) {
            for (const each of ["one", "two"]) {
              controller.enqueue(new TextEncoder().encode(each));
              await Bun.sleep(5);
            }
            controller.close();
          },
        }),
        { headers: { "content-type": "text/event-stream" } },
      );
    expect(await (await get(ann, { headers: { accept: "text/event-stream" } })).text()).toBe("onetwo");
  });

  const refused: readonly (readonly [string, () => Promise<Issued | null>])[] = [
    ["no certificate", async () => null],
    ["one of an authority with the same name", async () => stranger.issue({ subject: [{ CN: ["ann"] }] })],
    [
      "one that has ended",
      async () => authority.issue({ subject: [{ CN: ["ann"] }], notAfter: new Date("2021-01-01") }),
    ],
    ["another's, without the key", async () => ({ ...ann, key: bob.key })],
  ];
  test.each(refused)("never speaks HTTP with %s", async (_what, make) => {
    open();
    const shown = await make();
    expect(
      await get(shown).then(
        () => "answered",
        () => "refused",
      ),
    ).toBe("refused");
    expect(seen).toEqual([]);
    expect((await get(ann)).status).toBe(200);
  });
});

describe("the door", () => {
  test("is shut until somebody is trusted, and again once nobody is", async () => {
    door.show(own.cert, own.key);
    expect(door.port).toBeNull();
    door.trust(authority.pem);
    const { port } = door;
    const client = standing(ann);
    await client.ask("/");
    door.trust(null);
    expect(door.port).toBeNull();
    await client.ended;
    expect(fetch(`https://127.0.0.1:${port}/`, { keepalive: false, tls: tlsOf(ann) })).rejects.toThrow();
  });

  test("ends what stands when others are trusted", async () => {
    open();
    const client = standing(ann);
    await client.ask("/");
    door.trust(stranger.pem);
    await client.ended;
    expect(
      await get(ann).then(
        () => "answered",
        () => "refused",
      ),
    ).toBe("refused");
    expect((await get(await stranger.issue({ subject: [{ CN: ["dan"] }] }))).status).toBe(200);
  });

  test("shows another certificate without an end to what stands", async () => {
    open();
    const client = standing(ann);
    await client.ask("/");
    const next = await selfSigned("m1-next");
    door.show(next.cert, next.key);
    await client.ask("/again");
    expect((await get(ann, { ca: next.cert })).status).toBe(200);
    expect(
      await get(ann).then(
        () => "answered",
        () => "refused",
      ),
    ).toBe("refused");
    client.socket.destroy();
  });

  test("says why it is shut where its port is another program's", async () => {
    const other = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
    const { port } = other;
    const log: Log = { error: (event) => void told.push(event), warn() {}, info() {}, debug() {} };
    let nowMs = 0;
    const shut = new CertificateDoor({
      api: { handle: async () => new Response("ok") },
      listen: { host: "127.0.0.1", port },
      directory,
      clock: { ...realClock, nowMs: () => nowMs },
      log,
    });
    shut.show(own.cert, own.key);
    shut.trust(authority.pem);
    shut.trust(authority.pem);
    expect([shut.port, shut.problem]).toEqual([
      null,
      expect.stringContaining(`127.0.0.1:${port} ([api] certificate-listen): the port is in use`),
    ]);
    other.stop(true);
    nowMs = 10_000;
    shut.trust(authority.pem);
    expect([shut.port, shut.problem, told]).toEqual([port, null, ["api.certificates-not-taken"]]);
    shut.stop();
  });

  test("is not kept by a client that asks for nothing, or for half of it", async () => {
    const api: Api = { handle: async () => new Response("ok") };
    const log: Log = { error() {}, warn() {}, info() {}, debug() {} };
    const listen = { host: "127.0.0.1", port: 0 };
    door.stop();
    door = new CertificateDoor({ api, listen, directory, firstAnswerMs: 200, clock: realClock, log });
    open();
    const [silent, halting, asking] = [standing(ann), standing(ann), standing(bob)];
    await asking.ask("/");
    halting.socket.write("GET / HT");
    await Promise.all([silent.ended, halting.ended]);
    await asking.ask("/again");
    asking.socket.destroy();
  });

  test("leaves nothing behind, and no way in beside it", async () => {
    open();
    const client = standing(ann);
    await client.ask("/");
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(readdirSync(directory)).toEqual([]);
    door.stop();
    await client.ended;
    expect(existsSync(directory)).toBe(false);
  });
});
