/**
 * When a member replaces its own certificate (roadmap/0012-certificates.md). By wall clocks, as certificates are: whoever
 * checks one compares it with its own wall clock, and the member that it is of can do no better.
 */

/** What a certificate says of itself. Times in milliseconds since 1970. */
export interface CertificateFacts {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Host names and addresses. */
  readonly names: readonly string[];
}

/** What it is compared with. */
export interface WantedCertificate {
  readonly names: readonly string[];
  /** The cluster's present authority signed it. */
  readonly isOfAuthority: boolean;
  readonly authorityStartsMs: number;
  /** No certificate is valid for longer than its authority. */
  readonly authorityEndsMs: number;
}

export type RenewalReason = "other-authority" | "not-yet-valid" | "expired" | "ends-soon" | "other-names";

const DAY_MS = 86_400_000;
/** For how long one is made: the longest time that a part is taken of. Its beginning is that of its authority. */
const LIFE_MS = 365 * DAY_MS;
/** The part of its life that is left when a certificate is due. */
const DUE = 1 / 3;
/** How much of that part members differ by, so that not all of them renew at once. */
const SPREAD = 1 / 10;

/**
 * Why a member's certificate has to be replaced now, or null.
 *
 * `not-yet-valid`: it was made while a clock was ahead; nobody accepts it until then. One that ends with its authority is
 * not renewed: the next could not be valid for longer.
 *
 * @param earliness from 0 to 1, of this member alone: how much sooner than a third before its end it is due.
 */
export function whyRenew(
  certificate: CertificateFacts,
  wanted: WantedCertificate,
  wallMs: number,
  earliness: number,
): RenewalReason | null {
  const { notBeforeMs, notAfterMs, names } = certificate;
  if (!wanted.isOfAuthority) return "other-authority";
  if (wallMs < notBeforeMs && wanted.authorityStartsMs < notBeforeMs) return "not-yet-valid";
  if (notAfterMs < wanted.authorityEndsMs) {
    if (wallMs >= notAfterMs) return "expired";
    const dueMs = lifeOf(certificate) * DUE * (1 + SPREAD * earliness);
    if (wallMs >= notAfterMs - dueMs) return "ends-soon";
  }
  return isSameSet(names, wanted.names) ? null : "other-names";
}

function lifeOf({ notBeforeMs, notAfterMs }: CertificateFacts): number {
  return Math.min(notAfterMs - notBeforeMs, LIFE_MS);
}

function isSameSet(some: readonly string[], others: readonly string[]): boolean {
  const [one, other] = [new Set(some), new Set(others)];
  return one.size === other.size && [...one].every((name) => other.has(name));
}

/** The certificates of one member as it has them. */
export interface CertificateEnds {
  readonly member: CertificateFacts;
  /** A certificate of the owner's own for the API; null: the API shows the member's. */
  readonly ownEndsMs: number | null;
  readonly authorityEndsMs: number;
}

/** Half of what is left when it is due: by then it should have been renewed long ago. */
const OVERDUE = DUE / 2;
/** Nobody but its owner can replace it. */
const OWN_NOTICE_MS = 14 * DAY_MS;
const AUTHORITY_NOTICE_MS = 180 * DAY_MS;

/** Times in milliseconds since 1970. */
export interface CertificateProblem {
  /** `overdue`: the member should have renewed its own long ago. */
  readonly kind: "overdue" | "own-ends" | "authority-ends";
  readonly endsMs: number;
}

/** What people have to look after before it is too late. */
export function certificateProblems(
  { member, ownEndsMs, authorityEndsMs }: CertificateEnds,
  wallMs: number,
): readonly CertificateProblem[] {
  const { notAfterMs } = member;
  const problems: CertificateProblem[] = [];
  if (wallMs >= notAfterMs - lifeOf(member) * OVERDUE && notAfterMs < authorityEndsMs)
    problems.push({ kind: "overdue", endsMs: notAfterMs });
  if (ownEndsMs !== null && wallMs >= ownEndsMs - OWN_NOTICE_MS)
    problems.push({ kind: "own-ends", endsMs: ownEndsMs });
  if (wallMs >= authorityEndsMs - AUTHORITY_NOTICE_MS)
    problems.push({ kind: "authority-ends", endsMs: authorityEndsMs });
  return problems;
}
