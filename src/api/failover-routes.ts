import { Elysia, type Static, t } from "elysia";
import type { MemberId } from "../base/ids.ts";
import { formatPosition } from "../base/lsn.ts";
import type { Member } from "../cluster/member.ts";
import { type ClusterState, type FailoverRecord, memberName, type Reign, rulesOf } from "../cluster/state.ts";
import { idempotent, namedMember } from "./cluster-routes.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { describeCohort, toInstant } from "./describe.ts";
import {
  type ExplanationDocument,
  ExplanationSchema,
  type FailoverDocument,
  FailoverRequestSchema,
  FailoverSchema,
} from "./documents.ts";
import { formatLossOffer, type OfferedLoss, parseLossOffer } from "./loss-offer.ts";
import type { ApiPorts, ExplainedLoss } from "./ports.ts";
import { ApiProblem, notReadyProblem } from "./problem.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { isUnreachable, look, requireReign, type Sight, statusOf } from "./sight.ts";
import { submit, type Wish, wasAgreedBefore, wishOf } from "./submit.ts";

/** How long a loss that was shown may be taken. */
const OFFER_MS = 300_000;

/** What happened to the primary, what would, and how a person makes it happen. */
export function failoverRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/history",
      async ({ query }) => {
        const { state } = await lookWith(ports, query);
        return (state.failovers ?? []).toReversed().map((record) => describeFailover(ports, record));
      },
      {
        query: consistencyQuery,
        response: { 200: t.Array(FailoverSchema) },
        detail: describeRoute("viewer", "operations", "Every change of the primary, newest first"),
      },
    )
    .get(
      "/v1/history/:number",
      async ({ params, query }) => {
        const { state } = await lookWith(ports, query);
        const record = state.failovers?.find(({ number }) => String(number) === params.number);
        if (record !== undefined) return describeFailover(ports, record);
        throw new ApiProblem({
          status: 404,
          code: "failover-unknown",
          detail: "No change of the primary has this number, or it is too old to be remembered.",
          hint: "GET /v1/history lists those that are.",
        });
      },
      {
        params: t.Object({ number: t.String({ pattern: "^[0-9]{1,9}$" }) }),
        query: consistencyQuery,
        response: { 200: FailoverSchema },
        detail: describeRoute(
          "viewer",
          "operations",
          "One change of the primary: evidence, phases in milliseconds, positions, reasons",
        ),
      },
    )
    .get(
      "/v1/explain",
      async ({ query }) => {
        const sight = await lookWith(ports, query);
        return describeExplanation(ports, sight, lostMembers(sight, query));
      },
      {
        query: t.Composite([
          consistencyQuery,
          t.Object({
            lost: t.Optional(t.String({ maxLength: 1_000, description: "Names of members, with commas" })),
            zone: t.Optional(t.String({ maxLength: 60, description: "All members of this zone" })),
          }),
        ]),
        response: { 200: ExplanationSchema },
        detail: describeRoute(
          "viewer",
          "cluster",
          "What stands in the way now, or what would happen if members were lost",
          "Would it fail over, to whom, in how long, with what possible loss; and if not, which predicate stands in the way and what can be done about it. `?lost=m1,m2` or `?zone=a`.",
        ),
      },
    )
    .post(
      "/v1/failover",
      async ({ body, request, headers, set }) => {
        const wish = wishOf(ports, callerOf(request), "failover", headers["idempotency-key"] ?? null);
        try {
          // What was asked before is answered as it was then, however things stand by now.
          if (!(await wasAgreedBefore(ports, wish))) await endReign(ports, wish, body);
        } catch (error) {
          throw withLossOffer(ports, error);
        }
        set.status = 202;
        return describeExplanation(ports, look(ports), []);
      },
      {
        body: FailoverRequestSchema,
        headers: idempotent,
        response: { 202: ExplanationSchema },
        detail: describeRoute(
          "operator",
          "cluster",
          "End the present reign by hand",
          "For a primary that is no use any more; 'switchover' hands over in good order. Nothing that was acknowledged is lost, unless a loss that was shown is taken with `acceptLoss`: bound to the epoch, the member and the position that it was shown for, and for five minutes. A refusal (409) shows it as `lossOffer`, where there is one to take.",
        ),
      },
    );
}

/** @throws {ApiProblem} */
async function endReign(
  ports: ApiPorts,
  wish: Wish,
  { to, acceptLoss }: Static<typeof FailoverRequestSchema>,
): Promise<void> {
  const sight = look(ports);
  const reign = requireReign(sight, "to replace");
  const preferred = to === undefined ? null : namedMember(sight.state, to);
  if (acceptLoss !== undefined) {
    const taken = readOffer(sight.state, acceptLoss);
    if (preferred !== null && preferred.id !== taken.memberId) throw otherOffer();
    await submit(ports, wish, { kind: "accept-loss", ...taken });
    return;
  }
  if (reign.fence !== null) throw alreadyEnding(ports, sight);
  if (preferred !== null) refuseUnsuitable(sight, reign, preferred);
  await submit(ports, wish, {
    kind: "fence",
    epoch: reign.epoch,
    reason: "operator",
    preferredId: preferred?.id ?? null,
    ...((sight.state.featureLevel ?? 1) < 3 ? {} : { evidence: [], detectionMs: null }),
  });
}

