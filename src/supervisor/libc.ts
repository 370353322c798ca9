import { dlopen, FFIType, ptr } from "bun:ffi";

/**
 * The system calls that neither Bun nor Node offers: a lock that dies with its holder, a handle on a process that is not
 * our child, and the burial of an orphan that became our child.
 */
const SYMBOLS = {
  flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  syscall: { args: [FFIType.i64, FFIType.i64, FFIType.i64], returns: FFIType.i64 },
  poll: { args: [FFIType.ptr, FFIType.u64, FFIType.i32], returns: FFIType.i32 },
  ioctl: { args: [FFIType.i32, FFIType.u64, FFIType.ptr], returns: FFIType.i32 },
  clock_gettime: { args: [FFIType.i32, FFIType.ptr], returns: FFIType.i32 },
  waitpid: { args: [FFIType.i32, FFIType.ptr, FFIType.i32], returns: FFIType.i32 },
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
