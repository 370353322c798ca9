/** What came of the programs that hosts' owners have run at turns: an event each, and nothing else. */
import { type Applied, accept, type ChangeOf, event, refuse } from "./applied.ts";
import type { Command } from "./command.ts";
import { isUnderstoodByAll } from "./feature-level.ts";
import { type ClusterState, memberById } from "./state.ts";

/** What is agreed stays as it is. */
export function noteHook(state: ClusterState, command: Command, change: ChangeOf<"note-hook">): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const member = memberById(state, change.memberId);
  if (member === undefined) return refuse(state, "member-unknown");
  const { hook, isOk, attempts, detail } = change;
  const what = isOk ? "ran" : "failed";
  return accept(
    state,
    event(command, `hook.${what}`, `the hook ${hook} of ${member.name} ${what}${detail && `: ${detail}`}`, {
      member: member.name,
      hook,
      attempts,
      detail,
    }),
  );
}
