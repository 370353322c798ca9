/**
 * The entry of the Raft worker's thread. An entry point of the compiled binary too, so that
 * `new Worker(new URL("./raft-worker.ts", import.meta.url).href)` finds it there.
 */
import type { Log, LogFields } from "../base/log.ts";
import { ConsensusWorker } from "./consensus-worker.ts";
import { EXIT_CONSENSUS_BROKEN, type FromWorker, type ToWorker } from "./worker-protocol.ts";

declare const self: Worker;

/** How long the main thread has to end the process in order. */
const GRACE_MS = 1000;

let worker: ConsensusWorker | null = null;

/** Said since the last time that the main thread was told. */
let unsaid: FromWorker[] = [];

/** Told together once this turn is over: each message by itself costs the main thread as much as all of them. */
function post(message: FromWorker): void {
  if (unsaid.length === 0) queueMicrotask(tell);
  unsaid.push(message);
}

function tell(): void {
  const messages = unsaid;
  unsaid = [];
  self.postMessage(messages);
}

function nowMs(): number {
  return performance.now();
}

function killProcess(): void {
  setTimeout(() => process.kill(process.pid, "SIGKILL"), GRACE_MS);
}

function write(level: "error" | "warn" | "info" | "debug") {
  return (event: string, fields: LogFields = {}) => post({ type: "log", level, event, fields });
}

const log: Log = { error: write("error"), warn: write("warn"), info: write("info"), debug: write("debug") };

async function start(message: ToWorker & { type: "start" }): Promise<void> {
  try {
    worker = new ConsensusWorker(message.start, { post, nowMs, killProcess }, log);
    await worker.run();
  } catch (error) {
    worker?.abandon();
    post({ type: "failed", message: error instanceof Error ? error.message : String(error) });
  }
}

self.onmessage = ({ data }: MessageEvent<readonly ToWorker[]>) => {
  for (const message of data) hear(message);
};

function hear(data: ToWorker): void {
  if (data.type === "clock") post({ type: "clock", requestId: data.requestId, nowMs: nowMs() });
  else if (data.type === "start") void start(data);
  else worker?.receive(data);
}

process.on("unhandledRejection", (error: unknown) => {
  const message = `consensus cannot go on: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  post({ type: "fatal", exitCode: EXIT_CONSENSUS_BROKEN, message });
  killProcess();
});
