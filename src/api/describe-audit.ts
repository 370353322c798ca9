/** Entries of the audit trail as documents: for whoever reads it, and for the syslog daemon that it is sent to. */
import type { StoredEvent } from "../cluster/consensus.ts";
import { type ClusterState, memberName } from "../cluster/state.ts";
import { toInstant } from "./describe.ts";
import type { AuditRecordDocument } from "./documents.ts";
import type { RememberedAttempt } from "./remembered-attempts.ts";

export interface Author {
  readonly by: string | null;
  readonly byName: string | null;
}

export function authorOf({ fields, audit }: StoredEvent): Author {
  const { by } = fields;
  return { by: typeof by === "string" ? by : null, byName: audit?.byName ?? null };
}

/** What somebody changed. */
export function describeChange(event: StoredEvent, state: ClusterState): AuditRecordDocument {
  const { audit, atMs, id } = event;
  return {
    id: `change-${id}`,
    at: toInstant(atMs),
    outcome: "changed",
    ...authorOf(event),
    address: audit?.address ?? null,
    member: audit?.member === undefined ? null : memberName(state, audit.member),
    request: audit?.request ?? "",
    reason: audit?.reason ?? null,
    status: null,
    code: null,
    why: null,
    kind: audit?.kind ?? null,
    values: (audit?.values ?? []).map((value) => ({ ...value })),
    untold: audit?.untold ?? 0,
  };
}

/** What somebody was refused, or read that is a secret. @param member that was asked. */
export function describeAttempt(attempt: RememberedAttempt, member: string): AuditRecordDocument {
  const { atMs, id, by, byName, address, request, status, code, why } = attempt;
  return {
    id: `attempt-${member}-${id}`,
    at: toInstant(atMs),
    outcome: code === null ? "read" : "refused",
    by,
    byName,
    address,
    member,
    request,
    reason: null,
    status,
    code,
    why,
    kind: null,
    values: [],
    untold: 0,
  };
}
