/** Certificates by which roles log in to PostgreSQL: who was given one, and until when (`roadmap/0014-identity.md`). */
import { type Applied, accept, type ChangeOf, event, refuse } from "./applied.ts";
import type { Command } from "./command.ts";
import { isUnderstoodByAll } from "./feature-level.ts";
import { ROLE_CERTIFICATES_KEPT, type RoleCertificate } from "./role-certificate.ts";
import type { ClusterState } from "./state.ts";

/** Remembers one before it is handed out; those that have ended make room. */
export function noteRoleCertificate(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"note-role-certificate">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const { serial, role, authority, expiresAtMs } = change;
  const known = (state.roleCertificates ?? []).filter((each) => each.expiresAtMs > command.atMs);
  const { by, atMs } = command;
  const added: RoleCertificate = { serial, role, authority, by, atMs, expiresAtMs };
  return accept(
    { ...state, roleCertificates: [...known, added].slice(-ROLE_CERTIFICATES_KEPT) },
    event(command, "role.certificate", `a certificate for the role ${role} was issued by ${by}`, {
      role,
      serial,
      expiresAtMs,
    }),
  );
}
