/**
 * What a member does for a lease, and nothing else: says who it is, and has each stamp confirmed at once.
 * `--socket … --epoch … --lease-ms …`
 */
import { parseArgs } from "node:util";
import type { Epoch } from "../../src/base/ids.ts";
import { connectSupervisor } from "../../src/supervisor/client.ts";
import { processStartTicks } from "../../src/supervisor/process-table.ts";
import { realClock } from "./postgres-clock.ts";

const { values } = parseArgs({
  args: process.argv.slice(2),
  options: { socket: { type: "string" }, epoch: { type: "string" }, "lease-ms": { type: "string" } },
});
const DEADLINE_MS = 5_000;
const durationMs = Number(values["lease-ms"]);

const connected = await connectSupervisor({ socketPath: values.socket ?? "", clock: realClock });
if (!connected.ok) throw new Error(connected.error);
const supervisor = connected.value;
const startTicks = processStartTicks(process.pid) ?? 0;
await supervisor.request({ kind: "hello", pid: process.pid, startTicks }, DEADLINE_MS);
process.stdout.write(`member ${process.pid}\n`);
for (;;) {
  const seen = await supervisor.request({ kind: "look" }, DEADLINE_MS);
  if (seen.ok) {
    const { stampMs = 0 } = seen.look;
    const epoch = Number(values.epoch) as Epoch;
    await supervisor.request({ kind: "extend-lease", epoch, stampMs, durationMs }, DEADLINE_MS);
  }
  await realClock.sleep(durationMs / 12);
}
