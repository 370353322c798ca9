import type { MemberId } from "../base/ids.ts";
import { memberName } from "../cluster/state.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { isUnreachable, look, type Sight, statusOf } from "./sight.ts";

/** A member that has just started needs a moment for its first look at its data directory. */
const FIRST_LOOK_MS_MAX = 5_000;
const POLL_MS = 20;

const MAKE_ROOM =
  "Nothing was touched. Empty that directory, or set postgres.data-dir in that member's guacamole.toml to another one and restart it; then try again.";

/**
 * Nothing is ever built over data: returns once the member that shall run initdb is seen to have an empty place for it, and
 * no other member is seen to hold something foreign, which could never become a clone.
 *
 * @throws {ApiProblem} 409 `data-directory-not-empty`, or 503 `member-not-ready` where the member cannot tell.
 */
export async function awaitRoom(ports: ApiPorts, memberId: MemberId): Promise<void> {
  const untilMs = ports.clock.nowMs() + FIRST_LOOK_MS_MAX;
  let sight = look(ports);
  while (isUnseen(sight, memberId) && ports.clock.nowMs() < untilMs) {
    await ports.clock.sleep(POLL_MS);
    sight = look(ports);
  }
  refuseUnseen(sight, memberId);
  for (const { id } of sight.state.members) refuseOccupied(sight, id, id === memberId);
}

function isUnseen(sight: Sight, id: MemberId): boolean {
  const kind = statusOf(sight, id)?.postgres.kind ?? "unknown";
  return kind === "unknown" || isUnreachable(sight, id);
}

function refuseUnseen(sight: Sight, id: MemberId): void {
  if (!isUnseen(sight, id)) return;
  const name = memberName(sight.state, id);
  const postgres = statusOf(sight, id)?.postgres;
  const why = isUnreachable(sight, id)
    ? "it cannot be reached"
    : postgres?.kind === "unknown"
      ? postgres.detail
      : "it has not reported yet";
  throw new ApiProblem({
    status: 503,
    code: "member-not-ready",
    detail: `Nothing is known of the data directory of ${name}: ${why}.`,
    hint: "Nothing was touched. Mend that first, or name another member with --primary.",
  });
}

function refuseOccupied(sight: Sight, id: MemberId, runsInitdb: boolean): void {
  const postgres = statusOf(sight, id)?.postgres;
  const name = memberName(sight.state, id);
  if (postgres?.kind === "foreign")
    throw occupied(`The place for PostgreSQL on ${name} is taken: ${postgres.detail}.`);
  if (runsInitdb && postgres?.kind !== "absent")
    throw occupied(`The place for PostgreSQL on ${name} is taken: its data directory holds data already.`);
}

function occupied(detail: string): ApiProblem {
  return new ApiProblem({ status: 409, code: "data-directory-not-empty", detail, hint: MAKE_ROOM });
}
