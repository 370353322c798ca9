import { afterEach, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { connect, type TLSSocket } from "node:tls";
import type { ClusterId, LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import type { Log } from "../../../src/base/log.ts";
import type { MemberStatus } from "../../../src/cluster/observation.ts";
import { createAuthority } from "../../../src/peer/certificates.ts";
import type { ConnectionLimits } from "../../../src/peer/connection.ts";
import { encodeFrame, FRAME_BYTES_MAX, FrameReader } from "../../../src/peer/frame.ts";
import { decodeMessage } from "../../../src/peer/message-codec.ts";
import { PeerError } from "../../../src/peer/peer-error.ts";
import { type PeerIdentity, PeerTransport, type TransportEvents } from "../../../src/peer/transport.ts";
import type { Message } from "../../../src/raft/engine/message.ts";
import { CLUSTER, M1, M2 } from "../store/sample.ts";
import { freePort, identityFor } from "./identities.ts";

const authority = await createAuthority(CLUSTER, Date.now());
const open: { close(): void }[] = [];
afterEach(() => {
  for (const item of open.splice(0)) item.close();
});

/** What happened, and a way to wait for it. */
class Journal {
  readonly lines: string[] = [];
  readonly #waiting: (() => void)[] = [];

  add(line: string): void {
    this.lines.push(line);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Resolves with the line that matches, from the `skip`th on. */
  async saw(pattern: RegExp, skip = 0): Promise<string> {
    for (;;) {
      const line = this.lines.slice(skip).find((candidate) => pattern.test(candidate));
      if (line !== undefined) return line;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }
}

interface Peer {
  readonly transport: PeerTransport;
  readonly journal: Journal;
  readonly messages: Message[];
  readonly address: string;
}

async function start(
  identity: PeerIdentity,
  port = freePort(),
  limits: Partial<ConnectionLimits> = {},
): Promise<Peer> {
  const journal = new Journal();
  const messages: Message[] = [];
  const write = (event: string, fields = {}) => journal.add(`${event} ${JSON.stringify(fields)}`);
  const log: Log = { error: write, warn: write, info: write, debug: write };
  const events: TransportEvents = {
    onMessage: (message) => {
      messages.push(message);
      journal.add(`message ${message.type}`);
    },
    onStatus: (from, { status }) => journal.add(`status ${from} ${status.sequence}`),
    onDigest: (from, digest) => journal.add(`digest ${from} ${digest.length}`),
    onCall: async (_, method, payload) => {
      if (method === "echo") return payload;
      if (method === "hang") return await new Promise(() => undefined);
      throw new Error(`what is ${method}?`);
    },
    onBulkCall: async (from, method, payload) => {
      journal.add(`bulk ${from} ${method}`);
      if (method !== "bytes") throw new Error(`what is ${method}?`);
      return new Uint8Array((payload as { count: number }).count).fill(7);
    },
    onRemoved: (from, index) => journal.add(`removed ${from} ${index}`),
    onHeard: () => undefined,
    onConnected: (id, isConnected) => journal.add(`${isConnected ? "connected" : "disconnected"} ${id}`),
  };
  const transport = new PeerTransport({ identity, listen: `127.0.0.1:${port}`, log, events, limits });
  open.push(transport);
  await transport.listen();
  return { transport, journal, messages, address: `127.0.0.1:${port}` };
}

async function pair(limits: Partial<ConnectionLimits> = {}): Promise<readonly [Peer, Peer]> {
  const one = await start(await identityFor(authority, CLUSTER, M1), freePort(), limits);
  const two = await start(await identityFor(authority, CLUSTER, M2), freePort(), limits);
  one.transport.setPeers([{ id: M2, address: two.address }]);
  two.transport.setPeers([{ id: M1, address: one.address }]);
  await Promise.all([one.journal.saw(/^connected/), two.journal.saw(/^connected/)]);
  return [one, two];
}

const heartbeat: Message = {
  type: "heartbeat",
  from: M1,
  to: M2,
  term: 3 as Term,
  commit: 1 as LogIndex,
  round: 1,
};

const status = {
  memberId: M1,
  bootId: "b",
  sequence: 4,
  postgres: { kind: "absent" },
  promises: { newestEpoch: 0, pledgedEpoch: 0, walEpoch: 0 },
  work: null,
  reason: "idle",
  detail: null,
  leading: null,
  version: "0",
} as unknown as MemberStatus;

describe("a new certificate", () => {
  test("is shown to whoever connects from then on; connections that stand go on", async () => {
    const [one, two] = await pair();
    const shown = () => shownBy(one.address);
    const before = await shown();
    const next = await identityFor(authority, CLUSTER, M1);
    one.transport.renew(next);
    expect(await shown()).not.toBe(before);
    expect(await shown()).toBe(new X509Certificate(next.certificatePem).serialNumber);
    one.transport.send(heartbeat);
    await two.journal.saw(/^message heartbeat/);
    expect(await two.transport.call(M1, "echo", "still", 2_000)).toBe("still");
    for (const { journal } of [one, two]) expect(journal.lines.join("\n")).not.toMatch(/^disconnected/m);
    const bulk = await one.transport.openBulk(M2);
    expect(await bulk.call("bytes", { count: 3 }, 2_000)).toEqual(new Uint8Array(3).fill(7));
    bulk.close();
  });

  test("of an earlier time is refused, until it is renewed", async () => {
    const old = await createAuthority(CLUSTER, daysAgo(900));
    const one = await start(await identityFor(old, CLUSTER, M1, daysAgo(800)), freePort());
    const two = await start(await identityFor(old, CLUSTER, M2), freePort());
    one.transport.setPeers([{ id: M2, address: two.address }]);
    two.transport.setPeers([{ id: M1, address: one.address }]);
    expect(one.transport.openBulk(M2)).rejects.toThrow();
    expect(two.transport.isConnected(M1)).toBe(false);
    one.transport.renew(await identityFor(old, CLUSTER, M1));
    await Promise.all([one.journal.saw(/^connected/), two.journal.saw(/^connected/)]);
  });
});

const daysAgo = (days: number) => Date.now() - days * 86_400_000;

/** The serial number of the certificate that somebody listens with. */
function shownBy(address: string): Promise<string> {
  const [host = "", port = ""] = address.split(":");
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), rejectUnauthorized: false });
    socket.on("error", reject);
    socket.once("secureConnect", () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
  });
}

