/** The supervisor as a process, for tests that need no compiled binary: `supervise --socket … --data-dir … --bin-dir …`. */

import { parseArgs } from "node:util";
import { runSupervisor } from "../../src/supervisor/supervise.ts";
import { parseWatchdogMode } from "../../src/supervisor/watchdog.ts";
import { realClock, stderrLog } from "./postgres-clock.ts";

const { values } = parseArgs({
  args: process.argv.slice(2),
  options: {
    socket: { type: "string" },
    "data-dir": { type: "string" },
    "bin-dir": { type: "string" },
    watchdog: { type: "string" },
    "watchdog-device": { type: "string" },
  },
});
const shutdown = new AbortController();
process.on("SIGTERM", () => shutdown.abort());
try {
  await runSupervisor({
    dataDirectory: values["data-dir"] ?? "",
    binDirectory: values["bin-dir"] ?? "",
    socketPath: values.socket ?? null,
    clock: realClock,
    log: stderrLog,
    shutdown: shutdown.signal,
    isContainer: false,
    watchdog: {
      mode: parseWatchdogMode(values.watchdog ?? "off") ?? "off",
      device: values["watchdog-device"] ?? "/dev/null",
    },
  });
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
