/** What a verified client certificate says of whoever showed it: pure, from what it holds (`roadmap/0014-identity.md`). */
import {
  authorByCertificate,
  type CertificateAttribute,
  type ClientCertificates,
  type IdentitySpec,
} from "../cluster/identity.ts";
import type { Scope } from "../cluster/state.ts";
import type { Caller } from "./access.ts";
import { ApiProblem } from "./problem.ts";

/** One that its holder has proven to have the key of, and that an authority signed which was trusted when it was shown. */
export interface ShownCertificate {
  /** Distinguished names, as RFC 4514 writes them. */
  readonly subject: string;
  readonly issuer: string;
  readonly attributes: Readonly<Record<CertificateAttribute, readonly string[]>>;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** By its extended key usage, where it has one. */
  readonly isForClients: boolean;
}

/**
 * Whom a certificate names, and what they may do by the rules as they are now. A connection lasts longer than a rule does.
 *
 * @param wallMs by this member's clock: one that has ended since it was shown is refused.
 * @throws {ApiProblem} 401; why is told to whoever keeps the cluster.
 */
export function callerByCertificate(
  shown: ShownCertificate,
  identity: IdentitySpec | undefined,
  wallMs: number,
): Caller {
  const by = authorByCertificate(shown.subject, shown.issuer);
  const rules = identity?.clientCertificates;
  const why = rules === undefined ? "no certificate is believed any more" : whyNot(shown, rules, wallMs);
  if (rules === undefined || why !== null) {
    throw new ApiProblem({
      status: 401,
      code: "certificate-invalid",
      detail: "The client certificate is not valid here.",
      hint: "Check that it has not ended. Whoever keeps the cluster sees why: 'guacamole audit'.",
      by,
      why,
    });
  }
  const [name] = shown.attributes.cn;
  return { by, scopes: scopesBy(shown, rules), ...(isPrintable(name) ? { name } : {}) };
}

/** Every scope that a rule gives, once; none where no rule fits. */
function scopesBy({ attributes }: ShownCertificate, { scopes }: ClientCertificates): readonly Scope[] {
  const given = scopes.filter(({ attribute, value }) => (attributes[attribute] ?? []).includes(value));
  return [...new Set(given.map(({ scope }) => scope))];
}

/** Of both together: they are the author of each change. */
const NAMES_CHARACTERS_MAX = 1_000;

function whyNot(
  { subject, issuer, attributes, notBeforeMs, notAfterMs, isForClients }: ShownCertificate,
  { blocked = [] }: ClientCertificates,
  wallMs: number,
): string | null {
  if (subject.length + issuer.length > NAMES_CHARACTERS_MAX) return "certificate's names are too long";
  if (attributes.sha256.some((each) => blocked.includes(each))) return "certificate blocked";
  if (!isForClients) return "certificate is not for clients (extended key usage)";
  if (wallMs < notBeforeMs) return "certificate not valid yet";
  return wallMs > notAfterMs ? "certificate expired" : null;
}

const NAME_CHARACTERS_MAX = 100;

function isPrintable(name: string | undefined): name is string {
  return (
    name !== undefined &&
    name !== "" &&
    name.length <= NAME_CHARACTERS_MAX &&
    !/[\p{Cc}\p{Cf}\u2028\u2029]/u.test(name)
  );
}
