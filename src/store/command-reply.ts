/**
 * What the state machine answers to one committed entry of the kind `command`; the `reply` of `Applied`. The same on
 * every member.
 */
import type { Outcome } from "../cluster/command.ts";
import type { Applied } from "../raft/ports.ts";

/** Where a session was used: the number that the client gave the wish. */
export interface SessionUse {
  readonly client: string;
  readonly sequence: number;
}

export type CommandReply =
  /** The rules saw the command, now or (`isRepeat`) when it was proposed first: this time it changed nothing then. */
  | {
      readonly kind: "applied";
      readonly commandId: string;
      readonly outcome: Outcome;
      readonly isRepeat: boolean;
      /** Null where the command came without a session. */
      readonly session: SessionUse | null;
    }
  /** From the next entry on the client may use it. Opening again what is open (`isRepeat`) changes nothing. */
  | { readonly kind: "session-opened"; readonly client: string; readonly isRepeat: boolean }
  /** The command was not looked at, now; what became of it earlier, nobody knows any more. */
  | ({ readonly kind: SessionRefusal; readonly commandId: string } & SessionUse);

/**
 * - `session-unknown`: never opened, or forgotten because 256 others were used since. Open a new one. Whether an earlier
 *   attempt at this command was carried out is not known: its command id may tell, for a while.
 * - `sequence-acknowledged`: the client said that it had the answer, and it was forgotten. A late duplicate.
 * - `session-full`: too many answers that the client has not acknowledged. Acknowledge, then propose again with the same
 *   number: nothing was carried out under it.
 */
export type SessionRefusal = "session-unknown" | "sequence-acknowledged" | "session-full";

/** Reading for `CommandReply` where only `Applied` is known: this store answers commands with nothing else. */
export function commandReply(applied: Applied): CommandReply {
  return applied.reply as CommandReply;
}
