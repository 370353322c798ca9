import { Elysia, t } from "elysia";
import { trustedAuthorities } from "../cluster/authority-change.ts";
import { flawOfRoleName } from "../cluster/check-role.ts";
import { wishOfRole } from "../cluster/declared.ts";
import type { ClusterState } from "../cluster/state.ts";
import { type Caller, mayDo, scopesText } from "./access.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { certificateFingerprint } from "./credential.ts";
import { invalidWish } from "./declare.ts";
import { askReport, statesIn } from "./declared-state.ts";
import { toInstant } from "./describe.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import {
  CERTIFICATE_SECONDS_DEFAULT,
  RoleCertificateRequestSchema,
  RoleCertificateSchema,
  RoleCertificatesSchema,
} from "./role-certificate-documents.ts";
import { notDeclared, requireRole } from "./role-routes.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { look, type Sight } from "./sight.ts";
import { submit, wishOf } from "./submit.ts";

const PATH = "/v1/access/roles/:name/certificate";
const roleName = t.Object({ name: t.String({ minLength: 1, maxLength: 200 }) });

/** Certificates by which roles log in, by the cluster's authority (`roadmap/0014-identity.md`). */
export function roleCertificateRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      PATH,
      async ({ params: { name }, query }) => {
        const { state } = await lookWith(ports, query);
        const wallMs = ports.clock.wallMs();
        const trusted = trustedAuthorities(state).map(({ certificatePem }) =>
          certificateFingerprint(certificatePem),
        );
        const good = (state.roleCertificates ?? []).filter(
          ({ role, authority, expiresAtMs }) =>
            role === name && expiresAtMs > wallMs && trusted.includes(authority),
        );
        return {
          role: name,
          certificates: good.map(({ serial, by, atMs, expiresAtMs }) => ({
            serial,
            by,
            issuedAt: toInstant(atMs),
            expiresAt: toInstant(expiresAtMs),
          })),
        };
      },
      {
        params: roleName,
        query: consistencyQuery,
        response: { 200: RoleCertificatesSchema },
        detail: describeRoute(
          "viewer",
          "access",
          "Which certificates of a role are good, and who asked for them",
          "The latest hundred of all roles; the audit trail tells of every one. One cannot be taken back before it ends: take `login` from the role, or the rule for connections away.",
        ),
      },
    )
    .post(
      PATH,
      async ({ params: { name }, body, request, set }) => {
        const caller = callerOf(request);
        const sight = look(ports);
        await requireMayIssue(ports, sight, caller, name);
        const seconds = body.forSeconds ?? CERTIFICATE_SECONDS_DEFAULT;
        const signed = await ports.signRole({
          csrPem: body.csrPem,
          role: name,
          expiresAtMs: ports.clock.wallMs() + seconds * 1_000,
        });
        if (!signed.ok) {
          throw new ApiProblem({
            status: 422,
            code: "invalid-request",
            detail: `csrPem: ${signed.error}. Nothing was issued.`,
            errors: [{ field: "csrPem", message: signed.error }],
          });
        }
        const { certificatePem, serial, authority, expiresAtMs } = signed.value;
        // Handed out once all know of it. Never with the caller's Idempotency-Key: the first certificate is kept nowhere.
        const wish = wishOf(ports, caller, "role-certificate", null);
        await submit(ports, wish, {
          kind: "note-role-certificate",
          role: name,
          serial,
          authority,
          expiresAtMs,
        });
        const { state } = look(ports);
        set.status = 201;
        return {
          role: name,
          serial,
          expiresAt: toInstant(expiresAtMs),
          certificatePem,
          caPem: trustedAuthorities(state)
            .map((each) => each.certificatePem)
            .join(""),
          notices: notices(name, state),
        };
      },
      {
        params: roleName,
        body: RoleCertificateRequestSchema,
        response: { 201: RoleCertificateSchema },
        detail: describeRoute(
          "access",
          "access",
          "Sign a certificate by which a role logs in to PostgreSQL",
          "The key stays with whoever asks: only a certificate request (PKCS #10) is sent, and of it only its key is believed. It lets in where a rule for connections has the method `cert`, or `clientcert=verify-full`. For a role that is as powerful as a superuser, or whose power nobody can tell, it needs the scope `admin`.",
        ),
      },
    );
}

/**
 * Whoever has a certificate can be the role: so it is given by whom could give the role a password, and no other.
 *
 * @throws {ApiProblem} 422 for a name that is no role's to have, 404 where it is not declared, 403, and 409 where its power is not known.
 */
async function requireMayIssue(ports: ApiPorts, sight: Sight, caller: Caller, name: string): Promise<void> {
  const flaw = flawOfRoleName(name);
  if (flaw !== null) throw invalidWish("role", name, flaw);
  const wish = wishOfRole(sight.state.spec.declared, name);
  if (wish?.isAbsent === true) throw notDeclared(name);
  if (mayDo(caller.scopes, "admin")) return;
  if (wish === null) throw notDeclared(name);
  requireRole(caller, name, wish);
  if (wish.isTrusted === true) {
    throw new ApiProblem({
      status: 403,
      code: "scope-insufficient",
      detail: `${name.slice(0, 80)} was declared with the scope 'admin', so the server was not asked how powerful it is; this token has ${scopesText(caller)}. Nothing was issued.`,
      hint: "Ask with a token of scope 'admin', or declare it with yours: 'guacamole role set NAME'.",
    });
  }
  const { state, reason } = statesIn(await askReport(ports, sight))({ kind: "role", name }, wish.since);
  if (state === "in-force") return;
  throw new ApiProblem({
    status: 409,
    code: "role-not-in-force",
    detail: `${name.slice(0, 80)} is ${state}${reason === null ? "" : `: ${reason}`} As long as it is not in force, nobody can tell how powerful it is. Nothing was issued.`,
    hint: "'guacamole role show' tells what is the matter; a token of scope 'admin' does without.",
  });
}

/** Why it may not let in yet. */
function notices(name: string, { spec, authorityChange }: ClusterState): string[] {
  const wish = wishOfRole(spec.declared, name);
  const rules = spec.access?.hba ?? [];
  const isAsked = rules.some(
    ({ type, method, options, users }) =>
      type.startsWith("hostssl") &&
      (method === "cert" || options?.["clientcert"] === "verify-full") &&
      // Groups and expressions may mean it.
      users.some((user) => user === name || user === `"${name}"` || /^(?:all$|[+/])/.test(user)),
  );
  return [
    ...(authorityChange == null
      ? []
      : ["The cluster's authority is being replaced: renew this certificate once that is through."]),
    ...(isAsked
      ? []
      : [
          `No rule for connections lets ${name} in by certificate: 'guacamole hba add hostssl all ${name} all cert --before 1' does.`,
        ]),
    ...(wish?.login === false ? [`${name} may not log in: 'guacamole role set ${name} --login'.`] : []),
    ...(wish?.logins === undefined
      ? []
      : [`Two logins take turns for ${name}; once it is locked itself, its certificate opens nothing.`]),
  ];
}
