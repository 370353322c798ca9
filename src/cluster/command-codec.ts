import { assert } from "../base/assert.ts";
import type { Command } from "./command.ts";

/** Version of the encoding of a log entry's data. A reader refuses a newer one instead of guessing. */
const ENCODING_VERSION = 1;

/** A command as a log entry's data: versioned JSON in UTF-8. */
export function encodeCommand(command: Command): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ v: ENCODING_VERSION, command }));
}

/**
 * @throws {AssertionError} on a version this binary does not know: it must not apply what it cannot understand, or its
 *   state would part from the others'.
 */
export function decodeCommand(data: Uint8Array): Command {
  const { v, command } = JSON.parse(new TextDecoder().decode(data)) as { v: number; command: Command };
  assert(
    v === ENCODING_VERSION,
    `log entries have encoding version ${ENCODING_VERSION} (upgrade this member first)`,
  );
  return command;
}
