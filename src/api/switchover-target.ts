import type { MemberId } from "../base/ids.ts";
import { comparePositions } from "../base/lsn.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { Member } from "../cluster/member.ts";
import { positionOf } from "../cluster/observation.ts";
import type { Reign } from "../cluster/state.ts";
import { namedMember } from "./cluster-routes.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { isUnreachable, look, requireReign, type Sight, statusOf } from "./sight.ts";

/** A standby that has just come back is in the cohort in a moment: who asks meanwhile need not ask again. */
const PATIENCE_MS = 2_000;
const POLL_MS = 20;

export interface Target {
  /** What the choice was made on, and the reign that is to end. */
  readonly sight: Sight;
  readonly reign: Reign;
  readonly targetId: MemberId;
}

/**
 * To whom the primary hands over now: to the named member, or to the one that would be chosen. What passes by itself is
 * given two seconds to pass.
 *
 * @throws {ApiProblem} 404 `member-unknown`; 409 `not-initialized`, or `member-unsuitable` with the reason.
 */
export async function awaitTarget(ports: ApiPorts, name: string | undefined): Promise<Target> {
  const untilMs = ports.clock.nowMs() + PATIENCE_MS;
  for (;;) {
    const sight = look(ports);
    const reign = requireReign(sight, "to change");
    const found = name === undefined ? bestTarget(sight, reign) : namedTarget(sight, reign, name);
    if (found.ok) return { sight, reign, targetId: found.value.id };
    const { problem, mayPass } = found.error;
    if (!mayPass || ports.clock.nowMs() >= untilMs) throw problem;
    await ports.clock.sleep(POLL_MS);
  }
}

export function unsuitable({ name }: Member, objection: string): ApiProblem {
  return new ApiProblem({
    status: 409,
    code: "member-unsuitable",
    detail: `${name} ${objection}, so it cannot take over now.`,
    hint: "'guacamole status' shows what it waits for; a standby that streams joins the cohort by itself.",
  });
}

interface NoTarget {
  readonly problem: ApiProblem;
  readonly mayPass: boolean;
}

interface Objection {
  /** The end of a sentence that begins with the member's name. */
  readonly why: string;
  readonly mayPass: boolean;
}

/** Why a standby could not take over now; or null. */
function objectionTo(sight: Sight, { cohort }: Reign, member: Member): Objection | null {
  const stays = (why: string) => ({ why, mayPass: false });
  const passes = (why: string) => ({ why, mayPass: true });
  if (member.tags.isNoFailover) return stays("has the tag no-failover");
  if (member.isLeaving) return stays("is being removed");
  if (cohort.isLeased !== true && !cohort.standbyIds.includes(member.id))
    return passes("is not in the cohort");
  if (isUnreachable(sight, member.id)) return passes("cannot be reached");
  const postgres = statusOf(sight, member.id)?.postgres;
  const streams = postgres?.kind === "standby" && postgres.walReceiver?.status === "streaming";
  return streams ? null : passes("does not stream");
}

/** The named member, unless it is known already that another one would have to be appointed in its place. */
function namedTarget(sight: Sight, reign: Reign, name: string): Result<Member, NoTarget> {
  const member = namedMember(sight.state, name);
  // Of the primary and of a witness apply() has its own words.
  if (member.kind === "witness" || member.id === reign.primaryId) return ok(member);
  const objection = objectionTo(sight, reign, member);
  if (objection === null) return ok(member);
  const { why, mayPass } = objection;
  return err({ problem: unsuitable(member, why), mayPass });
}

/** The standby of the cohort that would be chosen: highest priority, then most advanced. Says why none where none is. */
function bestTarget(sight: Sight, reign: Reign): Result<Member, NoTarget> {
  const others = sight.state.members.filter(({ id, kind }) => kind !== "witness" && id !== reign.primaryId);
  const looked = others.map((member) => {
    const postgres = statusOf(sight, member.id)?.postgres;
    return {
      member,
      position: postgres === undefined ? null : positionOf(postgres),
      objection: objectionTo(sight, reign, member),
    };
  });
  const [best] = looked
    .flatMap(({ member, position, objection }) =>
      objection === null && position !== null ? [{ member, position }] : [],
    )
    .toSorted(
      (a, b) =>
        b.member.tags.failoverPriority - a.member.tags.failoverPriority ||
        comparePositions(b.position, a.position),
    );
  if (best !== undefined) return ok(best.member);
  const reasons = looked.map(({ member, objection }) => `${member.name} ${objection?.why}`);
  const problem = new ApiProblem({
    status: 409,
    code: "member-unsuitable",
    detail: "No standby can take over now.",
    hint: reasons.length === 0 ? "There is no other data member." : `${reasons.join("; ")}.`,
  });
  return err({ problem, mayPass: looked.some(({ objection }) => objection?.mayPass === true) });
}