describe("between members", () => {
  test("messages, statuses, digests, calls and refusals arrive", async () => {
    const [one, two] = await pair();
    const data = new Uint8Array(300_000).fill(5);
    const append: Message = {
      type: "append",
      from: M1,
      to: M2,
      term: 3 as Term,
      previous: { index: 0 as LogIndex, term: 0 as Term },
      commit: 0 as LogIndex,
      entries: [{ index: 1 as LogIndex, term: 3 as Term, kind: "command", data }],
    };
    for (const message of [heartbeat, append]) one.transport.send(message);
    await two.journal.saw(/^message append/);
    expect(two.messages).toEqual([heartbeat, append]);
    one.transport.sendStatus(M2, { status, ageMs: 3, host: null });
    one.transport.sendDigest(M2, [{ status, statusAgeMs: 1, heardAgeMs: 2, isConnected: true }]);
    expect(await two.journal.saw(/^status/)).toBe(`status ${M1} 4`);
    expect(await two.journal.saw(/^digest/)).toBe(`digest ${M1} 1`);
    expect(await two.transport.call(M1, "echo", { a: [1] }, 5000)).toEqual({ a: [1] });
    expect(await kindOf(two.transport.call(M1, "nonsense", null, 5000))).toBe("refused: what is nonsense?");
  });

  test("a peer that goes away is told at once, a call to it is lost, and it is found again", async () => {
    const [one, two] = await pair();
    const call = kindOf(one.transport.call(M2, "hang", null, 60_000));
    const before = one.journal.lines.length;
    two.transport.close();
    await one.journal.saw(/^disconnected/, before);
    expect(await call).toStartWith("lost");
    expect(await kindOf(one.transport.call(M2, "echo", null, 60_000))).toMatch(/^unreachable|^lost/);
    const again = await start(await identityFor(authority, CLUSTER, M2), Number(two.address.split(":")[1]));
    again.transport.setPeers([{ id: M1, address: one.address }]);
    await one.journal.saw(/^connected/, before);
    one.transport.send(heartbeat);
    await again.journal.saw(/^message heartbeat/);
  });

  test("a call has a deadline", async () => {
    const [one] = await pair();
    expect(await kindOf(one.transport.call(M2, "hang", null, 1))).toStartWith("deadline");
  });

  test("much at once arrives whole and in order", async () => {
    const [one] = await pair();
    const payload = "x".repeat(100_000);
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, at) => one.transport.call(M2, "echo", { at, payload }, 30_000)),
    );
    expect(answers).toEqual(Array.from({ length: 100 }, (_, at) => ({ at, payload })));
  });
});