/** Who was refused sees at once what could be taken all the same. */
function withLossOffer(ports: ApiPorts, error: unknown): unknown {
  if (!(error instanceof ApiProblem) || error.parts.status !== 409 || ports.consensus() === null)
    return error;
  const { lossOffer } = describeExplanation(ports, look(ports), []);
  return lossOffer === null ? error : new ApiProblem({ ...error.parts, lossOffer });
}

function describeFailover(ports: ApiPorts, record: FailoverRecord): FailoverDocument {
  const { atMs, positions, phases, passedOver, evidence, ...rest } = record;
  return {
    ...rest,
    at: toInstant(atMs),
    reasonText: ports.reasonOf(record.reason)?.text ?? record.reason,
    evidence: [...evidence],
    phases: phases.map((each) => ({ ...each })),
    passedOver: passedOver.map((each) => ({ ...each })),
    positions: positions.map(({ member, position, hasPledged }) => ({
      member,
      position: position === null ? null : formatPosition(position),
      hasPledged,
    })),
  };
}

function lostMembers(
  sight: Sight,
  { lost, zone }: { readonly lost?: string | undefined; readonly zone?: string | undefined },
): readonly MemberId[] {
  const names = (lost ?? "").split(",").map((name) => name.trim());
  const named = names.filter((name) => name !== "").map((name) => namedMember(sight.state, name).id);
  if (zone === undefined) return named;
  const inZone = sight.state.members.filter(({ tags }) => tags.zone === zone).map(({ id }) => id);
  if (inZone.length === 0) {
    throw new ApiProblem({
      status: 409,
      code: "zone-unknown",
      detail: "No member is in this zone.",
      hint: "The tag `zone` says where a member is: 'guacamole topology show'.",
    });
  }
  return [...new Set([...named, ...inZone])];
}

function describeExplanation(
  ports: ApiPorts,
  sight: Sight,
  lostIds: readonly MemberId[],
): ExplanationDocument {
  const nameOf = (id: MemberId) => memberName(sight.state, id);
  const { reign } = sight.state;
  const explained = explainOf(ports, lostIds);
  const words = explained.reason === null ? null : ports.reasonOf(explained.reason);
  const { detectionMs, writableAfterMs, loss, outcome, reason, isMajorityLeft } = explained;
  return {
    lost: lostIds.map(nameOf),
    outcome,
    sentence: sentenceOf(ports, sight, explained),
    reason,
    reasonText: words?.text ?? null,
    wayOut: words?.wayOut ?? null,
    isMajorityLeft,
    primary: reign === null ? null : nameOf(reign.primaryId),
    successor: explained.successorId === null ? null : nameOf(explained.successorId),
    cohort: explained.cohort === null ? null : describeCohort(sight, explained.cohort),
    passedOver: explained.passedOver.map((each) => ({
      member: nameOf(each.memberId),
      reason: each.reason,
    })),
    detectionMs,
    writableAfterMs,
    loss,
    lossOffer: lostIds.length === 0 ? describeOffer(ports, sight, explained) : null,
    leader: describeLeader(ports, sight),
    ifLost:
      lostIds.length > 0
        ? []
        : sight.state.members.map(({ id, name }) => {
            const alone = explainOf(ports, [id]);
            return { member: name, outcome: alone.outcome, sentence: sentenceOf(ports, sight, alone) };
          }),
    seenAgoMs: Object.fromEntries(
      [...sight.observations].map(([id, { statusAtMs }]) => [
        nameOf(id),
        Math.max(0, Math.round(sight.nowMs - statusAtMs)),
      ]),
    ),
  };
}

function explainOf(ports: ApiPorts, lostIds: readonly MemberId[]): ExplainedLoss {
  const explained = ports.explain(new Set(lostIds));
  if (explained === null) throw notReadyProblem(ports.memberId() !== null);
  return explained;
}

function sentenceOf(ports: ApiPorts, sight: Sight, explained: ExplainedLoss): string {
  const { outcome, reason, detail, successorId, writableAfterMs, loss } = explained;
  const because = detail === null ? "" : ` (${detail})`;
  const why = reason === null ? "" : `${ports.reasonOf(reason)?.text ?? reason}${because}`;
  switch (outcome) {
    case "no-primary":
      return "There is no primary yet.";
    case "goes-on":
      return `Writes go on${because}.`;
    case "commits-weaker":
      return "Writes go on with fewer copies of each commit.";
    case "commits-wait":
      return `The primary stays, and commits wait: ${why}`;
    case "held":
      return `Nobody takes over by itself: ${why}`;
    case "failover": {
      const name = successorId === null ? "nobody" : memberName(sight.state, successorId);
      const lost = loss === null ? "nothing that was acknowledged is lost" : loss;
      return `${name} takes over; writes stand still for about ${writableAfterMs} ms; ${lost}.`;
    }
  }
}

