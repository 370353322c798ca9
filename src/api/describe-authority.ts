/** The cluster's authority, and how far another one is from taking its place, as pure functions of a `Sight`. */
import { X509Certificate } from "node:crypto";
import {
  type AuthorityChange,
  type AuthorityWait,
  authorityPhase,
  trustedAuthorities,
  whyAuthorityWaits,
} from "../cluster/authority-change.ts";
import type { CertificatesStatus } from "../cluster/observation.ts";
import type { AuthorityDocument } from "./authority-documents.ts";
import { certificateFingerprint } from "./credential.ts";
import type { ClusterDocument } from "./documents.ts";
import { isUnreachable, type Sight, statusOf } from "./sight.ts";

const WAITS: Readonly<Record<AuthorityWait, string>> = {
  silent: "it is not heard",
  "old-release": "it does not say yet whom it trusts",
  trust: "it does not trust both yet",
  certificate: "it still shows a certificate of the other one",
};

/** @param wallMs certificates of roles that have ended by then are nobody's concern. */
export function describeAuthority(sight: Sight, wallMs: number): AuthorityDocument {
  const { state } = sight;
  const trusted = trustedAuthorities(state).map(({ certificatePem }, at) => ({
    fingerprint: certificateFingerprint(certificatePem),
    isSigning: at === 0,
    endsAt: endOf(certificatePem),
    certificatePem,
  }));
  const change = state.authorityChange ?? null;
  return {
    fingerprint: certificateFingerprint(state.authority.certificatePem),
    trusted,
    change:
      change === null
        ? null
        : { ...describeChange(sight, change), endingRoleCertificates: endingWith(sight, change, wallMs) },
  };
}

/** Those of the authority that is to go: they open nothing once it counts no more. Members renew theirs, roles cannot. */
function endingWith({ state }: Sight, change: AuthorityChange, wallMs: number) {
  const goes = change.step === "trust" ? change.fingerprint : change.otherFingerprint;
  return (state.roleCertificates ?? [])
    .filter(({ authority, expiresAtMs }) => authority === goes && expiresAtMs > wallMs)
    .map(({ role, serial, expiresAtMs }) => ({
      role,
      serial,
      expiresAt: new Date(expiresAtMs).toISOString(),
    }));
}

type Change = NonNullable<AuthorityDocument["change"]>;

function describeChange(sight: Sight, change: AuthorityChange): Omit<Change, "endingRoleCertificates"> {
  return {
    operation: change.operationId,
    step: change.step,
    isHeld: change.isHeld === true,
    isGoingBack: change.cancelledBy !== undefined,
    members: sight.state.members.map(({ id, name }) => {
      const certificates = certificatesOf(sight, id);
      const why = whyAuthorityWaits(change, certificates);
      return {
        member: name,
        trusted: [...(certificates?.trusted ?? [])],
        issuer: certificates?.issuer ?? null,
        waitsFor: why === null ? null : WAITS[why],
      };
    }),
  };
}

/** Null: it is not heard. */
function certificatesOf(sight: Sight, id: Sight["selfId"]): CertificatesStatus | null | undefined {
  const status = statusOf(sight, id);
  return status === null || isUnreachable(sight, id) ? null : status.certificates;
}

/** While one comes in another's place: how far it is, and who holds it up. */
export function describeAuthorityChange(sight: Sight): ClusterDocument["warnings"] {
  const change = sight.state.authorityChange;
  if (change == null) return [];
  const waits = describeChange(sight, change).members.flatMap(({ member, waitsFor }) =>
    waitsFor === null ? [] : [`${member} (${waitsFor})`],
  );
  const who = waits.length === 0 ? "" : `; it waits for ${waits.join(", ")}`;
  return [
    {
      code: "authority-changing",
      text: `The cluster's certificate authority is being replaced, ${authorityPhase(change)}${who}`,
      hint: "'guacamole certificates show' shows each member; a member that does not come back holds it up until it is removed.",
    },
  ];
}

/** Null: it cannot be read. */
function endOf(certificatePem: string): string | null {
  try {
    return new Date(new X509Certificate(certificatePem).validTo).toISOString();
  } catch {
    return null;
  }
}