describe("a bulk connection", () => {
  test("carries bytes as they are, beside the other one, and only what was asked for", async () => {
    const [one, two] = await pair();
    const bulk = await one.transport.openBulk(M2);
    expect(await bulk.call("bytes", { count: 3 }, 5000)).toEqual(new Uint8Array([7, 7, 7]));
    expect(await kindOf(bulk.call("nonsense", null, 5000))).toBe("refused: what is nonsense?");
    expect(two.journal.lines).toContain(`bulk ${M1} bytes`);
    // The other connection is still there, and nothing took it for lost.
    expect(await one.transport.call(M2, "echo", 1, 5000)).toBe(1);
    expect(two.journal.lines.join()).not.toContain("disconnected");
    bulk.close();
    expect(await kindOf(bulk.call("bytes", { count: 1 }, 5000))).toStartWith("unreachable");
    expect(one.transport.isConnected(M2)).toBe(true);
  });

  test("a second one from the same member takes the place of the first", async () => {
    const [one] = await pair();
    const first = await one.transport.openBulk(M2);
    const second = await one.transport.openBulk(M2);
    expect(await second.call("bytes", { count: 1 }, 5000)).toEqual(new Uint8Array([7]));
    expect(await kindOf(first.call("bytes", { count: 1 }, 5000))).toMatch(/^(lost|unreachable)/);
  });

  test("to a member that is not known, or not there, there is none", async () => {
    const [one, two] = await pair();
    const stranger = "00000000-0000-4000-8000-000000000009" as MemberId;
    expect(await kindOf(one.transport.openBulk(stranger))).toContain("no address");
    two.transport.close();
    await one.journal.saw(/^disconnected/);
    expect(await kindOf(one.transport.openBulk(M2))).toStartWith("unreachable: no bulk connection");
  });
});

describe("limits", () => {
  test("calls that wait for their answers", async () => {
    const [one] = await pair({ callsMax: 2 });
    const waiting = [1, 2].map(() => kindOf(one.transport.call(M2, "hang", null, 60_000)));
    expect(await kindOf(one.transport.call(M2, "echo", 1, 5000))).toStartWith("overloaded: 2 calls");
    one.transport.close();
    expect((await Promise.all(waiting)).every((answer) => answer.startsWith("lost"))).toBe(true);
  });

  test("calls that are being worked on", async () => {
    const [one] = await pair({ incomingCallsMax: 2 });
    const waiting = [1, 2].map(() => kindOf(one.transport.call(M2, "hang", null, 60_000)));
    expect(await kindOf(one.transport.call(M2, "echo", 1, 5000))).toStartWith("overloaded: 2 calls");
    one.transport.close();
    await Promise.all(waiting);
  });
});

test("a peer that takes nothing costs no memory: entries are dropped, signs of life overtake, then it is let go", async () => {
  const queueBytesMax = 1024 * 1024;
  const one = await start(await identityFor(authority, CLUSTER, M1), freePort(), { queueBytesMax });
  const socket = await dial(one.address, await identityFor(authority, CLUSTER, M2));
  socket.pause();
  const hello = { protocol: 1, clusterId: CLUSTER, memberId: M2 };
  socket.write(encodeFrame("hello", Buffer.from(JSON.stringify(hello))));
  while ((await kindOf(one.transport.call(M2, "echo", null, 1))).startsWith("unreachable"))
    await Bun.sleep(1);
  const data = new Uint8Array(200_000);
  for (let index = 1; index <= 300; index += 1) {
    one.transport.send({
      type: "append",
      from: M1,
      to: M2,
      term: 3 as Term,
      previous: { index: (index - 1) as LogIndex, term: 3 as Term },
      commit: 0 as LogIndex,
      entries: [{ index: index as LogIndex, term: 3 as Term, kind: "command", data }],
    });
  }
  one.transport.send(heartbeat);
  const indexes: (number | "heartbeat")[] = [];
  const reader = new FrameReader();
  await new Promise<void>((resolve) => {
    socket.on("data", (chunk: Uint8Array) => {
      for (const { kind, payload } of reader.push(chunk)) {
        if (kind !== "raft") continue;
        const message = decodeMessage(payload, M1, M2);
        indexes.push(message.type === "append" ? (message.entries[0]?.index ?? 0) : "heartbeat");
      }
      if (indexes.at(-1) === 300) resolve();
    });
    socket.resume();
  });
  expect(indexes.length).toBeLessThan(300);
  expect(indexes.indexOf("heartbeat")).toBeLessThan(indexes.length - 4);
  socket.pause();
  const answers = Array.from({ length: 300 }, () =>
    kindOf(one.transport.call(M2, "echo", "x".repeat(200_000), 60_000)),
  );
  expect((await Promise.all(answers)).every((answer) => /^lost|^unreachable/.test(answer))).toBe(true);
  socket.destroy();
});

