import type { Static } from "@sinclair/typebox";
import { t } from "elysia";
import { CERTIFICATE_ATTRIBUTES } from "../cluster/identity.ts";

/** The shapes of who is believed by a client certificate. Beside `documents.ts`, and of the same kind. */

const closed = { additionalProperties: false } as const;
const [CN, O, OU, EMAIL, DNS, URI, SHA256] = CERTIFICATE_ATTRIBUTES;
const ScopeWord = t.Union([
  t.Literal("health"),
  t.Literal("viewer"),
  t.Literal("operator"),
  t.Literal("access"),
  t.Literal("admin"),
]);
const RULES_MAX = 100;
const BLOCKED_MAX = 1_000;

const RuleSchema = t.Object(
  {
    attribute: t.Union(
      [
        t.Literal(CN),
        t.Literal(O),
        t.Literal(OU),
        t.Literal(EMAIL),
        t.Literal(DNS),
        t.Literal(URI),
        t.Literal(SHA256),
      ],
      {
        description:
          "Of the subject: `cn`, `o`, `ou`; of its alternative names: `email`, `dns`, `uri` (a SPIFFE id, say); `sha256`: this one certificate",
      },
    ),
    value: t.String({ minLength: 1, maxLength: 300, description: "To the letter" }),
    scope: ScopeWord,
  },
  closed,
);

const fields = {
  authorities: t.String({
    minLength: 1,
    maxLength: 32_000,
    description: "PEM, one or more: of the authorities whose certificates are taken",
  }),
  scopes: t.Array(RuleSchema, {
    maxItems: RULES_MAX,
    description: "Every rule that fits gives its scope; whoever fits none may do nothing",
  }),
  blocked: t.Optional(
    t.Array(t.String({ pattern: "^[0-9a-f]{64}$" }), {
      maxItems: BLOCKED_MAX,
      description:
        "SHA-256 of certificates (DER, hexadecimal) that are refused from now on, while they would be good",
    }),
  ),
};

export const CLIENT_CERTIFICATES_EXAMPLE = {
  authorities: "-----BEGIN CERTIFICATE-----\nMIIB…\n-----END CERTIFICATE-----\n",
  scopes: [
    { attribute: "ou" as const, value: "dba", scope: "admin" as const },
    { attribute: "uri" as const, value: "spiffe://example.org/ci", scope: "operator" as const },
  ],
};

export const ClientCertificatesRequestSchema = t.Object(fields, {
  ...closed,
  title: "ClientCertificatesRequest",
  examples: [CLIENT_CERTIFICATES_EXAMPLE],
});
export type ClientCertificatesRequest = Static<typeof ClientCertificatesRequestSchema>;

export const ClientCertificatesSchema = t.Object(
  {
    generation: t.Integer(),
    answeredBy: t.String({ description: "Name of the member that says whether it listens" }),
    port: t.Union([t.Integer(), t.Null()], {
      description: "Where that member takes certificates (`[api] certificate-listen`); null: nowhere",
    }),
    problem: t.Union([t.String(), t.Null()], { description: "Why it cannot" }),
    wanted: t.Union([t.Object(fields), t.Null()], { description: "Null: nobody is believed by one" }),
    authorities: t.Array(
      t.Object({ subject: t.String(), sha256: t.String(), expiresAt: t.String({ format: "date-time" }) }),
    ),
  },
  { title: "ClientCertificates" },
);
export type ClientCertificatesDocument = Static<typeof ClientCertificatesSchema>;
