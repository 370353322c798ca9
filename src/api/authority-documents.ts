/** Shapes about the cluster's certificate authority. */
import type { Static } from "@sinclair/typebox";
import { t } from "elysia";
import { closed } from "./documents.ts";

const fingerprint = t.String({ description: "SHA-256 of a certificate (DER), hexadecimal" });

const TrustedAuthoritySchema = t.Object(
  {
    fingerprint,
    isSigning: t.Boolean({ description: "It signs what members show; another one is trusted beside it" }),
    endsAt: t.Union([t.String({ format: "date-time" }), t.Null()]),
    certificatePem: t.String(),
  },
  { title: "TrustedAuthority" },
);

const AuthorityChangeSchema = t.Object(
  {
    operation: t.String({ description: "Its id" }),
    step: t.Union([t.Literal("trust"), t.Literal("sign")], {
      description:
        "`trust`: every member is to trust both; `sign`: every member is to show a certificate of the one that signs now",
    }),
    isHeld: t.Boolean({ description: "No further step is begun before somebody lets it go on" }),
    isGoingBack: t.Boolean({ description: "It was cancelled after certificates had been signed" }),
    members: t.Array(
      t.Object({
        member: t.String(),
        trusted: t.Array(fingerprint),
        issuer: t.Union([fingerprint, t.Null()], { description: "Of what it shows; null: not known" }),
        waitsFor: t.Union([t.String(), t.Null()], {
          description: "What the next step waits for here; null: nothing",
        }),
      }),
    ),
    endingRoleCertificates: t.Array(
      t.Object({ role: t.String(), serial: t.String(), expiresAt: t.String({ format: "date-time" }) }),
      {
        description:
          "Of roles, signed by the authority that is to go: they open nothing once it has gone. Hold the change while the other signs until their applications have new ones",
      },
    ),
  },
  { title: "AuthorityChange" },
);

export const AuthoritySchema = t.Object(
  {
    fingerprint: t.String({ description: "Of the one that signs, as join tokens name it" }),
    trusted: t.Array(TrustedAuthoritySchema),
    change: t.Union([AuthorityChangeSchema, t.Null()]),
  },
  { title: "Authority" },
);
export type AuthorityDocument = Static<typeof AuthoritySchema>;

export const AuthorityRequestSchema = t.Object(
  {
    hold: t.Optional(
      t.Boolean({
        default: false,
        description:
          "Sign nothing before somebody lets it go on: time to give the new certificate to clients that trust the present one",
      }),
    ),
  },
  { ...closed, title: "AuthorityRequest", examples: [{}, { hold: true }] },
);
