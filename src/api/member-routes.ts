import { Elysia, t } from "elysia";
import { formatLsn } from "../base/lsn.ts";
import type { Fork } from "../cluster/fork.ts";
import { memberByName } from "../cluster/state.ts";
import { acceptedOperation, begunBy, idempotent, namedMember } from "./cluster-routes.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { certificateFingerprint, formatJoinToken, hashSecret } from "./credential.ts";
import { describeMember, toInstant } from "./describe.ts";
import {
  EmptyRequestSchema,
  type ForkDocument,
  ForkSchema,
  JoinTokenRequestSchema,
  JoinTokenSchema,
  MemberChangeSchema,
  type MemberDocument,
  MemberSchema,
  OperationSchema,
  VotingRequestSchema,
} from "./documents.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { look } from "./sight.ts";
import { submit, wishOf } from "./submit.ts";

const nameParam = t.Object({ name: t.String({ description: "Name of a member" }) });

export function memberRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/members",
      async ({ query }) => {
        const sight = await lookWith(ports, query);
        return sight.state.members.map((member) => describeMember(sight, member));
      },
      {
        query: consistencyQuery,
        response: { 200: t.Array(MemberSchema) },
        detail: describeRoute("viewer", "members", "All members, and their place in the group that agrees"),
      },
    )
    .post(
      "/v1/members",
      async ({ body, request, set }) => {
        const { state, selfId } = look(ports);
        const id = ports.newId();
        const secret = ports.newSecret();
        const replaced = body.replaces === undefined ? null : namedMember(state, body.replaces);
        const expiresAtMs = ports.clock.wallMs() + (body.ttlSeconds ?? 3600) * 1000;
        // Never with the caller's Idempotency-Key: a repeated request shall get a token that works, so a new one.
        await submit(ports, wishOf(ports, callerOf(request), "join-token", null), {
          kind: "create-join-token",
          tokenId: id,
          secretHash: hashSecret(secret),
          expiresAtMs,
          ...(replaced === null ? {} : { replaces: replaced.id }),
        });
        const caFingerprint = certificateFingerprint(state.authority.certificatePem);
        const token = formatJoinToken({ id, secret, caFingerprint });
        const address = state.members.find((member) => member.id === selfId)?.apiAddress ?? "ADDRESS";
        set.status = 201;
        return {
          id,
          token,
          expiresAt: toInstant(expiresAtMs),
          command: `guacamole join ${address} --token ${token}`,
        };
      },
      {
        body: JoinTokenRequestSchema,
        response: { 201: JoinTokenSchema },
        detail: describeRoute(
          "admin",
          "members",
          "Make a join token, which admits one new member once",
          "With `replaces` it admits a member of that name, under a new id, in place of the one that has the name now: for a host that was rebuilt, or whose disk was wiped.",
        ),
      },
    )
    .get(
      "/v1/members/:name",
      async ({ params, query }) => {
        const sight = await lookWith(ports, query);
        const member = memberByName(sight.state, params.name);
        if (member === undefined) throw memberNotFound(sight.state.members.map(({ name }) => name));
        return describeMember(sight, member);
      },
      {
        params: nameParam,
        query: consistencyQuery,
        response: { 200: MemberSchema },
        detail: describeRoute("viewer", "members", "One member"),
      },
    )
    .get(
      "/v1/members/:name/forks",
      async ({ params }) => {
        const { id, name } = namedMember(look(ports).state, params.name);
        const forks = await ports.forks(id);
        if (forks.ok) return forks.value.map(describeFork);
        throw new ApiProblem({
          status: 503,
          code: "member-unreachable",
          detail: `${name} does not say what it keeps: ${forks.error}.`,
          hint: "Ask again once it is up: 'guacamole member list'.",
        });
      },
      {
        params: nameParam,
        response: { 200: t.Array(ForkSchema) },
        detail: describeRoute(
          "viewer",
          "members",
          "Transactions in doubt: what a fallen primary had committed and nobody followed",
          "Before a data directory is rewound, the WAL after the fork is kept: the last three forks, newest first. None of it was acknowledged, unless a loss was taken.",
        ),
      },
    )
    .patch(
      "/v1/members/:name",
      async ({ params, body, request, headers }) => {
        const caller = callerOf(request);
        const key = headers["idempotency-key"] ?? null;
        const memberId = namedMember(look(ports).state, params.name).id;
        const { voting, zone, ...others } = body;
        // In what is agreed the empty zone takes it away.
        const tags = zone === undefined ? others : { ...others, zone: zone ?? "" };
        // What may be refused comes first: then nothing was changed.
        if (voting !== undefined) {
          const wish = wishOf(ports, caller, `voting ${params.name}`, key);
          await submit(ports, wish, { kind: "set-member-voting", memberId, voting });
        }
        if (Object.keys(tags).length > 0) {
          const wish = wishOf(ports, caller, `tags ${params.name}`, key);
          await submit(ports, wish, { kind: "set-member-tags", memberId, tags });
        }
        return shownMember(ports, params.name);
      },
      {
        params: nameParam,
        body: MemberChangeSchema,
        headers: idempotent,
        response: { 200: MemberSchema },
        detail: describeRoute(
          "operator",
          "members",
          "Change what a member is wanted for",
          "Only what is named changes: its priority at a failover, whether it may be promoted at all or be a synchronous standby, whether others are cloned from it, its zone, its vote.",
        ),
      },
    )
    .delete(
      "/v1/members/:name",
      async ({ params, request, headers, set }) => {
        const route = `remove ${params.name}`;
        const wish = wishOf(ports, callerOf(request), route, headers["idempotency-key"] ?? null);
        const { state } = look(ports);
        // By the time it is asked again there may be no such member any more, or another one.
        const memberId = begunBy(state, wish)?.memberId ?? namedMember(state, params.name).id;
        await submit(ports, wish, { kind: "remove-member", memberId, operationId: wish.commandId });
        return acceptedOperation(ports, wish, set);
      },
      {
        params: nameParam,
        body: EmptyRequestSchema,
        headers: idempotent,
        response: { 202: OperationSchema },
        detail: describeRoute(
          "admin",
          "members",
          "Remove a member",
          "It leaves the synchronous standbys, then the group that agrees, and is forgotten. Its PostgreSQL is stopped, its data is left alone. Refused for the primary, and for the last member.",
        ),
      },
    )
    .post(
      "/v1/members/:name/voter",
      async ({ params, body, request, headers }) => {
        const route = `voter ${params.name}`;
        const wish = wishOf(ports, callerOf(request), route, headers["idempotency-key"] ?? null);
        const { id: memberId } = namedMember(look(ports).state, params.name);
        await submit(ports, wish, { kind: "set-member-voting", memberId, voting: body.voting });
        return shownMember(ports, params.name);
      },
      {
        params: nameParam,
        body: VotingRequestSchema,
        headers: idempotent,
        response: { 200: MemberSchema },
        detail: describeRoute(
          "operator",
          "members",
          "Say whether a member shall vote",
          "A wish: an odd number of members vote, and a member votes only once it has caught up. The leader's reason is at `/v1/consensus`.",
        ),
      },
    )
    .post(
      "/v1/members/:name/reinitialize",
      async ({ params, request, headers, set }) => {
        const route = `reinitialize ${params.name}`;
        const wish = wishOf(ports, callerOf(request), route, headers["idempotency-key"] ?? null);
        const member = namedMember(look(ports).state, params.name);
        await submit(ports, wish, {
          kind: "reinitialize-member",
          memberId: member.id,
          operationId: wish.commandId,
        });
        return acceptedOperation(ports, wish, set);
      },
      {
        params: nameParam,
        body: EmptyRequestSchema,
        headers: idempotent,
        response: { 202: OperationSchema },
        detail: describeRoute(
          "operator",
          "members",
          "Build a standby anew from the primary",
          "What its data directory holds is replaced. Refused for the primary.",
        ),
      },
    );
}

function describeFork(fork: Fork): ForkDocument {
  const { timeline, forkLsn, keptAtMs, bytes, transactionCount, transactions, problem } = fork;
  return {
    timeline,
    forkedAt: formatLsn(forkLsn),
    keptAt: toInstant(keptAtMs),
    bytes,
    transactionCount,
    transactions: transactions.map((each) => ({ ...each, lsn: formatLsn(each.lsn) })),
    problem,
  };
}

/** @throws {ApiProblem} 404 */
function shownMember(ports: ApiPorts, name: string): MemberDocument {
  const sight = look(ports);
  const member = memberByName(sight.state, name);
  if (member === undefined) throw memberNotFound(sight.state.members.map((each) => each.name));
  return describeMember(sight, member);
}

function memberNotFound(names: readonly string[]): ApiProblem {
  return new ApiProblem({
    status: 404,
    code: "member-unknown",
    detail: "No member has this name.",
    hint: `Members are: ${names.join(", ")}.`,
  });
}
