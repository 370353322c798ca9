import { Elysia, t } from "elysia";
import type { MemberId } from "../base/ids.ts";
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
import { look, requireReign, type Sight, statusOf } from "./sight.ts";
import { submit, type Wish, wasAgreedBefore, wishOf } from "./submit.ts";
import { awaitTarget, unsuitable } from "./switchover-target.ts";

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
        if (body.at !== undefined)
          return scheduleSwitchover(ports, look(ports), { wish, to: body.to, at: body.at }, set);
        const { sight, reign, targetId } = await awaitTarget(ports, body.to);
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
          "Where the primary's guacamole.toml names a hook `before-switchover`, it is run first, and refuses the switchover if it fails: nothing was begun then. A standby that is just coming back is waited for, two seconds at most. With `at` it is scheduled (201): whoever leads then does it once, or gives it up with a reason as an operation that failed.",
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
}

/** 201 with what is scheduled. Whether the target streams is looked at when the time has come. */
async function scheduleSwitchover(
  ports: ApiPorts,
  sight: Sight,
  { wish, to, at }: WantedSchedule,
  set: Settable,
) {
  const reign = requireReign(sight, "to change");
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

// ---- now --------------------------------------------------------------------------------------------------------------

/** The owner of the primary's host has a say before anything is begun. @throws {ApiProblem} 409 `hook-refused`. */
async function askHook(
  ports: ApiPorts,
  sight: Sight,
  { primaryId }: Reign,
  targetId: MemberId,
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
