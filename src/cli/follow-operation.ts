import type { OperationDocument } from "../api/documents.ts";
import type { ApiClient } from "./client.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import { renderOperationProgress } from "./render-status.ts";

const POLL_MS = 250;
/** A change of leader or a restarted member takes seconds; a member that stays away longer is worth a word. */
const SILENCE_MS_MAX = 30_000;

/**
 * Follows an operation to its end: on a terminal one line that changes, otherwise a line per step. Ctrl-C stops the
 * following, not the operation.
 *
 * @throws {CliError} `failed` if the operation failed, `unknown` if it could not be followed to its end.
 */
export async function followOperation(
  ports: CliPorts,
  client: ApiClient,
  first: OperationDocument,
): Promise<OperationDocument> {
  const progress = createProgress(ports);
  let operation = first;
  let silentSinceMs: number | null = null;
  while (true) {
    progress.show(operation);
    if (operation.status !== "running") break;
    if (!(await pause(ports, POLL_MS))) throw stopped(operation, "interrupted");
    try {
      operation = await client.get<OperationDocument>(`/v1/operations/${encodeURIComponent(operation.id)}`);
      silentSinceMs = null;
    } catch (error) {
      if (!(error instanceof CliError) || error.exitCode !== EXIT.unreachable) throw error;
      silentSinceMs ??= ports.clock.nowMs();
      if (ports.clock.nowMs() - silentSinceMs > SILENCE_MS_MAX) throw stopped(operation, error.message);
    }
  }
  progress.end();
  if (operation.status === "failed") {
    const last = operation.log.at(-1)?.message ?? operation.phase;
    throw new CliError(
      EXIT.failed,
      `The ${operation.kind} failed: ${last}`,
      `'guacamole operation show ${operation.id}' has its log.`,
    );
  }
  return operation;
}

function stopped(operation: OperationDocument, reason: string): CliError {
  return new CliError(
    EXIT.unknown,
    `The ${operation.kind} goes on, but is not followed any more (${reason}).`,
    `'guacamole operation show ${operation.id}' says how it ended.`,
  );
}

/** False if Ctrl-C came. */
export async function pause(ports: CliPorts, durationMs: number): Promise<boolean> {
  if (ports.interrupted.aborted) return false;
  try {
    await ports.clock.sleep(durationMs, ports.interrupted);
    return !ports.interrupted.aborted;
  } catch (error) {
    if (ports.interrupted.aborted) return false;
    throw error;
  }
}

const SPINNER = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"] as const;
const CLEAR_LINE = "\r\u001b[K";

function createProgress({ terminal }: CliPorts): { show(operation: OperationDocument): void; end(): void } {
  let shown = 0;
  let frame = 0;
  let lastLine = "";
  const showLog = (operation: OperationDocument) => {
    for (const { message } of operation.log.slice(shown)) terminal.err(`${message}\n`);
    shown = operation.log.length;
  };
  if (terminal.isInteractive) {
    return {
      show(operation) {
        terminal.err(CLEAR_LINE);
        showLog(operation);
        if (operation.status !== "running") return;
        frame += 1;
        terminal.err(`${SPINNER[frame % SPINNER.length] ?? ""} ${renderOperationProgress(operation)}`);
      },
      end: () => terminal.err(CLEAR_LINE),
    };
  }
  return {
    show(operation) {
      showLog(operation);
      const line = operation.status === "running" ? operation.phase : lastLine;
      if (line !== lastLine) terminal.err(`${line}\n`);
      lastLine = line;
    },
    end() {
      // Every line stands already.
    },
  };
}
