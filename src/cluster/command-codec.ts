/**
 * What a log entry of the kind `command` holds: versioned JSON in UTF-8.
 *
 * Version 1 is the command alone. Version 2 adds the session under which it is proposed, and the opening of a session.
 * Readers come first: version 2 is written only from feature level 2 on, when every member reads it.
 */
import { AssertionError, assert } from "../base/assert.ts";
import type { Command } from "./command.ts";

/** From this feature level on, every member reads version 2. */
export const SESSIONS_FEATURE_LEVEL = 2;

/**
 * Under which number a client proposes. The same number proposed again is answered with what became of it the first
 * time, so the client may ask as often as it likes, through any leader.
 */
export interface ClientSession {
  /** Chosen by the client when it opens the session, and never again by anybody. */
  readonly client: string;
  /** From 1, one per wish. */
  readonly sequence: number;
  /** The client has the answers to everything up to here, so nobody need remember them. Smaller than `sequence`. */
  readonly acknowledged: number;
}

export type EntryData =
  | { readonly kind: "command"; readonly command: Command; readonly session: ClientSession | null }
  | { readonly kind: "open-session"; readonly client: string };

/**
 * A command as a log entry's data.
 *
 * @param session null where the command stands alone: then only its id keeps it from being carried out twice.
 * @param featureLevel what the agreed state says; a session needs level 2.
 */
export function encodeCommand(
  command: Command,
  session: ClientSession | null = null,
  featureLevel = 1,
): Uint8Array {
  if (featureLevel < SESSIONS_FEATURE_LEVEL) {
    assert(session === null, "sessions are used once every member knows them");
    return encode({ v: 1, command });
  }
  return encode({ v: 2, command, session });
}

/** The wish to open a session, as a log entry's data. Only from feature level 2 on. */
export function encodeOpenSession(client: string): Uint8Array {
  return encode({ v: 2, openSession: { client } });
}

/**
 * @throws {AssertionError} on a version this binary does not know: it must not apply what it cannot understand, or its
 *   state would part from the others'.
 */
export function decodeEntry(data: Uint8Array): EntryData {
  const value = JSON.parse(new TextDecoder().decode(data)) as Encoded;
  switch (value.v) {
    case 1:
      return { kind: "command", command: value.command, session: null };
    case 2:
      return "openSession" in value
        ? { kind: "open-session", client: value.openSession.client }
        : { kind: "command", command: value.command, session: value.session };
    default:
      throw new AssertionError(
        "log entries have encoding version 1 or 2, this one has a newer one: upgrade this member first",
      );
  }
}

type Encoded =
  | { readonly v: 1; readonly command: Command }
  | { readonly v: 2; readonly command: Command; readonly session: ClientSession | null }
  | { readonly v: 2; readonly openSession: { readonly client: string } };

function encode(value: Encoded): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}
