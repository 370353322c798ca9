/** Where proposals enter the log, on the leader: whatever it takes, every member must be able to apply. */
import { apply } from "../cluster/apply.ts";
import {
  type EntryData,
  encodeCommand,
  encodeOpenSession,
  SESSIONS_FEATURE_LEVEL,
} from "../cluster/command-codec.ts";
import { type ClusterState, featureLevelOf } from "../cluster/state.ts";
import type { RaftNode } from "../raft/node.ts";
import type { Acceptance } from "./proposals.ts";

/** A larger command would not fit into the transport's frames. */
const COMMAND_BYTES_MAX = 1024 * 1024;

export interface DeskPorts {
  state(): ClusterState | null;
  isDiskFull(): boolean;
  propose(data: Uint8Array): ReturnType<RaftNode["propose"]>;
}

export class ProposalDesk {
  readonly #ports: DeskPorts;

  constructor(ports: DeskPorts) {
    this.#ports = ports;
  }

  take(entry: EntryData): Acceptance {
    if (this.#ports.isDiskFull()) return refuse("the disk of the leader is full: make room on it");
    const state = this.#ports.state();
    const level = state === null ? 1 : featureLevelOf(state);
    const needsSessions = entry.kind === "open-session" || entry.session !== null;
    if (needsSessions && level < SESSIONS_FEATURE_LEVEL) {
      return refuse("not every member is known to understand sessions yet");
    }
    if (entry.kind === "command") {
      // An entry that the state machine cannot take would stop every member, for ever: try it on what is agreed now.
      try {
        apply(state, entry.command);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        return { ok: false, reason: `the command cannot be understood: ${why}`, isFinal: true };
      }
    }
    const data = encode(entry);
    if (data.byteLength > COMMAND_BYTES_MAX) {
      const reason = `a command of ${data.byteLength} bytes is larger than ${COMMAND_BYTES_MAX}`;
      return { ok: false, reason, isFinal: true };
    }
    return this.#propose(data);
  }

  #propose(data: Uint8Array): Acceptance {
    const answer = this.#ports.propose(data);
    if (!answer.ok) {
      const isOverloaded = answer.reason === "overloaded";
      return { ...refuse(`the leader does not take it now (${answer.reason})`), isOverloaded };
    }
    const [id] = answer.ids;
    return id === undefined ? refuse("the leader took nothing") : { ok: true, id };
  }
}

function encode(entry: EntryData): Uint8Array {
  switch (entry.kind) {
    case "open-session":
      return encodeOpenSession(entry.client);
    case "command":
      return encodeCommand(entry.command, entry.session, entry.session === null ? 1 : SESSIONS_FEATURE_LEVEL);
  }
}

function refuse(reason: string): Extract<Acceptance, { readonly ok: false }> {
  return { ok: false, reason, isFinal: false };
}
