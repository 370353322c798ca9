import type { LogIndex } from "../../base/ids.ts";
import type { StagedSnapshot } from "../ports.ts";
import type { Message } from "./message.ts";
import type { EngineState } from "./state.ts";

/** The follower's side of a snapshot; the leader's is a state of `Progress`. */

type SnapshotMessage = Extract<Message, { type: "snapshot" }>;

/**
 * Of this term's leader, all of it here and verified; the caller has seen to that.
 *
 * Taken only where it brings news: what is committed here is never replaced, and where the log has the snapshot's last
 * entry it has everything before it too (log matching), so the log goes on.
 */
export function handleSnapshot(state: EngineState, message: SnapshotMessage, content: unknown): void {
  const { meta } = message;
  const { log, membership } = state;
  const respond = (index: LogIndex): void =>
    state.send(message.from, { type: "append-response", index, rejection: null });
  if (meta.index <= log.commitIndex) {
    respond(log.commitIndex);
    return;
  }
  if (log.holds(meta)) {
    state.commitTo(meta.index);
    respond(meta.index);
    return;
  }
  const staged: StagedSnapshot = { meta, content };
  log.restore(meta);
  membership.restore(meta.config);
  state.staged = staged;
  respond(meta.index);
}
