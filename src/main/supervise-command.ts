/** `guacamole supervise`: looks after one PostgreSQL, until it is told to end. */
import type { SuperviseOptions } from "../cli/ports.ts";
import { findInstallation, inspectInstallation } from "../postgres/versions.ts";
import { runSupervisor } from "../supervisor/supervise.ts";
import { parseWatchdogMode, WATCHDOG_MODES } from "../supervisor/watchdog.ts";
import { jsonLog } from "./json-log.ts";
import { systemClock } from "./system-clock.ts";
import { EXIT_FAILED, EXIT_OK, EXIT_USAGE, fail, logLevel, shutdownSignal } from "./this-process.ts";

/** @returns the exit code. */
export async function supervise({
  socketPath,
  dataDir,
  binDir,
  isContainer,
  watchdog,
}: SuperviseOptions): Promise<number> {
  const installation =
    binDir === null ? findInstallation(process.env["PATH"] ?? "") : inspectInstallation(binDir);
  if (!installation.ok) return fail(installation.error, EXIT_USAGE);
  const mode = parseWatchdogMode(watchdog.mode);
  if (mode === null) return fail(`--watchdog must be one of ${WATCHDOG_MODES.join(", ")}`, EXIT_USAGE);
  try {
    await runSupervisor({
      dataDirectory: dataDir,
      binDirectory: installation.value.binDirectory,
      socketPath,
      clock: systemClock,
      log: jsonLog(logLevel(), { supervisor: dataDir }),
      shutdown: shutdownSignal,
      isContainer: isContainer || process.pid === 1,
      watchdog: { mode, device: watchdog.device },
    });
    return EXIT_OK;
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error), EXIT_FAILED);
  }
}