describe("a member that was removed", () => {
  test("is told when it comes, and not taken in", async () => {
    const one = await start(await identityFor(authority, CLUSTER, M1));
    one.transport.setRemoved(new Map([[M2, 17 as LogIndex]]));
    const two = await start(await identityFor(authority, CLUSTER, M2));
    two.transport.setPeers([{ id: M1, address: one.address }]);
    expect(await two.journal.saw(/^removed/)).toBe(`removed ${M1} 17`);
    expect(await one.journal.saw(/^peer.refused/)).toContain("removed from the cluster by entry 17");
    await two.journal.saw(/^disconnected/);
    expect(await kindOf(one.transport.call(M2, "echo", 1, 5000))).toStartWith("unreachable");
  });

  test("is told at once where it is connected", async () => {
    const [one, two] = await pair();
    one.transport.setRemoved(new Map([[M2, 18 as LogIndex]]));
    one.transport.setPeers([]);
    expect(await two.journal.saw(/^removed/)).toBe(`removed ${M1} 18`);
    expect(two.journal.lines.filter((line) => line.startsWith("removed"))).toHaveLength(1);
  });
});

describe("another authority", () => {
  test("comes in the place of the present one, and at no moment does anybody refuse anybody", async () => {
    const next = await createAuthority(CLUSTER, Date.now(), authority.certificatePem);
    const both = `${authority.certificatePem}${next.certificatePem}`;
    const [ofOne, ofTwo] = [
      await identityFor(authority, CLUSTER, M1),
      await identityFor(authority, CLUSTER, M2),
    ];
    const one = await start(ofOne);
    const two = await start(ofTwo);
    one.transport.setPeers([{ id: M2, address: two.address }]);
    two.transport.setPeers([{ id: M1, address: one.address }]);
    await Promise.all([one.journal.saw(/^connected/), two.journal.saw(/^connected/)]);
    const [nextOne, nextTwo] = [await identityFor(next, CLUSTER, M1), await identityFor(next, CLUSTER, M2)];
    // A connection of its own in both directions after each step: what stands proves nothing.
    const steps = [
      () => one.transport.renew({ ...ofOne, authorityPem: both }),
      () => two.transport.renew({ ...ofTwo, authorityPem: both }),
      () => two.transport.renew({ ...nextTwo, authorityPem: both }),
      () => one.transport.renew({ ...nextOne, authorityPem: both }),
      () => one.transport.renew(nextOne),
      () => two.transport.renew(nextTwo),
    ];
    for (const step of steps) {
      step();
      for (const [from, to] of [
        [one, M2],
        [two, M1],
      ] as const) {
        const bulk = await from.transport.openBulk(to);
        expect(await bulk.call("bytes", { count: 3 }, 2_000)).toEqual(new Uint8Array(3).fill(7));
        bulk.close();
      }
    }
    for (const { journal } of [one, two]) {
      expect(journal.lines.join("\n")).not.toMatch(/^(disconnected|peer.refused|peer.unreachable)/m);
    }
  });

  test("tells a member that was away for all of it what to do", async () => {
    const next = await createAuthority(CLUSTER, Date.now(), authority.certificatePem);
    const late = await start(await identityFor(authority, CLUSTER, M1));
    const two = await start(await identityFor(next, CLUSTER, M2));
    late.transport.setPeers([{ id: M2, address: two.address }]);
    expect(await late.journal.saw(/^peer.unreachable/)).toContain(
      "join as a new member, with an empty data-dir",
    );
  });
});

