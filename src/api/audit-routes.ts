import { Elysia, t } from "elysia";
import type { StoredEvent } from "../cluster/consensus.ts";
import type { ClusterState } from "../cluster/state.ts";
import { ConsistencySchema, lookWith } from "./consistency.ts";
import { type Author, authorOf, describeAttempt, describeChange } from "./describe-audit.ts";
import { type AuditPageDocument, AuditPageSchema, type AuditRecordDocument } from "./documents.ts";
import { readWanted } from "./event-pages.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem, notReadyProblem } from "./problem.ts";
import type { RememberedAttempt, RememberedAttempts } from "./remembered-attempts.ts";
import { describeRoute } from "./route-context.ts";

const RECORDS_PER_PAGE_MAX = 1000;

/** Who changed what, and who was not let do it. */
export function auditRoutes(ports: ApiPorts, remembered: RememberedAttempts) {
  return new Elysia({ normalize: false }).get(
    "/v1/audit",
    async ({ query }) => {
      const consensus = ports.consensus();
      if (consensus === null) throw notReadyProblem(ports.memberId() !== null);
      if (query.consistency === "linearizable") await lookWith(ports, query);
      const { after = "0.0", limit = 100, by, since } = query;
      const filter = filterOf(by, since);
      const [changedAfter = 0, refusedAfter = 0] = after.split(".").map(Number);
      const changed = await readWanted(
        consensus,
        changedAfter,
        limit,
        (event) => event.audit !== undefined && filter(authorOf(event), event.atMs),
      );
      const attempts = remembered.after(refusedAfter);
      const { records, nextChanged, nextRefused } = merge(
        changed.events,
        attempts.filter((attempt) => filter(attempt, attempt.atMs)),
        limit,
        { state: consensus.state, answeredBy: ports.name },
      );
      const page: AuditPageDocument = {
        records,
        // What is left out by the filter is not looked at again.
        next: `${nextChanged ?? changed.next}.${nextRefused ?? attempts.at(-1)?.id ?? refusedAfter}`,
        answeredBy: ports.name,
      };
      return page;
    },
    {
      query: t.Object({
        after: t.Optional(
          t.String({ pattern: "^[0-9]{1,15}\\.[0-9]{1,15}$", description: "`next` of the page before" }),
        ),
        limit: t.Optional(t.Integer({ minimum: 1, maximum: RECORDS_PER_PAGE_MAX, default: 100 })),
        by: t.Optional(
          t.String({
            maxLength: 500,
            description: "A token's id or name, `issuer#subject` of an identity provider, or `local`",
          }),
        ),
        since: t.Optional(
          t.String({ maxLength: 40, description: "ISO 8601: only what happened then or later" }),
        ),
        consistency: ConsistencySchema,
      }),
      response: { 200: AuditPageSchema },
      detail: describeRoute(
        "admin",
        "access",
        "Who changed what and from where, and who was refused, oldest first",
        "Changes are the same on every member, as far back as `/v1/events`. Refusals (401, 403, and changes that were not made) and backups that were read are those of the member that answers, the latest thousand since it started; its log has them all. `next` is the cursor of the page that follows; a page that is not full is the last one for now.",
      ),
    },
  );
}

/** @throws {ApiProblem} 422 for a time that is none. */
function filterOf(
  by: string | undefined,
  since: string | undefined,
): (author: Author, atMs: number) => boolean {
  const sinceMs = since === undefined ? 0 : Date.parse(since);
  if (Number.isNaN(sinceMs)) {
    throw new ApiProblem({
      status: 422,
      code: "invalid-request",
      detail: "since (query): must be a time as ISO 8601 writes it",
    });
  }
  return (author, atMs) => atMs >= sinceMs && (by === undefined || author.by === by || author.byName === by);
}

/** The oldest of both, each in its own order. Where a page does not hold all of one, `next…` is the last that it holds. */
function merge(
  changed: readonly StoredEvent[],
  attempts: readonly RememberedAttempt[],
  limit: number,
  { state, answeredBy }: { readonly state: ClusterState; readonly answeredBy: string },
): {
  readonly records: AuditRecordDocument[];
  readonly nextChanged: number | null;
  readonly nextRefused: number | null;
} {
  const records: AuditRecordDocument[] = [];
  let [atChanged, atRefused] = [0, 0];
  while (records.length < limit) {
    const [event, attempt] = [changed[atChanged], attempts[atRefused]];
    if (event === undefined && attempt === undefined) break;
    if (attempt === undefined || (event !== undefined && event.atMs <= attempt.atMs)) {
      if (event !== undefined) records.push(describeChange(event, state));
      atChanged += 1;
    } else {
      records.push(describeAttempt(attempt, answeredBy));
      atRefused += 1;
    }
  }
  return {
    records,
    nextChanged: atChanged === changed.length ? null : lastBefore(changed, atChanged),
    nextRefused: atRefused === attempts.length ? null : lastBefore(attempts, atRefused),
  };
}

/** One less than the first that is left: ids that are not shown lie in between. */
function lastBefore(list: readonly { readonly id: number }[], at: number): number {
  return (list[at]?.id ?? 1) - 1;
}
