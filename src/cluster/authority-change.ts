/** The cluster's authority is being replaced by another, as part of what is agreed (`roadmap/0012-certificates.md`). */
import type { CertificatesStatus } from "./observation.ts";
import type { CertificateAuthority, ClusterState } from "./state.ts";

/**
 * Two authorities, both trusted by everybody who is asked to show a certificate of either. `ClusterState.authority` is always
 * the one that signs.
 */
export interface AuthorityChange {
  readonly operationId: string;
  /** `trust`: members begin to trust the other one. `sign`: they have their certificates signed anew, and the other one is to go. */
  readonly step: "trust" | "sign";
  /** The one that does not sign: the next one at first, the former one afterwards. */
  readonly other: CertificateAuthority;
  /** SHA-256 of the certificate of the one that signs, hexadecimal; and of the other. */
  readonly fingerprint: string;
  readonly otherFingerprint: string;
  /** Somebody holds it: no further step is begun. Absent: nobody does. */
  readonly isHeld?: true;
  /** Somebody ended it after certificates had been signed: the authority from before signs again. Absent: nobody did. */
  readonly cancelledBy?: string;
}

/** So many that were replaced are remembered, as nobody's any more. */
const FORMER_MAX = 10;

/** Every authority whose certificates count, the one that signs first. */
export function trustedAuthorities({
  authority,
  authorityChange,
}: Pick<ClusterState, "authority" | "authorityChange">): readonly CertificateAuthority[] {
  return authorityChange == null ? [authority] : [authority, authorityChange.other];
}

/** The change is over: the other authority counts for nobody any more. */
export function withoutOther(state: ClusterState): ClusterState {
  const { authorityChange, formerAuthorities = [] } = state;
  if (authorityChange == null) return state;
  const former = [...formerAuthorities, authorityChange.other.certificatePem].slice(-FORMER_MAX);
  return { ...state, authorityChange: null, formerAuthorities: former };
}

/** What the next step still waits for at one member. */
export type AuthorityWait = "silent" | "old-release" | "trust" | "certificate";

/**
 * @param certificates what the member says of its certificates; null: it is not heard; undefined: it says nothing of them.
 * @returns null: nothing.
 */
export function whyAuthorityWaits(
  { step, fingerprint, otherFingerprint }: AuthorityChange,
  certificates: CertificatesStatus | null | undefined,
): AuthorityWait | null {
  if (certificates === null) return "silent";
  if (certificates?.trusted === undefined) return "old-release";
  const { trusted, issuer } = certificates;
  if (!trusted.includes(fingerprint) || !trusted.includes(otherFingerprint)) return "trust";
  return step === "sign" && issuer !== fingerprint ? "certificate" : null;
}

/** How far it is, as its operation shows it while nobody is waited for. */
export function authorityPhase({ isHeld, cancelledBy, step }: AuthorityChange): string {
  if (isHeld === true) return "held";
  if (cancelledBy !== undefined) return "going-back";
  return step === "trust" ? "trusting" : "signing";
}
