/** One member's own file, with something wrong in it, and a place for what it names. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nextPort } from "./ports-in-turn.ts";
import { guacamole, type Run } from "./tested-binary.ts";

export interface Trial {
  /** Made for this trial, and removed after it. */
  readonly directory: string;
  readonly apiPort: number;
  readonly peerPort: number;
  readonly postgresPort: number;
}

/** Starts a member with the file that `write` makes of a trial's places, and waits for its end. */
export async function startWith(write: (trial: Trial) => string): Promise<Run & { readonly trial: Trial }> {
  const directory = mkdtempSync(join(tmpdir(), "guacamole-e2e-trial-"));
  try {
    const first = nextPort(10_000, 30_000);
    const trial = { directory, apiPort: first, peerPort: first + 1, postgresPort: first + 2 };
    mkdirSync(join(directory, "member"));
    const file = join(directory, "guacamole.toml");
    writeFileSync(file, write(trial));
    return { ...(await guacamole("run", "--config", file)), trial };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A file that is right, for a test to spoil. */
export function configuration(
  trial: Trial,
  changes: { readonly binDirectory?: string; readonly dataDir?: string; readonly more?: string } = {},
): string {
  const { directory, apiPort, peerPort, postgresPort } = trial;
  return `name = "m1"
data-dir = "${changes.dataDir ?? join(directory, "member")}"
${changes.more ?? ""}
[api]
listen = "127.0.0.1:${apiPort}"
[peer]
listen = "127.0.0.1:${peerPort}"
[postgres]
bin-dir = "${changes.binDirectory ?? "/nowhere"}"
data-dir = "${join(directory, "data")}"
listen = "127.0.0.1:${postgresPort}"
socket-dir = "${directory}"
`;
}