function describeLeader(ports: ApiPorts, sight: Sight): ExplanationDocument["leader"] {
  const { leaderId } = sight.raft;
  const leading = leaderId === null ? null : (statusOf(sight, leaderId)?.leading ?? null);
  if (leaderId === null || leading === null) return null;
  const { reason, text } = leading;
  return {
    by: memberName(sight.state, leaderId),
    reason,
    text,
    wayOut: ports.reasonOf(reason)?.wayOut ?? null,
  };
}

// ---- a loss that is shown, and taken ----------------------------------------------------------------------------------

function describeOffer(
  ports: ApiPorts,
  sight: Sight,
  { offer, detail }: ExplainedLoss,
): ExplanationDocument["lossOffer"] {
  const { reign } = sight.state;
  if (offer === null || reign === null || reign.fence === null) return null;
  const expiresAtMs = ports.clock.wallMs() + OFFER_MS;
  const { timeline, lsn } = offer.position;
  const loss = { epoch: reign.epoch, memberId: offer.memberId, position: { timeline, lsn }, expiresAtMs };
  return {
    token: formatLossOffer(loss, sight.state.authority.privateKeyPem),
    epoch: reign.epoch,
    member: memberName(sight.state, offer.memberId),
    position: formatPosition(offer.position),
    wouldLose: `whatever was acknowledged beyond ${formatPosition(offer.position)}; how much that is, nobody that is heard knows${detail === null ? "" : ` (${detail})`}${mayGoOn(sight, reign)}`,
    expiresAt: toInstant(expiresAtMs),
  };
}

/** Of a primary that needs nobody to acknowledge, and that nothing ends before it hears of its end; else nothing. */
function mayGoOn(sight: Sight, reign: Reign): string {
  const isAlone = rulesOf(reign).some(({ k, isLeased }) => k === 0 && isLeased !== true);
  const hasPledged = (statusOf(sight, reign.primaryId)?.promises.pledgedEpoch ?? 0) >= reign.epoch;
  if (!isAlone || hasPledged) return "";
  const name = memberName(sight.state, reign.primaryId);
  return `; ${name} needs no standby to acknowledge, and goes on until it hears of this: make sure that its host is down, or its clients are away`;
}

/** @throws {ApiProblem} 422 */
function readOffer({ authority }: ClusterState, token: string): OfferedLoss {
  const read = parseLossOffer(token, authority.privateKeyPem);
  if (read.ok) return read.value;
  throw new ApiProblem({
    status: 422,
    code: "invalid-request",
    detail: `acceptLoss ${read.error}.`,
    hint: "GET /v1/explain shows one, where there is a loss to take.",
  });
}

function otherOffer(): ApiProblem {
  return new ApiProblem({
    status: 409,
    code: "member-unsuitable",
    detail: "The loss was shown for another member than the one that is named. Nothing was changed.",
    hint: "Leave `to` out, or look at 'guacamole explain' again.",
  });
}

/**
 * A reign is not ended for somebody who would be passed over. That it does not stream now is no objection: the primary that is
 * to be replaced may be why.
 *
 * @throws {ApiProblem} 409 `member-unsuitable`
 */
function refuseUnsuitable(sight: Sight, reign: Reign, member: Member): void {
  const objection = objectionTo(sight, reign, member);
  if (objection === null) return;
  throw new ApiProblem({
    status: 409,
    code: "member-unsuitable",
    detail: `${member.name} ${objection}, so it cannot follow. Nothing was changed.`,
    hint: "Leave `to` out to have the best one chosen; 'guacamole status' shows the roles.",
  });
}

/** The end of a sentence that begins with the member's name. */
function objectionTo(
  sight: Sight,
  { primaryId }: Reign,
  { id, kind, tags, isLeaving }: Member,
): string | null {
  if (id === primaryId) return "is the primary";
  if (kind === "witness") return "has no PostgreSQL";
  if (tags.isNoFailover) return "has the tag no-failover";
  if (isLeaving) return "is being removed";
  return isUnreachable(sight, id) ? "cannot be reached" : null;
}

function alreadyEnding(ports: ApiPorts, sight: Sight): ApiProblem {
  const { sentence, wayOut } = describeExplanation(ports, sight, []);
  return new ApiProblem({
    status: 409,
    code: "stale-epoch",
    detail: `The reign is being ended already. ${sentence}`,
    ...(wayOut === null ? {} : { hint: wayOut }),
  });
}
