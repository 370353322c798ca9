import type { Static } from "@sinclair/typebox";
import { t } from "elysia";

/** The shapes of certificates of roles. Beside `documents.ts`, and of the same kind. */

const closed = { additionalProperties: false } as const;
const instant = t.String({ format: "date-time", description: "ISO 8601, UTC" });

export const CERTIFICATE_SECONDS_DEFAULT = 90 * 86_400;
const SECONDS_MAX = 366 * 86_400;

export const RoleCertificateRequestSchema = t.Object(
  {
    csrPem: t.String({
      minLength: 1,
      maxLength: 10_000,
      description: "A certificate request (PKCS #10, PEM). Its subject is not looked at",
    }),
    forSeconds: t.Optional(
      t.Integer({
        minimum: 60,
        maximum: SECONDS_MAX,
        default: CERTIFICATE_SECONDS_DEFAULT,
        description: "How long it is good",
      }),
    ),
  },
  {
    ...closed,
    title: "RoleCertificateRequest",
    examples: [
      {
        csrPem: "-----BEGIN CERTIFICATE REQUEST-----\n…\n-----END CERTIFICATE REQUEST-----\n",
        forSeconds: 7_776_000,
      },
    ],
  },
);

export const RoleCertificateSchema = t.Object(
  {
    role: t.String({ description: "The common name of the certificate" }),
    serial: t.String({ description: "Hexadecimal" }),
    expiresAt: instant,
    certificatePem: t.String(),
    caPem: t.String({ description: "For `sslrootcert`: who vouches for PostgreSQL's servers" }),
    notices: t.Array(t.String(), { description: "Why it may not let in yet, a sentence each" }),
  },
  { title: "RoleCertificate" },
);
export type RoleCertificateDocument = Static<typeof RoleCertificateSchema>;

export const RoleCertificatesSchema = t.Object(
  {
    role: t.String(),
    certificates: t.Array(
      t.Object({
        serial: t.String(),
        by: t.String({ description: "Who asked for it" }),
        issuedAt: instant,
        expiresAt: instant,
      }),
    ),
  },
  { title: "RoleCertificates" },
);
export type RoleCertificatesDocument = Static<typeof RoleCertificatesSchema>;
