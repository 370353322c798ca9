import type { AuthorityDocument } from "../api/authority-documents.ts";
import { renderTable, withoutControls } from "./render-table.ts";

/** As much of a fingerprint as people compare. */
const SHOWN = 16;

/** The authority, and the way of another one into its place. */
export function renderAuthority({ trusted, change }: AuthorityDocument): string {
  const table = renderTable(
    ["authority", "", "until"],
    trusted.map(({ fingerprint, isSigning, endsAt }) => [
      fingerprint.slice(0, SHOWN),
      isSigning ? "signs" : "trusted",
      endsAt ?? "-",
    ]),
  );
  return change === null ? table : `${table}\n${renderChange(change)}`;
}

function renderChange(change: NonNullable<AuthorityDocument["change"]>): string {
  const { operation, step, isHeld, isGoingBack, members, endingRoleCertificates } = change;
  const what =
    step === "trust"
      ? "every member is to trust both"
      : "every member is to show a certificate of the one that signs";
  const held = isHeld ? "; HELD until 'guacamole certificates resume'" : "";
  const head = `${isGoingBack ? "cancelled, and going back" : "being replaced"}: ${what}${held} (operation ${operation})`;
  const rows = members.map(({ member, trusted, issuer, waitsFor }) => [
    member,
    trusted.map((each) => each.slice(0, SHOWN)).join(" "),
    issuer?.slice(0, SHOWN) ?? "-",
    waitsFor ?? "ready",
  ]);
  const ending =
    endingRoleCertificates.length === 0
      ? ""
      : `\nThese open nothing once the former authority has gone. Renew them once the new one signs ('guacamole role certificate');
'guacamole certificates hold' keeps both until then:\n\n${renderTable(
          ["role", "serial", "until"],
          endingRoleCertificates.map(({ role, serial, expiresAt }) => [
            withoutControls(role),
            serial.slice(0, SHOWN),
            expiresAt,
          ]),
        )}`;
  return `${withoutControls(head)}\n\n${renderTable(["member", "trusts", "shows", "next step"], rows)}${ending}`;
}
