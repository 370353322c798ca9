import { closeSync, constants, openSync, writeSync } from "node:fs";
import { ioctlInteger } from "./libc.ts";

/** The Linux watchdog device (`Documentation/watchdog/watchdog-api.rst`). It counts from the moment it is opened. */
export interface WatchdogDevice {
  /** @returns the seconds it took: a driver may only know some. @throws {Error} if it takes none. */
  setTimeout(seconds: number): number;
  /** Counts anew. */
  feed(): void;
  /** Does not count any more, unless the kernel forbids that (`nowayout`); and is closed. */
  disarm(): void;
}

/** `_IOWR('W', 6, int)` and its neighbours; the same on every architecture we run on. */
const WDIOC_SETTIMEOUT = 0xc0045706;
const WDIOC_GETTIMEOUT = 0x80045707;
const WDIOC_SETPRETIMEOUT = 0xc0045708;
const FEED = "\0";
/** Written last, it says that the close is meant. */
const MAGIC_CLOSE = "V";

/** Opens the device. @throws {Error} if it is not there, held by somebody else, or not ours to open. */
export function openWatchdogDevice(path: string): WatchdogDevice {
  // Never made where it is not there; and what is no device (a pipe without a reader) must not hold us up.
  const file = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  return {
    setTimeout: (seconds) => {
      if (ioctlInteger(file, WDIOC_SETTIMEOUT, seconds) === null)
        throw new Error(`${path} takes no timeout: is it a watchdog?`);
      // An early warning that somebody left set might do as much harm as the reset, and sooner. Few drivers know it.
      ioctlInteger(file, WDIOC_SETPRETIMEOUT, 0);
      const taken = ioctlInteger(file, WDIOC_GETTIMEOUT, 0);
      if (taken === null || taken < 1) throw new Error(`${path} does not say its timeout`);
      return taken;
    },
    feed: () => {
      writeSync(file, FEED);
    },
    disarm: () => {
      try {
        writeSync(file, MAGIC_CLOSE);
      } finally {
        closeSync(file);
      }
    },
  };
}
