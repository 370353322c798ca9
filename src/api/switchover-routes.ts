import { Elysia, t } from "elysia";
import { comparePositions } from "../base/lsn.ts";
import type { Member } from "../cluster/member.ts";
import { positionOf } from "../cluster/observation.ts";
import { memberName, type Reign } from "../cluster/state.ts";
import { acceptedOperation, begunBy, idempotent, namedMember, type Settable } from "./cluster-routes.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { describeAllHooks, describeScheduled } from "./describe.ts";
import {
  HooksSchema,
  OperationSchema,
  type ScheduledSwitchoverDocument,
  ScheduledSwitchoverSchema,
  SwitchoverRequestSchema,
} from "./documents.ts";
import { parseInstant } from "./instant.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { isUnreachable, look, requireReign, type Sight, statusOf } from "./sight.ts";
import { submit, type Wish, wasAgreedBefore, wishOf } from "./submit.ts";

/** A planned change of the primary: now, or at a time. */
export function switchoverRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .post(
      "/v1/switchover",
      async ({ body, request, headers, set }) => {
        const wish = wishOf(ports, callerOf(request), "switchover", headers["idempotency-key"] ?? null);
        // What was asked before is answered as it was then, however things stand by now.
        const isScheduled = look(ports).state.scheduledSwitchover?.id === wish.commandId;
        const isRepeat =
          begunBy(look(ports).state, wish) !== null || (!isScheduled && (await wasAgreedBefore(ports, wish)));
        if (isRepeat) return acceptedOperation(ports, wish, set);
        const sight = look(ports);
        const reign = requireReign(sight, "to change");
        if (body.at !== undefined)
          return scheduleSwitchover(ports, sight, { wish, to: body.to, at: body.at, reign }, set);
        const { id: targetId } = body.to === undefined ? bestTarget(sight) : namedTarget(sight, body.to);
        if (sight.state.switchover === null) await askHook(ports, sight, reign, targetId);
        await submit(ports, wish, {
          kind: "begin-switchover",
          targetId,
          operationId: wish.commandId,
          epoch: reign.epoch,
        });
        return acceptedOperation(ports, wish, set);
      },
      {
        body: SwitchoverRequestSchema,
        headers: idempotent,
        response: { 201: ScheduledSwitchoverSchema, 202: OperationSchema },
        detail: describeRoute(
          "operator",
          "cluster",
          "Make another member primary, without losing anything, now or at a time",
          "Where the primary's guacamole.toml names a hook `before-switchover`, it is run first, and refuses the switchover if it fails: nothing was begun then. With `at` it is scheduled (201): whoever leads then does it once, or gives it up with a reason as an operation that failed.",
        ),
      },
    )
    .get("/v1/hooks", async ({ query }) => describeAllHooks(await lookWith(ports, query)), {
      query: consistencyQuery,
      response: { 200: HooksSchema },
      detail: describeRoute(
        "viewer",
        "cluster",
        "The programs that hosts' owners have run around changes of the primary, and what came of each",
        "A host's owner names them in its guacamole.toml, under [hooks], and nobody else does: an API that could name programs would run them.",
      ),
    })
    .get("/v1/switchover", async ({ query }) => listScheduled(await lookWith(ports, query)), {
      query: consistencyQuery,
      response: { 200: t.Array(ScheduledSwitchoverSchema) },
      detail: describeRoute("viewer", "cluster", "The switchover that is scheduled; empty: none is"),
    })
    .delete(
      "/v1/switchover",
      async ({ request, headers }) => {
        const wish = wishOf(ports, callerOf(request), "unschedule", headers["idempotency-key"] ?? null);
        // Of none the state machine has its own words, and a repeated request is answered as before.
        const scheduleId = look(ports).state.scheduledSwitchover?.id ?? "";
        await submit(ports, wish, { kind: "cancel-switchover", scheduleId, reason: null });
        return listScheduled(look(ports));
      },
      {
        headers: idempotent,
        response: { 200: t.Array(ScheduledSwitchoverSchema) },
        detail: describeRoute(
          "operator",
          "cluster",
          "Take the scheduled switchover back",
          "One that has begun goes on.",
        ),
      },
    );
}

// ---- at a time --------------------------------------------------------------------------------------------------------

function listScheduled({ state }: Sight): ScheduledSwitchoverDocument[] {
  const scheduled = describeScheduled(state);
  return scheduled === null ? [] : [scheduled];
}

interface WantedSchedule {
  readonly wish: Wish;
  readonly to: string | undefined;
  readonly at: string;
  readonly reign: Reign;
}

