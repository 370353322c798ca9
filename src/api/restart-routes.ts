import { Elysia, t } from "elysia";
import type { Member } from "../cluster/member.ts";
import type { RestartStrategy } from "../cluster/restart.ts";
import { type Reign, standbyNameOf } from "../cluster/state.ts";
import { acceptedOperation, begunBy, idempotent, namedMember, type Settable } from "./cluster-routes.ts";
import { describeMember, describeOperation } from "./describe.ts";
import { EmptyRequestSchema, MemberSchema, OperationSchema } from "./documents.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { MemberRestartRequestSchema, RestartRequestSchema } from "./restart-documents.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { isUnreachable, look, requireReign, type Sight, seenPrimary, statusOf } from "./sight.ts";
import { submit, type Wish, wasAgreedBefore, wishOf } from "./submit.ts";

const nameParam = t.Object({ name: t.String({ description: "Name of a member" }) });
const idParam = t.Object({ id: t.String({ description: "Id of an operation" }) });
const TIMEOUT_SECONDS = 120;

/** Planned restarts of PostgreSQL: of one member, or of several in the safe order (`roadmap/0011-planned-restarts.md`). */
export function restartRoutes(ports: ApiPorts) {
  const steer = async (
    { id }: { readonly id: string },
    request: Request,
    key: string | null,
    wish: "pause" | "resume" | "cancel",
  ) => {
    const command = wishOf(ports, callerOf(request), `${wish} ${id}`, key);
    await submit(ports, command, { kind: "steer-restart", operationId: id, wish });
    const sight = look(ports);
    const operation = sight.state.operations.find((each) => each.id === id);
    if (operation === undefined)
      throw new ApiProblem({ status: 404, code: "operation-unknown", detail: "No operation has this id." });
    return describeOperation(sight, operation);
  };
  return new Elysia({ normalize: false })
    .post(
      "/v1/restart",
      async ({ body, request, headers, set }) => {
        const wish = wishOf(ports, callerOf(request), "restart", headers["idempotency-key"] ?? null);
        const { state } = look(ports);
        const members =
          body.members === undefined
            ? state.members.filter(({ kind, isLeaving }) => kind === "data" && !isLeaving)
            : body.members.map((name) => namedMember(state, name));
        return plan(ports, wish, set, { ...body, members, strategy: body.strategy ?? "auto" });
      },
      {
        body: RestartRequestSchema,
        headers: idempotent,
        response: { 202: OperationSchema },
        detail: describeRoute(
          "operator",
          "postgres",
          "Start PostgreSQL again on several members, one after another, in the safe order",
          "Standbys one at a time, each back, caught up and in the cohort before the next; the primary last, by a switchover where one can take over, else in place; first and in place where a limit that standbys share with it shrinks. It waits while the cluster is not well, and ends at the first member that does not come back. Refused beforehand where commits would wait because of it.",
        ),
      },
    )
    .post(
      "/v1/members/:name/restart",
      async ({ params, body, request, headers, set }) => {
        const route = `restart ${params.name}`;
        const wish = wishOf(ports, callerOf(request), route, headers["idempotency-key"] ?? null);
        const sight = look(ports);
        const member = namedMember(sight.state, params.name);
        if (begunBy(sight.state, wish) === null) requireRole(sight, member, body.ifRole);
        return plan(ports, wish, set, { strategy: "in-place", ...body, members: [member] });
      },
      {
        params: nameParam,
        body: MemberRestartRequestSchema,
        headers: idempotent,
        response: { 202: OperationSchema },
        detail: describeRoute(
          "operator",
          "members",
          "Start a member's PostgreSQL again",
          "The primary is started again in place, under the same reign: it writes a checkpoint, ends cleanly and comes back; if it does not within half a minute, the failover rules decide. With the strategy `switchover` it hands over instead.",
        ),
      },
    )
    .post(
      "/v1/members/:name/reload",
      async ({ params }) => {
        const sight = look(ports);
        const member = namedMember(sight.state, params.name);
        if (member.kind === "witness") throw unsuitable(`${member.name} has no PostgreSQL`);
        const reloaded = await ports.reload(member.id);
        if (reloaded.ok) return describeMember(look(ports), member);
        throw new ApiProblem({
          status: 503,
          code: "member-unreachable",
          detail: `The PostgreSQL of ${member.name} was not told to read its settings: ${reloaded.error}.`,
          hint: "'guacamole status' shows how it is.",
        });
      },
      {
        params: nameParam,
        body: EmptyRequestSchema,
        response: { 200: MemberSchema },
        detail: describeRoute(
          "operator",
          "members",
          "Have a member's PostgreSQL read its settings again",
          "What guacamole changes is read by itself: this is for files that somebody edited, and that the base file includes.",
        ),
      },
    )
    .post(
      "/v1/operations/:id/pause",
      ({ params, request, headers }) => steer(params, request, headers["idempotency-key"] ?? null, "pause"),
      {
        params: idParam,
        body: EmptyRequestSchema,
        headers: idempotent,
        response: { 200: OperationSchema },
        detail: describeRoute(
          "operator",
          "operations",
          "Hold a planned restart: no further member is begun",
          "The member that is under way comes back all the same.",
        ),
      },
    )
    .post(
      "/v1/operations/:id/resume",
      ({ params, request, headers }) => steer(params, request, headers["idempotency-key"] ?? null, "resume"),
      {
        params: idParam,
        body: EmptyRequestSchema,
        headers: idempotent,
        response: { 200: OperationSchema },
        detail: describeRoute("operator", "operations", "Let a planned restart go on that was held"),
      },
    )
    .post(
      "/v1/operations/:id/cancel",
      ({ params, request, headers }) => steer(params, request, headers["idempotency-key"] ?? null, "cancel"),
      {
        params: idParam,
        body: EmptyRequestSchema,
        headers: idempotent,
        response: { 200: OperationSchema },
        detail: describeRoute(
          "operator",
          "operations",
          "End a planned restart",
          "The member that is under way comes back first; those that were started again stay so.",
        ),
      },
    );
}

