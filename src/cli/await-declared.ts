import type { ApiClient } from "./client.ts";
import { CliError, EXIT } from "./exit-code.ts";
import { pause } from "./follow-operation.ts";
import type { CliPorts } from "./ports.ts";

const POLL_MS = 200;
/** What is declared is done within a second where all is well. */
const IN_FORCE_MS_MAX = 15_000;

/** A declared role or database, as far as whoever waits for it cares. */
export interface DeclaredDocument {
  readonly state: "in-force" | "pending" | "impossible" | "drift" | "unknown";
  readonly reason: string | null;
}

/**
 * Waits until the primary has it as it is declared.
 *
 * @throws {CliError} `failed` where it cannot be, `unknown` where the primary has not said so in time.
 */
export async function awaitDeclared<T extends DeclaredDocument>(
  ports: CliPorts,
  client: ApiClient,
  path: string,
): Promise<T> {
  const untilMs = ports.clock.nowMs() + IN_FORCE_MS_MAX;
  while (true) {
    const found = await client.get<T>(path);
    if (found.state === "impossible")
      throw new CliError(
        EXIT.failed,
        `It is declared, and the primary cannot have it so: ${found.reason}`,
        "Nothing has to be said again: it is tried until it works, or is declared otherwise.",
      );
    if (found.state === "in-force") return found;
    if (ports.clock.nowMs() >= untilMs || !(await pause(ports, POLL_MS)))
      throw new CliError(
        EXIT.unknown,
        `It is declared, and not yet seen so on the primary (${found.reason ?? found.state}).`,
        "'guacamole role list' and 'guacamole database list' show what became of it.",
      );
  }
}