describe("strangers", () => {
  test("an authority that is not ours is refused, by both sides", async () => {
    const foreign = await createAuthority(CLUSTER, Date.now());
    const one = await start(await identityFor(authority, CLUSTER, M1));
    const two = await start(await identityFor(foreign, CLUSTER, M2));
    one.transport.setPeers([{ id: M2, address: two.address }]);
    await one.journal.saw(/^peer.unreachable/);
    one.transport.setPeers([]);
    two.transport.setPeers([{ id: M1, address: one.address }]);
    await two.journal.saw(/^peer.unreachable/);
    expect(one.journal.lines.join()).not.toContain("connected 0");
  });

  test("our authority but another cluster is refused", async () => {
    const other = "22222222-2222-4222-8222-222222222222" as ClusterId;
    const foreign = await createAuthority(other, Date.now());
    const one = await start(await identityFor(authority, CLUSTER, M1));
    const mixed = await identityFor(foreign, other, M2);
    const two = await start({
      ...mixed,
      authorityPem: `${foreign.certificatePem}${authority.certificatePem}`,
    });
    one.transport.setPeers([{ id: M2, address: two.address }]);
    expect(await one.journal.saw(/^peer.unreachable/)).toContain(two.address);
  });

  test("a member that was left behind when the group was recovered is refused, by both sides", async () => {
    const one = await start({ ...(await identityFor(authority, CLUSTER, M1)), recoveryEpoch: 1 });
    const two = await start(await identityFor(authority, CLUSTER, M2));
    one.transport.setPeers([{ id: M2, address: two.address }]);
    two.transport.setPeers([{ id: M1, address: one.address }]);
    for (const { journal } of [one, two]) {
      await journal.saw(/^peer.(unreachable|refused) .*recovery epoch/);
      expect(journal.lines.join()).not.toContain("connected 0");
    }
  });

  test("the wrong member at an address is refused", async () => {
    const expected = "00000000-0000-4000-8000-000000000009" as MemberId;
    const one = await start(await identityFor(authority, CLUSTER, M1));
    const two = await start(await identityFor(authority, CLUSTER, M2));
    one.transport.setPeers([{ id: expected, address: two.address }]);
    expect(await one.journal.saw(/^peer.unreachable/)).toContain(`member ${M2} answers`);
  });

  test("a hello that contradicts the certificate, an oversized frame and nonsense close the connection", async () => {
    const one = await start(await identityFor(authority, CLUSTER, M1));
    const hello = (memberId: MemberId, protocol = 1) =>
      encodeFrame("hello", Buffer.from(JSON.stringify({ protocol, clusterId: CLUSTER, memberId })));
    const oversized = new Uint8Array(5);
    new DataView(oversized.buffer).setUint32(0, FRAME_BYTES_MAX + 1);
    const greeting = (fields: object) => encodeFrame("hello", Buffer.from(JSON.stringify(fields)));
    const attempts: readonly [readonly Uint8Array[], string][] = [
      [[greeting({ protocol: 1, clusterId: "other", memberId: M2 })], "belongs to cluster other"],
      [[greeting({ protocol: 1, clusterId: CLUSTER, memberId: M2, recoveryEpoch: 3 })], "recovery epoch 3"],
      [[greeting({ protocol: 1 })], "does not say who speaks"],
      [[hello(M1)], "its certificate says"],
      [[hello(M2, 99)], "speaks version 99"],
      [[hello(M2), oversized], "are allowed"],
      [[hello(M2), encodeFrame("raft", new Uint8Array([3]))], "ends too early"],
      [[hello(M2), encodeFrame("status", Buffer.from("{}"))], "is not an object"],
      [[hello(M2), encodeFrame("digest", Buffer.from("{"))], "is not JSON"],
      [[encodeFrame("ping", new Uint8Array())], "before hello"],
    ];
    for (const [frames, reason] of attempts) {
      const before = one.journal.lines.length;
      const socket = await dial(one.address, await identityFor(authority, CLUSTER, M2));
      const closed = new Promise((resolve) => socket.once("close", resolve));
      for (const frame of frames) socket.write(frame);
      expect(await one.journal.saw(/^peer.(malformed|refused)/, before)).toContain(reason);
      await closed;
    }
  });

  test("a client without a certificate gets nothing", async () => {
    const one = await start(await identityFor(authority, CLUSTER, M1));
    const [host, port] = one.address.split(":");
    const socket = connect({ host: host ?? "", port: Number(port), ca: authority.certificatePem });
    socket.on("error", () => undefined);
    const bytes: Uint8Array[] = [];
    socket.on("data", (chunk: Uint8Array) => bytes.push(chunk));
    await new Promise((resolve) => socket.once("close", resolve));
    expect(bytes).toEqual([]);
  });

  test("a port in use is refused with its address", async () => {
    const identity = await identityFor(authority, CLUSTER, M1);
    const one = await start(identity);
    await expect(start(identity, Number(one.address.split(":")[1]))).rejects.toThrow(
      `listen for other members on ${one.address}`,
    );
  });
});

function dial(address: string, identity: PeerIdentity): Promise<TLSSocket> {
  const [host, port] = address.split(":");
  const socket = connect({
    host: host ?? "",
    port: Number(port),
    cert: identity.certificatePem,
    key: identity.privateKeyPem,
    ca: identity.authorityPem,
  });
  socket.on("error", () => undefined);
  socket.resume();
  return new Promise((resolve) => socket.once("secureConnect", () => resolve(socket)));
}

async function kindOf(call: Promise<unknown>): Promise<string> {
  try {
    return `answered: ${JSON.stringify(await call)}`;
  } catch (error) {
    return error instanceof PeerError ? `${error.kind}: ${error.message}` : String(error);
  }
}