/** 201 with what is scheduled. Whether the target streams is looked at when the time has come. */
async function scheduleSwitchover(
  ports: ApiPorts,
  sight: Sight,
  { wish, to, at, reign }: WantedSchedule,
  set: Settable,
) {
  const dueAtMs = requireInstant(at);
  const isRepeated = sight.state.scheduledSwitchover?.id === wish.commandId;
  if (!isRepeated && dueAtMs <= ports.clock.wallMs()) throw timePassed();
  const target = to === undefined ? null : namedMember(sight.state, to);
  if (target?.tags.isNoFailover) throw unsuitable(target, "has the tag no-failover");
  await submit(ports, wish, {
    kind: "schedule-switchover",
    scheduleId: wish.commandId,
    primaryId: reign.primaryId,
    targetId: target?.id ?? null,
    dueAtMs,
  });
  const scheduled = describeScheduled(look(ports).state);
  // Asked for before, and carried out meanwhile.
  if (scheduled?.id !== wish.commandId) return acceptedOperation(ports, wish, set);
  set.status = 201;
  set.headers["location"] = "/v1/switchover";
  return scheduled;
}

/** @throws {ApiProblem} 422 */
function requireInstant(text: string): number {
  const parsed = parseInstant(text);
  if (parsed.ok) return parsed.value;
  throw new ApiProblem({
    status: 422,
    code: "invalid-request",
    detail: `\`at\` ${parsed.error}. Nothing was scheduled.`,
    errors: [{ field: "at", message: parsed.error }],
  });
}

function timePassed(): ApiProblem {
  return new ApiProblem({
    status: 422,
    code: "time-passed",
    detail: "`at` has passed already, by the clock of the member that was asked. Nothing was scheduled.",
    hint: "Name a later time, or leave it out to switch over now.",
    errors: [{ field: "at", message: "lies in the past" }],
  });
}

// ---- to whom ----------------------------------------------------------------------------------------------------------

/** Why a standby could not take over now, as the end of a sentence that begins with its name; or null. */
function objectionTo(sight: Sight, member: Member): string | null {
  const postgres = statusOf(sight, member.id)?.postgres;
  if (member.tags.isNoFailover) return "has the tag no-failover";
  if (member.isLeaving) return "is being removed";
  const cohort = sight.state.reign?.cohort;
  const isIn = cohort?.isLeased === true || (cohort?.standbyIds.includes(member.id) ?? false);
  if (!isIn) return "is not in the cohort";
  if (isUnreachable(sight, member.id)) return "cannot be reached";
  if (postgres?.kind !== "standby" || postgres.walReceiver?.status !== "streaming") return "does not stream";
  return null;
}

/** The named member, unless it is known already that another one would have to be appointed in its place. */
function namedTarget(sight: Sight, name: string): Member {
  const member = namedMember(sight.state, name);
  // Of the primary and of a witness apply() has its own words.
  const objection =
    member.kind === "witness" || member.id === sight.state.reign?.primaryId
      ? null
      : objectionTo(sight, member);
  if (objection === null) return member;
  throw unsuitable(member, objection);
}

function unsuitable({ name }: Member, objection: string): ApiProblem {
  return new ApiProblem({
    status: 409,
    code: "member-unsuitable",
    detail: `${name} ${objection}, so it cannot take over now.`,
    hint: "'guacamole status' shows what it waits for; a standby that streams joins the cohort by itself.",
  });
}

/** The standby of the cohort that would be chosen: highest priority, then most advanced. Says why none where none is. */
function bestTarget(sight: Sight): Member {
  const { reign, members } = sight.state;
  const reasons: string[] = [];
  const candidates = members.flatMap((member) => {
    if (member.kind === "witness" || member.id === reign?.primaryId) return [];
    const objection = objectionTo(sight, member);
    const postgres = statusOf(sight, member.id)?.postgres;
    const position = postgres === undefined ? null : positionOf(postgres);
    if (objection === null && position !== null) return [{ member, position }];
    reasons.push(`${member.name} ${objection}`);
    return [];
  });
  const sorted = candidates.toSorted(
    (a, b) =>
      b.member.tags.failoverPriority - a.member.tags.failoverPriority ||
      comparePositions(b.position, a.position),
  );
  const best = sorted[0];
  if (best !== undefined) return best.member;
  throw new ApiProblem({
    status: 409,
    code: "member-unsuitable",
    detail: "No standby can take over now.",
    hint: reasons.length === 0 ? "There is no other data member." : `${reasons.join("; ")}.`,
  });
}

/** The owner of the primary's host has a say before anything is begun. @throws {ApiProblem} 409 `hook-refused`. */
async function askHook(
  ports: ApiPorts,
  sight: Sight,
  { primaryId }: Reign,
  targetId: Member["id"],
): Promise<void> {
  const guards = statusOf(sight, primaryId)?.hooks?.guardsSwitchover ?? false;
  if (!guards || targetId === primaryId) return;
  const asked = await ports.mayHandOver(primaryId, memberName(sight.state, targetId));
  if (asked.ok) return;
  throw new ApiProblem({
    status: 409,
    code: "hook-refused",
    detail: `The hook before-switchover of ${memberName(sight.state, primaryId)} refuses: ${asked.error}. Nothing was begun.`,
    hint: "Its program is named in guacamole.toml of that host, under [hooks].",
  });
}
