/** What applying a command comes to: accepted with its events, or refused with a sentence and a hint. */
import type { Change, ClusterEvent, Command, Outcome, RefusalCode } from "./command.ts";
import type { Member } from "./member.ts";
import type { ClusterState } from "./state.ts";

export interface Applied {
  /** Null only before the first command. */
  readonly state: ClusterState | null;
  readonly outcome: Outcome;
  readonly events: readonly ClusterEvent[];
}

export type ChangeOf<Kind extends Change["kind"]> = Extract<Change, { kind: Kind }>;

/** The same state with one member replaced by its newer self. */
export function withMember(state: ClusterState, member: Member): ClusterState {
  return { ...state, members: state.members.map((each) => (each.id === member.id ? member : each)) };
}

/** Something that happened because of a command, and who asked. */
export function event(
  command: Command,
  name: string,
  message: string,
  fields: ClusterEvent["fields"],
): ClusterEvent {
  return { name, atMs: command.atMs, message, fields: { ...fields, by: command.by } };
}

/** The command took effect. */
export function accept(state: ClusterState, ...events: readonly ClusterEvent[]): Applied {
  return { state, outcome: { ok: true }, events };
}

/** The command changed nothing: `state` is handed back as it was. */
export function refuse(state: ClusterState | null, code: RefusalCode): Applied {
  const { message, hint } = REFUSALS[code];
  return { state, outcome: { ok: false, code, message, hint }, events: [] };
}

