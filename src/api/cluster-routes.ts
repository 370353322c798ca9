import { Elysia, t } from "elysia";
import type { Member } from "../cluster/member.ts";
import { type ClusterState, memberByName, type Operation } from "../cluster/state.ts";
import { awaitRoom } from "./await-room.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { describeCluster, describeOperation } from "./describe.ts";
import {
  ClusterSchema,
  DEFAULT_WAL_SEGMENT_MB,
  InitializeRequestSchema,
  OperationSchema,
} from "./documents.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { look } from "./sight.ts";
import { submit, type Wish, wishOf } from "./submit.ts";

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

/** The operation that the same wish, by its Idempotency-Key, began before; or null. */
export function begunBy(state: ClusterState, wish: Wish): Operation | null {
  return state.operations.find(({ id }) => id === wish.commandId) ?? null;
}

export interface Settable {
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
