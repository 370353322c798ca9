import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import type { CliPorts } from "./ports.ts";

/** Called with what the process should end with. */
type Finish = (exitCode: number) => void;

/** `guacamole run` */
export function runCommand(ports: CliPorts, finish: Finish) {
  return new Command("run")
    .summary("the member: control plane, API, and care for the PostgreSQL beside it")
    .description(
      "Runs the member until it is told to stop (SIGTERM, SIGINT). PostgreSQL goes on without it.\nA member that was never formed or joined waits for that; PostgreSQL is not touched.",
    )
    .option("--config <file>", "the member's own file (default: /etc/guacamole/guacamole.toml if it exists)")
    .addHelpText(
      "after",
      "\nEvery key of the file is also an environment variable: data-dir of [postgres] is GUACAMOLE_POSTGRES_DATA_DIR.\n\nExamples:\n  guacamole run --config guacamole.toml\n  GUACAMOLE_NAME=m1 GUACAMOLE_POSTGRES_DATA_DIR=/data guacamole run",
    )
    .action(async (options) => finish(await ports.run({ configPath: options.config ?? null })));
}

/** `guacamole supervise` */
export function superviseCommand(ports: CliPorts, finish: Finish) {
  return new Command("supervise")
    .summary("the small process beside PostgreSQL ('run' starts it by itself)")
    .description(
      "Runs PostgreSQL's programs for a member, which talks to it over a Unix socket. It decides nothing.\nOn a host 'guacamole run' starts it by itself; in a pod it is what the PostgreSQL container runs.",
    )
    .requiredOption("--socket <path>", "the Unix socket to listen on")
    .requiredOption("--data-dir <dir>", "PostgreSQL's data directory")
    .option("--bin-dir <dir>", "where PostgreSQL's programs are (default: found by itself)")
    .option("--container", "PostgreSQL ends, cleanly, with this process (assumed where it is process 1)")
    .option(
      "--watchdog <mode>",
      "whether a primary under a lease is watched: off, automatic, required",
      "off",
    )
    .option("--watchdog-device <path>", "the watchdog device", "/dev/watchdog")
    .action(async ({ socket, dataDir, binDir, container, watchdog, watchdogDevice }) =>
      finish(
        await ports.supervise({
          socketPath: socket,
          dataDir,
          binDir: binDir ?? null,
          isContainer: container === true,
          watchdog: { mode: watchdog, device: watchdogDevice },
        }),
      ),
    );
}

/** `guacamole demo` */
export function demoCommand(ports: CliPorts, finish: Finish) {
  return new Command("demo")
    .summary("a whole cluster on this machine, two failures, and a proof that nothing was lost")
    .description(
      "Starts three members on this machine in a temporary directory, writes to them, kills the primary and then a\nwhole member, and checks every acknowledged row. Needs nothing but PostgreSQL's programs; leaves nothing behind.",
    )
    .option("--keep", "leave the cluster running and say how to talk to it")
    .option("--plain", "lines instead of a live table")
    .option("--seconds <number>", "how long to write around each failure", parseSeconds, 5)
    .option("--bin-dir <dir>", "where PostgreSQL's programs are (default: found by itself)")
    .action(async ({ keep, plain, seconds, binDir }) =>
      finish(
        await ports.demo({
          isKept: keep === true,
          isPlain: plain === true,
          seconds,
          binDir: binDir ?? null,
        }),
      ),
    );
}

function parseSeconds(text: string): number {
  const seconds = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (seconds < 1) throw new InvalidArgumentError("Seconds are a whole number from 1 to 99999.");
  return seconds;
}
