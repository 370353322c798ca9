import { afterEach, expect, test } from "bun:test";
import { connect as connectPlainly } from "node:net";
import { connect } from "node:tls";
import { createAuthority } from "../../../src/peer/certificates.ts";
import {
  type Credentials,
  dialSecurely,
  listenSecurely,
  type SecureListener,
  type SecureSocket,
} from "../../../src/peer/secure-socket.ts";
import { CLUSTER, M1, M2 } from "../store/sample.ts";
import { identityFor } from "./identities.ts";

const authority = await createAuthority(CLUSTER, Date.now());
const foreign = await createAuthority(CLUSTER, Date.now());
const host = "127.0.0.1";
const listeners: SecureListener[] = [];
afterEach(() => {
  for (const listener of listeners.splice(0)) listener.stop();
});

async function credentials(signer: typeof authority, member: typeof M1): Promise<Credentials> {
  const identity = await identityFor(signer, CLUSTER, member);
  return {
    cert: identity.certificatePem,
    key: identity.privateKeyPem,
    ca: identity.authorityPem,
  };
}

interface Server {
  readonly port: number;
  readonly secure: SecureSocket[];
  readonly heard: number[];
  readonly refused: string[];
}

async function serve(deadlineMs: number, countMax = 100): Promise<Server> {
  const secure: SecureSocket[] = [];
  const heard: number[] = [];
  const refused: string[] = [];
  const listener = listenSecurely(
    { host, port: 0 },
    await credentials(authority, M1),
    { deadlineMs, countMax },
    {
      onSecure: (socket) => {
        secure.push(socket);
        socket.take({
          onData: (chunk) => heard.push(chunk.byteLength),
          onDrain: () => undefined,
          onClose: () => undefined,
        });
      },
      onRefused: (reason) => refused.push(reason),
    },
  );
  listeners.push(listener);
  return { port: listener.port, secure, heard, refused };
}

test("of many clients that another authority signed, or none, not one is told or heard", async () => {
  const server = await serve(5_000);
  const { cert, key } = await credentials(foreign, M2);
  const { ca } = await credentials(authority, M2);
  const attempts = Array.from({ length: 60 }, (_, at) => {
    const socket = connect({ host, port: server.port, ca, ...(at % 2 === 0 ? { cert, key } : {}) });
    socket.on("error", () => undefined);
    socket.on("data", () => undefined);
    // A client is done before the server has looked at its certificate: this is on its way already.
    socket.once("secureConnect", () => socket.write("let me in"));
    return new Promise<void>((resolve) => socket.once("close", () => resolve()));
  });
  await Promise.all(attempts);
  expect(server.refused).toHaveLength(60);
  expect([server.secure.length, server.heard.length]).toEqual([0, 0]);
});

test("who does not shake hands is let go", async () => {
  const server = await serve(20);
  const socket = connectPlainly({ host, port: server.port });
  socket.on("error", () => undefined);
  await new Promise<void>((resolve) => socket.once("close", () => resolve()));
  expect(server.refused).toEqual(["no handshake within 20 ms"]);
});

test("more clients at a time than may shake hands are turned away", async () => {
  const server = await serve(200, 3);
  const closed = Array.from({ length: 5 }, () => {
    const socket = connectPlainly({ host, port: server.port });
    socket.on("error", () => undefined);
    return new Promise<void>((resolve) => socket.once("close", () => resolve()));
  });
  await Promise.all(closed);
  expect(server.refused.toSorted()).toEqual([
    ...Array.from({ length: 2 }, () => "3 others have not shown a certificate yet"),
    ...Array.from({ length: 3 }, () => "no handshake within 200 ms"),
  ]);
});

test("what the other side is too slow for is kept, in order", async () => {
  const server = await serve(5_000);
  const total = 40 * 1024 * 1024;
  const own = await credentials(authority, M2);
  const sent = await new Promise<boolean[]>((resolve, reject) => {
    dialSecurely({ host, port: server.port }, own, {
      onFailed: (reason) => reject(new Error(reason)),
      onSecure: (socket) => {
        socket.take({
          onData: () => undefined,
          onDrain: () => resolve(wrote),
          onClose: (reason) => reject(new Error(reason)),
        });
        const wrote = Array.from({ length: 40 }, () => socket.write(new Uint8Array(total / 40)));
      },
    });
  });
  expect(sent).toContain(false);
  while (server.heard.reduce((sum, bytes) => sum + bytes, 0) < total) await Bun.sleep(1);
});

test("an attempt that was given up tells nothing any more", async () => {
  const server = await serve(5_000);
  const told: string[] = [];
  const own = await credentials(authority, M2);
  const giveUp = dialSecurely({ host, port: server.port }, own, {
    onFailed: (reason) => told.push(reason),
    onSecure: () => told.push("secure"),
  });
  giveUp();
  await new Promise<void>((resolve, reject) => {
    dialSecurely({ host, port: server.port }, own, {
      onFailed: (reason) => reject(new Error(reason)),
      onSecure: () => resolve(),
    });
  });
  expect(told).toEqual([]);
});
