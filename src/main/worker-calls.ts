/** What workers ask each other, without their main threads: the names, and what comes in read with care. */
import type { LogIndex } from "../base/ids.ts";
import type { Command } from "../cluster/command.ts";
import type { ClientSession, EntryData } from "../cluster/command-codec.ts";
import type { Acceptance } from "./proposals.ts";

export const PROPOSE_METHOD = "consensus.propose";
export const READ_INDEX_METHOD = "consensus.read-index";
/** The leader says that our state is not what a majority has: `{ index, hash }`. */
export const DIVERGED_METHOD = "consensus.diverged";

/** Longer names of sessions are nobody's. */
const CLIENT_LENGTH_MAX = 64;

/** Release 0.1.0 sends `{ command }` and reads nothing else. */
export function formatProposal(data: EntryData): unknown {
  if (data.kind === "open-session") return { openSession: data.client };
  return data.session === null ? { command: data.command } : { command: data.command, session: data.session };
}

/** Null for what is none. */
export function parseProposal(value: unknown): EntryData | null {
  const { command, session, openSession } = asRecord(value);
  if (isClient(openSession)) return { kind: "open-session", client: openSession };
  if (!isCommand(command)) return null;
  if (session === undefined) return { kind: "command", command, session: null };
  return isSession(session) ? { kind: "command", command, session } : null;
}

export function parseAcceptance(value: unknown): Acceptance {
  const { ok, id, reason, isFinal, isOverloaded } = asRecord(value);
  const { term, index } = asRecord(id);
  if (ok === true && typeof term === "number" && typeof index === "number") return value as Acceptance;
  return {
    ok: false,
    reason: typeof reason === "string" ? reason : "no answer",
    isFinal: isFinal === true,
    isOverloaded: isOverloaded === true,
  };
}

export function parseIndex(value: unknown): LogIndex | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? (value as LogIndex) : null;
}

export function parseDivergence(value: unknown): { readonly index: LogIndex; readonly hash: string } | null {
  const { index, hash } = asRecord(value);
  const parsed = parseIndex(index);
  return parsed !== null && typeof hash === "string" ? { index: parsed, hash } : null;
}

function isCommand(value: unknown): value is Command {
  const { id, atMs, by, change } = asRecord(value);
  return (
    typeof id === "string" &&
    typeof atMs === "number" &&
    typeof by === "string" &&
    typeof change === "object" &&
    change !== null
  );
}

function isSession(value: unknown): value is ClientSession {
  const { client, sequence, acknowledged } = asRecord(value);
  return (
    isClient(client) &&
    Number.isSafeInteger(sequence) &&
    Number.isSafeInteger(acknowledged) &&
    (acknowledged as number) >= 0 &&
    (acknowledged as number) < (sequence as number)
  );
}

function isClient(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= CLIENT_LENGTH_MAX;
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