const REFUSALS: Readonly<Record<RefusalCode, { readonly message: string; readonly hint: string | null }>> = {
  "already-formed": {
    message: "This control plane was formed before.",
    hint: "To begin anew, use a member with an empty data directory.",
  },
  "not-formed": {
    message: "There is no control plane yet.",
    hint: "Run 'guacamole form' on one member, or 'guacamole join' to join an existing one.",
  },
  "name-taken": {
    message: "Another member has this name.",
    hint: "Choose another `name` in guacamole.toml; a name is unique in the cluster.",
  },
  "join-token-unknown": {
    message: "This join token is not known here.",
    hint: "Make one with 'guacamole member add' on a member of the cluster.",
  },
  "join-token-used": {
    message: "This join token was used before; each admits one member, once.",
    hint: "Make a new one with 'guacamole member add'.",
  },
  "join-token-expired": {
    message: "This join token has expired.",
    hint: "Make a new one with 'guacamole member add'.",
  },
  "already-initialized": {
    message: "PostgreSQL was initialised before; nothing was touched.",
    hint: "See 'guacamole status'. To build one member anew, use 'guacamole member reinit NAME'.",
  },
  "not-initialized": {
    message: "PostgreSQL is not initialised yet.",
    hint: "Run 'guacamole init' first.",
  },
  "member-unknown": {
    message: "There is no member of this name.",
    hint: "See 'guacamole member list'.",
  },
  "member-unsuitable": {
    message:
      "This member cannot take that part: it is the primary already, a witness, or not the one that was named.",
    hint: "See 'guacamole status' for the roles.",
  },
  "stale-epoch": {
    message: "The primary is changing, or has changed meanwhile; nothing was done.",
    hint: "Look at 'guacamole status' and try again.",
  },
  "stale-generation": {
    message: "Somebody else changed the settings meanwhile; nothing was done.",
    hint: "Read them again, and make your change to what they are now.",
  },
  "too-many-declared": {
    message: "As many roles and databases are declared as may be.",
    hint: "Stop declaring those that nobody needs to be kept as they are: 'guacamole role list'.",
  },
  "stale-loss": {
    message: "What was shown is not so any more, or too long ago; nothing was done.",
    hint: "Look at 'guacamole explain', and decide anew.",
  },
  "paused-already": {
    message: "Automatic failover is paused for this reason already.",
    hint: "'guacamole resume' ends it.",
  },
  "not-paused": {
    message: "Automatic failover is not paused for this reason.",
    hint: "'guacamole status' shows the reasons.",
  },
  paused: {
    message: "Automatic failover is paused, and nothing is scheduled meanwhile.",
    hint: "'guacamole resume' ends the pause; a switchover that is to happen now is not held by it.",
  },
  "scheduled-already": {
    message: "A switchover is scheduled already.",
    hint: "'guacamole switchover --list' shows it, 'guacamole switchover --cancel' takes it back.",
  },
  "not-scheduled": {
    message: "No such switchover is scheduled.",
    hint: "'guacamole switchover --list' shows what is.",
  },
  "time-passed": {
    message: "The time of the switchover has passed already; nothing was scheduled.",
    hint: "Name a later time, or leave it out to switch over now.",
  },
  "stale-operation": {
    message: "This operation has ended.",
    hint: null,
  },
  "not-steerable": {
    message: "This operation can be neither held nor ended: once begun, it comes to its end.",
    hint: "A planned restart can be ('guacamole operation list' shows the kinds), and a change of the authority once ('guacamole certificates').",
  },
  "operation-running": {
    message: "Another operation of this kind is running.",
    hint: "See 'guacamole operation list'.",
  },
  "feature-level-low": {
    message: "Some member runs a release that does not know this yet; nothing was done.",
    hint: "Upgrade every member: 'guacamole member list' shows the versions. The rest happens by itself.",
  },
  "feature-level-reached": {
    message: "The cluster is at this feature level already, or above it.",
    hint: null,
  },
  "last-member": {
    message: "No other member would be left.",
    hint: "Let another member in first, with 'guacamole member add'.",
  },
  "last-voter": {
    message: "Nobody would be left who may vote.",
    hint: "Say 'guacamole member promote-voter' of another member first.",
  },
  "member-is-primary": {
    message: "This member is the primary.",
    hint: "Make another member primary first, with 'guacamole switchover'.",
  },
  "member-leaving": {
    message: "This member is being removed.",
    hint: "'guacamole member list' shows how far that is.",
  },
  "member-needed": {
    message: "This member is still needed, or nobody said to remove it.",
    hint: "'guacamole member remove NAME' takes it out in the safe order.",
  },
  "name-bound": {
    message: "This join token admits a member of another name.",
    hint: "It was made to replace one member: set `name` in guacamole.toml to that member's name.",
  },
  "too-many-voters": {
    message: "As many members are wanted as voters as may vote.",
    hint: "Say 'guacamole member demote-voter' of one of them first.",
  },
  "token-unknown": {
    message: "There is no token of this id.",
    hint: "See 'guacamole token list'.",
  },
  "token-name-taken": {
    message: "Another token has this name.",
    hint: "Choose another name, or revoke that one with 'guacamole token revoke NAME'.",
  },
  "too-many-tokens": {
    message: "There are as many tokens as there may be.",
    hint: "Revoke those that nobody uses: 'guacamole token list' shows when each was used last.",
  },
  "too-many-break-glass": {
    message: "As many break-glass grants stand as there may be.",
    hint: "Revoke one: 'guacamole break-glass list' shows them.",
  },
  "break-glass-unknown": {
    message: "There is no break-glass grant of this id.",
    hint: "See 'guacamole break-glass list'.",
  },
  "break-glass-ended": {
    message: "This break-glass access has ended.",
    hint: "Ask for it anew: 'guacamole break-glass request'.",
  },
  "break-glass-open": {
    message: "This break-glass access is open already; it needs no approval any more.",
    hint: null,
  },
  "break-glass-not-approved": {
    message: "This break-glass access is not open yet.",
    hint: "Somebody else approves it: 'guacamole break-glass approve'.",
  },
  "break-glass-same-asker": {
    message:
      "Whoever asked cannot approve it: nor can a token that it made, one that was made since, the same one twice, or anybody by an identity provider where those were changed since.",
    hint: "Somebody else does so, with an admin token of their own.",
  },
  "noted-already": {
    message: "This was noted before.",
    hint: null,
  },
  "break-glass-too-long": {
    message: "It would last longer than the policy allows.",
    hint: "'guacamole break-glass policy' shows how long it may last, extensions included.",
  },
};
