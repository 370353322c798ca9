/** Syslog daemons that keep what they get: over a Unix socket's datagrams, UDP, TCP and TLS, read as the RFCs say. */
import { dlopen, FFIType, ptr } from "bun:ffi";
import { createSocket } from "node:dgram";
import { closeSync, rmSync } from "node:fs";
import type { Socket } from "bun";

export interface SyslogReceiver {
  /** Whole messages, in the order of their arrival. */
  readonly messages: string[];
  /** As the host's file says where it is. */
  readonly target: string;
  close(): void;
}

const LIBRARIES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];
const SYMBOLS = {
  socket: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  bind: { args: [FFIType.i32, FFIType.ptr, FFIType.u32], returns: FFIType.i32 },
  recv: { args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32], returns: FFIType.i64 },
} as const;
const MSG_DONTWAIT = 0x40;

function libc() {
  for (const library of LIBRARIES) {
    try {
      return dlopen(library, SYMBOLS);
    } catch {
      // Another C library may be here.
    }
  }
  throw new Error("no C library");
}

/** @param reads false: it listens and never reads. */
export function receiveUnix(path: string, reads = true): SyslogReceiver {
  const { symbols } = libc();
  const file = symbols.socket(1, 2, 0);
  const name = Buffer.from(`${path}\0`);
  const address = Buffer.alloc(2 + name.byteLength);
  address.writeUInt16LE(1, 0);
  name.copy(address, 2);
  if (symbols.bind(file, ptr(address), address.byteLength) !== 0) throw new Error(`no socket at ${path}`);
  const messages: string[] = [];
  const buffer = Buffer.alloc(70_000);
  const read = () => {
    while (true) {
      const count = Number(symbols.recv(file, ptr(buffer), BigInt(buffer.byteLength), MSG_DONTWAIT));
      if (count < 0) return;
      messages.push(buffer.subarray(0, count).toString());
    }
  };
  const timer = reads ? setInterval(read, 5) : null;
  return {
    messages,
    target: `unix:${path}`,
    close() {
      if (timer !== null) clearInterval(timer);
      closeSync(file);
      rmSync(path, { force: true });
    },
  };
}

export async function receiveUdp(): Promise<SyslogReceiver> {
  const messages: string[] = [];
  const socket = createSocket("udp4");
  socket.on("message", (message) => void messages.push(message.toString()));
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  const { port } = socket.address();
  return { messages, target: `udp://127.0.0.1:${port}`, close: () => socket.close() };
}

/** @param tls certificate and key. Absent: in the clear. */
export function receiveStream(
  tls: { readonly cert: string; readonly key: string } | null = null,
  port = 0,
): SyslogReceiver {
  const messages: string[] = [];
  const sockets = new Set<Socket<{ text: string }>>();
  const listener = Bun.listen<{ text: string }>({
    hostname: "127.0.0.1",
    port,
    ...(tls === null ? {} : { tls }),
    socket: {
      open(socket) {
        socket.data = { text: "" };
        sockets.add(socket);
      },
      data(socket, bytes) {
        socket.data.text += bytes.toString();
        while (true) {
          // With its length before it (RFC 6587).
          const [head = "", digits = ""] = /^(\d{1,6}) /.exec(socket.data.text) ?? [];
          const end = head.length + Number(digits);
          if (head === "" || socket.data.text.length < end) return;
          messages.push(socket.data.text.slice(head.length, end));
          socket.data.text = socket.data.text.slice(end);
        }
      },
      close: (socket) => void sockets.delete(socket),
    },
  });
  return {
    messages,
    target: `${tls === null ? "tcp" : "tls"}://127.0.0.1:${listener.port}`,
    close() {
      for (const socket of sockets) socket.terminate();
      listener.stop(true);
    },
  };
}

/** A message taken apart as a host's own daemon does it. @throws {Error} where it is none of `syslog(3)`. */
export function parseLocalSyslog(message: string) {
  const found =
    /^<(\d{1,3})>([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) ([^ :[\]]{1,32})\[(\d+)\]: (\S+) (.*)$/s.exec(
      message,
    );
  if (found === null) throw new Error(`no message of syslog(3): ${message}`);
  const [, priority, time, app, processId, messageId = "", text = ""] = found;
  return {
    facility: Math.floor(Number(priority) / 8),
    severity: Number(priority) % 8,
    time,
    app,
    processId,
    messageId,
    content: JSON.parse(text) as Record<string, unknown>,
  };
}

/** A message taken apart by the grammar of RFC 5424, section 6. @throws {Error} where it does not follow it. */
export function parseSyslog(message: string) {
  const word = "([\\x21-\\x7e]{1,255})";
  const id = '[^\\x00-\\x20\\x7f-\\uffff="\\]]{1,32}';
  const element = `\\[${id}(?: ${id}="(?:[^"\\\\\\]]|\\\\["\\\\\\]])*")*\\]`;
  const grammar = `^<(\\d{1,3})>1 (\\S+) ${word} ${word} ${word} ${word} ((?:${element})+|-)(?: (.*))?$`;
  const found = new RegExp(grammar, "s").exec(message);
  if (found === null) throw new Error(`no message of RFC 5424: ${message}`);
  const [, priority, time = "", host, app, processId, messageId = "", data = "", text = ""] = found;
  if (Number.isNaN(Date.parse(time))) throw new Error(`no time: ${time}`);
  return {
    facility: Math.floor(Number(priority) / 8),
    severity: Number(priority) % 8,
    atMs: Date.parse(time),
    host,
    app,
    processId,
    messageId,
    sequence: Number(/\[meta sequenceId="(\d+)"\]/.exec(data)?.[1]),
    content: JSON.parse(text) as Record<string, unknown>,
  };
}
