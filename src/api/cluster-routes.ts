import { Elysia, t } from "elysia";
import { comparePositions } from "../base/lsn.ts";
import type { Member } from "../cluster/member.ts";
import { positionOf } from "../cluster/observation.ts";
import { type ClusterState, memberByName, memberName, type Operation, type Reign } from "../cluster/state.ts";
import { awaitRoom } from "./await-room.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { describeCluster, describeOperation } from "./describe.ts";
import {
  ClusterSchema,
  DEFAULT_WAL_SEGMENT_MB,
  InitializeRequestSchema,
  OperationSchema,
  SwitchoverRequestSchema,
} from "./documents.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { isUnreachable, look, type Sight, statusOf } from "./sight.ts";
import { submit, type Wish, wasAgreedBefore, wishOf } from "./submit.ts";

export const idempotent = t.Object({
  "idempotency-key": t.Optional(
    t.String({ description: "Repeating a request with the same key takes effect once" }),
  ),
});

export function clusterRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/cluster",
      async ({ query }) => describeCluster(await lookWith(ports, query), ports, query.consistency ?? "local"),
      {
        query: consistencyQuery,
        response: { 200: ClusterSchema },
        detail: describeRoute("viewer", "cluster", "What is agreed and what is seen, with reasons"),
      },
    )
    .post(
      "/v1/cluster/initialize",
      async ({ body, request, headers, set }) => {
        const wish = wishOf(ports, callerOf(request), "initialize", headers["idempotency-key"] ?? null);
        const { state, selfId } = look(ports);
        const member =
          body.primary === undefined ? firstPrimary(state, selfId) : namedMember(state, body.primary);
        const isNew = state.initialization === null && begunBy(state, wish) === null;
        if (isNew && member.kind === "data") await awaitRoom(ports, member.id);
        await submit(ports, wish, {
          kind: "initialize",
          memberId: member.id,
          operationId: wish.commandId,
          options: {
            encoding: body.encoding ?? "UTF8",
            locale: body.locale ?? "C.UTF-8",
            walSegmentMb: body.walSegmentMb ?? DEFAULT_WAL_SEGMENT_MB,
          },
        });
        return acceptedOperation(ports, wish, set);
      },
      {
        body: InitializeRequestSchema,
        headers: idempotent,
        response: { 202: OperationSchema },
        detail: describeRoute(
          "admin",
          "cluster",
          "Build the PostgreSQL cluster: initdb on one member, clones on the others",
          "Refused where a history exists, or where a data directory is not empty. Answers with an operation to follow.",
        ),
      },
    )
    .post(
      "/v1/switchover",
      async ({ body, request, headers, set }) => {
        const wish = wishOf(ports, callerOf(request), "switchover", headers["idempotency-key"] ?? null);
        // What was asked before is answered as it was then, however things stand by now.
        const isRepeat = begunBy(look(ports).state, wish) !== null || (await wasAgreedBefore(ports, wish));
        if (isRepeat) return acceptedOperation(ports, wish, set);
        const sight = look(ports);
        const { reign } = sight.state;
        if (reign === null) {
          throw new ApiProblem({
            status: 409,
            code: "not-initialized",
            detail: "There is no primary to change: PostgreSQL is not initialized.",
            hint: "'guacamole init' builds the PostgreSQL cluster.",
          });
        }
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
        response: { 202: OperationSchema },
        detail: describeRoute(
          "operator",
          "cluster",
          "Make another member primary, without losing anything",
          "Where the primary's guacamole.toml names a hook `before-switchover`, it is run first, and refuses the switchover if it fails: nothing was begun then.",
        ),
      },
    );
}

/** @throws {ApiProblem} 409 `member-unknown`. */
export function namedMember(state: ClusterState, name: string): Member {
  const member = memberByName(state, name);
  if (member !== undefined) return member;
  throw new ApiProblem({
    status: 409,
    code: "member-unknown",
    detail: "No member has this name.",
    hint: `Members are: ${state.members.map((each) => each.name).join(", ")}.`,
  });
}

/** The asked member itself, or where it is a witness, the first by name that has a PostgreSQL. */
function firstPrimary(state: ClusterState, selfId: Member["id"]): Member {
  const data = state.members.filter(({ kind }) => kind === "data");
  const member = data.find(({ id }) => id === selfId) ?? data[0];
  if (member !== undefined) return member;
  throw new ApiProblem({
    status: 409,
    code: "member-unsuitable",
    detail: "No member has a PostgreSQL: all are witnesses.",
    hint: "Add a member without the tag witness.",
  });
}

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
  throw new ApiProblem({
    status: 409,
    code: "member-unsuitable",
    detail: `${member.name} ${objection}, so it cannot take over now.`,
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

/** The operation that the same wish, by its Idempotency-Key, began before; or null. */
export function begunBy(state: ClusterState, wish: Wish): Operation | null {
  return state.operations.find(({ id }) => id === wish.commandId) ?? null;
}

interface Settable {
  status?: unknown;
  headers: Record<string, string | number | undefined>;
}

/** 202 with the operation that the wish began (its id is the command's). */
export function acceptedOperation(ports: ApiPorts, wish: Wish, set: Settable) {
  const sight = look(ports);
  const operation = sight.state.operations.find(({ id }) => id === wish.commandId);
  if (operation === undefined) {
    throw new ApiProblem({
      status: 409,
      code: "stale-operation",
      detail: "This was asked before, and its operation is too old to be remembered.",
      hint: "To ask again, use another Idempotency-Key.",
    });
  }
  set.status = 202;
  set.headers["location"] = `/v1/operations/${operation.id}`;
  return describeOperation(sight, operation);
}
