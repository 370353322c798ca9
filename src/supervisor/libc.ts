import { dlopen, FFIType, ptr, read } from "bun:ffi";
import { closeSync } from "node:fs";

/**
 * The system calls that neither Bun nor Node offers: a lock that dies with its holder, a handle on a process that is not
 * our child, the burial of an orphan that became our child, and datagrams over a Unix socket.
 */
const SYMBOLS = {
  flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  syscall: { args: [FFIType.i64, FFIType.i64, FFIType.i64], returns: FFIType.i64 },
  poll: { args: [FFIType.ptr, FFIType.u64, FFIType.i32], returns: FFIType.i32 },
  ioctl: { args: [FFIType.i32, FFIType.u64, FFIType.ptr], returns: FFIType.i32 },
  clock_gettime: { args: [FFIType.i32, FFIType.ptr], returns: FFIType.i32 },
  waitpid: { args: [FFIType.i32, FFIType.ptr, FFIType.i32], returns: FFIType.i32 },
  socket: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  connect: { args: [FFIType.i32, FFIType.ptr, FFIType.u32], returns: FFIType.i32 },
  send: { args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32], returns: FFIType.i64 },
  __errno_location: { args: [], returns: FFIType.ptr },
} as const;

const LIBRARIES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

const LOCK_EX = 2;
const LOCK_NB = 4;
/** The same number on every architecture. */
const SYS_PIDFD_OPEN = 434;
const POLLIN = 1;
const WNOHANG = 1;
const CLOCK_BOOTTIME = 7;

const libc = load();

function load(): ReturnType<typeof dlopen<typeof SYMBOLS>> {
  const failures: string[] = [];
  for (const library of LIBRARIES) {
    try {
      return dlopen(library, SYMBOLS);
    } catch (error) {
      failures.push(String(error));
    }
  }
  throw new Error(`the C library could not be loaded: ${failures.join("; ")}`);
}

/** Takes an exclusive lock that ends with the file descriptor or the process. False: somebody else holds it. */
export function tryLock(fileDescriptor: number): boolean {
  return libc.symbols.flock(fileDescriptor, LOCK_EX | LOCK_NB) === 0;
}

/** A descriptor for the process, immune to reuse of its id. Null: no such process, or a kernel before 5.3. */
export function openProcess(pid: number): number | null {
  const fileDescriptor = Number(libc.symbols.syscall(BigInt(SYS_PIDFD_OPEN), BigInt(pid), 0n));
  return fileDescriptor >= 0 ? fileDescriptor : null;
}

const pollRequest = new DataView(new ArrayBuffer(8));
const pollPointer = ptr(new Uint8Array(pollRequest.buffer));

/** True once the process behind a descriptor of `openProcess` is gone. Does not wait; costs less than a microsecond. */
export function hasProcessEnded(fileDescriptor: number): boolean {
  pollRequest.setInt32(0, fileDescriptor, true);
  pollRequest.setInt16(4, POLLIN, true);
  pollRequest.setInt16(6, 0, true);
  return libc.symbols.poll(pollPointer, 1n, 0) === 1;
}

const timespec = new BigInt64Array(2);

/**
 * Milliseconds since this host booted, sleep included: one time for every process on it, which no wall clock's setting moves
 * (`CLOCK_BOOTTIME`).
 */
export function hostUptimeMs(): number {
  if (libc.symbols.clock_gettime(CLOCK_BOOTTIME, ptr(timespec)) !== 0)
    throw new Error("this kernel has no CLOCK_BOOTTIME");
  const [seconds = 0n, nanoseconds = 0n] = timespec;
  return Number(seconds) * 1_000 + Number(nanoseconds) / 1e6;
}

const ioctlValue = new Int32Array(1);

/** An `ioctl` that takes and gives one integer. Null: whatever is open there does not know it. */
export function ioctlInteger(fileDescriptor: number, request: number, value: number): number | null {
  ioctlValue[0] = value;
  const isDone = libc.symbols.ioctl(fileDescriptor, BigInt(request), ptr(ioctlValue)) === 0;
  return isDone ? (ioctlValue[0] ?? null) : null;
}

/** Takes note of the end of a child, so that its entry in the process table goes. False: it still runs, or is no child. */
export function buryChild(pid: number): boolean {
  return libc.symbols.waitpid(pid, null, WNOHANG) === pid;
}

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** The same numbers on every architecture that we are built for. */
const ENOENT = 2;
const EAGAIN = 11;
const EACCES = 13;
const ENOBUFS = 105;
const ECONNREFUSED = 111;
const EMSGSIZE = 90;
const EPROTOTYPE = 91;
const WHY: Readonly<Record<number, string>> = {
  [ENOENT]: "there is no such socket",
  [EACCES]: "this user may not write to it",
  [EMSGSIZE]: "the message is longer than it takes",
  [EPROTOTYPE]: "it is no socket for datagrams",
  [ECONNREFUSED]: "nobody listens there",
};

/** A descriptor through which datagrams go to the Unix socket at a path (`@NAME`: of no path); a text says why there is none. */
export function openDatagram(path: string): number | string {
  const file = libc.symbols.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (file < 0) return whyNot();
  const name = Buffer.from(path.startsWith("@") ? `\0${path.slice(1)}` : `${path}\0`);
  const address = Buffer.alloc(2 + name.byteLength);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  if (libc.symbols.connect(file, ptr(address), address.byteLength) === 0) return file;
  const why = whyNot();
  closeSync(file);
  return why;
}

/** `full`: its reader is slow, and nothing was sent; never waits for it. Another text says why nothing was sent. */
export function sendDatagram(fileDescriptor: number, bytes: Uint8Array): "sent" | "full" | string {
  const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  const sent = libc.symbols.send(fileDescriptor, ptr(bytes), BigInt(bytes.byteLength), flags);
  if (Number(sent) === bytes.byteLength) return "sent";
  const code = errorNumber();
  return code === EAGAIN || code === ENOBUFS ? "full" : whyNot(code);
}

function whyNot(code = errorNumber()): string {
  return WHY[code] ?? `error ${code} of the system`;
}

function errorNumber(): number {
  const at = libc.symbols.__errno_location();
  return at === null ? 0 : read.i32(at, 0);
}
