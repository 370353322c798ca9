/** The way to a syslog daemon. What cannot be handed over rejects; nothing is kept here, and nothing waits without an end. */
import { createSocket } from "node:dgram";
import { closeSync, readFileSync } from "node:fs";
import type { Clock } from "../base/clock.ts";
import { within } from "../base/within.ts";
import { openDatagram, sendDatagram } from "../supervisor/libc.ts";
import { framed } from "./syslog-message.ts";
import type { SyslogConfig, SyslogTarget } from "./syslog-target.ts";

export interface SyslogLink {
  /** Resolves once it is out of our hands, which is all that the protocol knows: no daemon acknowledges anything. */
  send(message: string): Promise<void>;
  close(): void;
}

const CONNECT_MS = 5_000;
const SEND_MS = 5_000;
/** A daemon that is slow to read is asked again so often. */
const RETRY_MS = 10;

/** @throws {Error} with why the daemon cannot be reached. */
export function openSyslog({ target, caFile }: SyslogConfig, clock: Clock): Promise<SyslogLink> {
  if (target.kind === "unix") return openUnix(target.path, clock);
  if (target.kind === "udp") return openUdp(target, clock);
  return openStream(target, caFile, clock);
}

async function openUnix(path: string, clock: Clock): Promise<SyslogLink> {
  const file = openDatagram(path);
  if (typeof file === "string") throw new Error(file);
  let isOpen = true;
  return {
    async send(message) {
      const untilMs = clock.nowMs() + SEND_MS;
      while (isOpen) {
        const sent = sendDatagram(file, Buffer.from(message));
        if (sent === "sent") return;
        if (sent !== "full") throw new Error(sent);
        if (clock.nowMs() >= untilMs) throw new Error("it does not read what is sent");
        await clock.sleep(RETRY_MS);
      }
      throw new Error("the way to it is closed");
    },
    close() {
      if (isOpen) closeSync(file);
      isOpen = false;
    },
  };
}

type Remote = Exclude<SyslogTarget, { kind: "unix" }>;

async function openUdp({ host, port }: Remote, clock: Clock): Promise<SyslogLink> {
  const socket = createSocket({ type: host.includes(":") ? "udp6" : "udp4" });
  let failure: Error | null = null;
  let isOpen = true;
  // What was sent before may have found nobody: the next one is told.
  socket.on("error", (error) => {
    failure = error;
  });
  const connected = new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.connect(port, host, () => resolve());
  });
  try {
    await within(connected, CONNECT_MS, { clock, what: host });
  } catch (error) {
    socket.close();
    throw error;
  }
  return {
    send(message) {
      if (failure !== null) return Promise.reject(failure);
      return new Promise((resolve, reject) =>
        socket.send(message, (error) => (error == null ? resolve() : reject(error))),
      );
    },
    close() {
      failure ??= new Error("the way to it is closed");
      if (isOpen) socket.close();
      isOpen = false;
    },
  };
}

interface Stream {
  write(bytes: Uint8Array): number;
  end(): void;
  terminate(): void;
}

/** Over TLS the daemon's certificate has to be of the authority, and for the name. */
async function openStream(
  { kind, host, port }: Remote,
  caFile: string | null,
  clock: Clock,
): Promise<SyslogLink> {
  const ready = Promise.withResolvers<void>();
  const state: { failure: Error | null; onDrain: () => void } = { failure: null, onDrain: () => {} };
  const fail = (error: Error) => {
    state.failure ??= error;
    ready.reject(state.failure);
    state.onDrain();
  };
  ready.promise.catch(() => {
    // Nobody may be waiting for it when it fails: the next send is told.
  });
  const tls = kind === "tls" ? { serverName: host, ...authorityIn(caFile) } : null;
  const connecting = Bun.connect({
    hostname: host,
    port,
    ...(tls === null ? {} : { tls }),
    socket: {
      data: () => undefined,
      open: () => {
        if (tls === null) ready.resolve();
      },
      handshake(_socket, isAuthorized, error) {
        if (isAuthorized) ready.resolve();
        else fail(new Error(`its certificate is not trusted: ${error?.message ?? "no reason is given"}`));
      },
      drain: () => state.onDrain(),
      end: () => fail(new Error("it closed the connection")),
      close: () => fail(new Error("the connection is closed")),
      error: (_socket, error) => fail(error),
    },
  });
  const socket: Stream = await within(connecting, CONNECT_MS, { clock, what: host }).catch(
    (error: unknown) => {
      connecting.then(
        (late) => late.terminate(),
        () => undefined,
      );
      throw error;
    },
  );
  try {
    await within(ready.promise, CONNECT_MS, { clock, what: host });
  } catch (error) {
    socket.terminate();
    throw error;
  }
  return {
    async send(message) {
      await within(writeAll(socket, Buffer.from(framed(message)), state), SEND_MS, { clock, what: host });
    },
    close: () => {
      fail(new Error("the way to it is closed"));
      socket.end();
    },
  };
}

async function writeAll(
  socket: Stream,
  bytes: Uint8Array,
  state: { readonly failure: Error | null; onDrain: () => void },
): Promise<void> {
  for (let written = 0; written < bytes.byteLength; ) {
    if (state.failure !== null) throw state.failure;
    const drained = new Promise<void>((resolve) => {
      state.onDrain = resolve;
    });
    const taken = socket.write(bytes.subarray(written));
    if (taken < 0) throw new Error("the connection is closed");
    written += taken;
    if (written < bytes.byteLength) await drained;
  }
}

function authorityIn(caFile: string | null): { readonly ca?: string } {
  return caFile === null ? {} : { ca: readFileSync(caFile, "utf8") };
}
