/** `make simulate-long ARGS=cluster`: one history of a cluster after the other, until one breaks a promise. */
import { liveWhole } from "./history.ts";

const TOLD_EVERY = 500;

const from = Number(
  /^--from=(\d+)$/.exec(process.argv.find((each) => each.startsWith("--from=")) ?? "")?.[1] ?? 1,
);
let failovers = 0;
let acknowledged = 0;
for (let seed = from; ; seed += 1) {
  try {
    const world = liveWhole(seed);
    failovers += world.failovers;
    acknowledged += world.acknowledgedCount;
  } catch (error) {
    process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.stdout.write(`again: make simulate SEED=${seed}\n`);
    process.exit(1);
  }
  if (seed % TOLD_EVERY === 0) {
    process.stdout.write(
      `${seed - from + 1} histories, ${failovers} failovers, ${acknowledged} acknowledged\n`,
    );
  }
}
