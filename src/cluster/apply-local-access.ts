/** What somebody did on a host without asking anybody: noted once, when its member is back. */
import { type Applied, accept, type ChangeOf, event, refuse } from "./applied.ts";
import type { Command } from "./command.ts";
import { isUnderstoodByAll } from "./feature-level.ts";
import { LOCAL_ACCESS_KEPT } from "./local-access.ts";
import { type ClusterState, memberName } from "./state.ts";

/** Changes nothing but the trail. */
export function noteLocalAccess(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"note-local-access">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const noted = state.localAccess ?? [];
  const { access } = change;
  if (noted.some(({ id }) => id === access.id)) return refuse(state, "noted-already");
  const member = memberName(state, access.memberId);
  const message =
    access.what === "opened"
      ? `${access.who} took superuser access on the host of ${member}: ${access.reason}`
      : `${access.who} left the host of ${member}`;
  return accept(
    { ...state, localAccess: [...noted, access].slice(-LOCAL_ACCESS_KEPT) },
    event(command, `break-glass.local-${access.what}`, message, {
      member,
      who: access.who,
      systemUser: access.systemUser,
      reason: access.reason,
      session: access.session,
      happenedAtMs: access.atMs,
      exitCode: access.exitCode,
    }),
  );
}
