/**
 * Which authorities a member trusts, and whether its certificate is to be signed anew, while the cluster's authority is being
 * replaced (`roadmap/0012-certificates.md`). Certificates are compared as texts.
 *
 * What lies on a member's disk may be ahead of what it knows to be agreed: a host that lost its power, or a newcomer that was let in
 * a moment ago, has not heard of the last step yet. So an authority is never given up for not being known, only for being known as
 * a former one; else the member would shut itself out.
 */

/** As agreed, as far as this member knows. */
export interface AgreedAuthorities {
  /** Signs now. */
  readonly signing: string;
  /** Trusted beside it; null: there is none. */
  readonly other: string | null;
  /** The other one is still to sign: what it signed is further than this member knows, and no mistake. */
  readonly isOtherNext: boolean;
  /** Counted once. */
  readonly former: readonly string[];
}

/** Whom to trust: as agreed, the one that signs first, and then what is trusted on disk and not known as former. */
export function authoritiesToTrust(
  { signing, other, former }: AgreedAuthorities,
  onDisk: readonly string[],
): readonly string[] {
  const agreed = other === null ? [signing] : [signing, other];
  return [...agreed, ...onDisk.filter((pem) => !agreed.includes(pem) && !former.includes(pem))];
}

/**
 * Whether what this authority signed may stay. Null: none that is trusted signed it.
 */
export function mayStaySignedBy(agreed: AgreedAuthorities, signer: string | null): boolean {
  if (signer === null || agreed.former.includes(signer)) return false;
  if (signer === agreed.other) return agreed.isOtherNext;
  return true;
}