interface Planned {
  readonly members: readonly Member[];
  readonly strategy: RestartStrategy;
  readonly onlyIfPending?: boolean;
  readonly allowStall?: boolean;
  readonly timeoutSeconds?: number;
}

/** Whatever can be known beforehand is said before anything is begun. */
async function plan(ports: ApiPorts, wish: Wish, set: Settable, planned: Planned) {
  const isRepeat = begunBy(look(ports).state, wish) !== null || (await wasAgreedBefore(ports, wish));
  if (isRepeat) return acceptedOperation(ports, wish, set);
  const sight = look(ports);
  const reign = requireReign(sight, "whose servers could be started again");
  const { strategy, onlyIfPending = false, allowStall = false, timeoutSeconds = TIMEOUT_SECONDS } = planned;
  const { members } = planned;
  const waiting = onlyIfPending ? members.filter((each) => isWaiting(sight, each)) : members;
  if (waiting.length === 0) throw nothingWaits();
  // Also those that have not noticed yet that something waits: whether it does is looked at when their turn comes.
  const targets = members.map((member) => ({ memberId: member.id, instance: instanceOf(sight, member) }));
  if (!allowStall) for (const member of waiting) requireOthers(sight, reign, member);
  await submit(ports, wish, {
    kind: "plan-restart",
    operationId: wish.commandId,
    strategy,
    isPendingOnly: onlyIfPending,
    mayStall: allowStall,
    timeoutMs: timeoutSeconds * 1000,
    targets,
  });
  return acceptedOperation(ports, wish, set);
}

function isWaiting(sight: Sight, { id }: Member): boolean {
  return (statusOf(sight, id)?.pendingRestart ?? []).length > 0;
}

/** @throws {ApiProblem} 409 */
function instanceOf(sight: Sight, member: Member): string {
  if (member.kind === "witness") throw unsuitable(`${member.name} has no PostgreSQL`);
  if (member.isLeaving) throw unsuitable(`${member.name} is being removed`);
  const instance = isUnreachable(sight, member.id) ? undefined : statusOf(sight, member.id)?.instance;
  if (instance !== undefined) return instance;
  throw unsuitable(`no PostgreSQL of ${member.name} is seen to run, which could be started again`);
}

function unsuitable(why: string): ApiProblem {
  return new ApiProblem({
    status: 409,
    code: "member-unsuitable",
    detail: `${why}. Nothing was begun.`,
    hint: "'guacamole status' shows how each member is.",
  });
}

function nothingWaits(): ApiProblem {
  return new ApiProblem({
    status: 409,
    code: "not-pending",
    detail: "No parameter waits for a start of PostgreSQL. Nothing was begun.",
    hint: "What was changed a moment ago is noticed within seconds: 'guacamole config diff'.",
  });
}

/** Commits must find enough standbys while one is away. @throws {ApiProblem} 409 `restart-would-stall`. */
function requireOthers(sight: Sight, { cohort, primaryId }: Reign, { id, name }: Member): void {
  const primary = seenPrimary(sight);
  if (id === primaryId || cohort.k === 0 || primary === null) return;
  const streaming = new Set(
    primary.standbys.filter((each) => each.state === "streaming").map((each) => each.name),
  );
  const left = cohort.standbyIds.filter(
    (each) => each !== id && streaming.has(standbyNameOf(sight.state, each)),
  ).length;
  if (left >= cohort.k) return;
  throw new ApiProblem({
    status: 409,
    code: "restart-would-stall",
    detail: `Without ${name} ${left} of the ${cohort.k} standbys are left that a commit needs: commits would wait until it is back. Nothing was begun.`,
    hint: "Add a standby first, ask for fewer ('guacamole topology set --synchronous-standbys'), or take the wait: 'guacamole restart --allow-stall'.",
  });
}

/** @throws {ApiProblem} 409 `condition-not-met`. */
function requireRole(sight: Sight, { id, name }: Member, role: "primary" | "standby" | undefined): void {
  const present = sight.state.reign?.primaryId === id ? "primary" : "standby";
  if (role === undefined || role === present) return;
  throw new ApiProblem({
    status: 409,
    code: "condition-not-met",
    detail: `${name} is the ${present}, and was to be started again only as the ${role}. Nothing was begun.`,
  });
}
