import type { Static } from "@sinclair/typebox";
import { t } from "elysia";
import { IDENTITY_DEFAULTS, PROVIDERS_MAX } from "../cluster/identity.ts";

/** The shapes of identity providers. Beside `documents.ts`, and of the same kind. */

const closed = { additionalProperties: false } as const;
const orNull = <S extends Parameters<typeof t.Union>[0][number]>(schema: S) => t.Union([schema, t.Null()]);
const url = (description: string) => t.String({ minLength: 8, maxLength: 300, description });
const ScopeWord = t.Union([
  t.Literal("health"),
  t.Literal("viewer"),
  t.Literal("operator"),
  t.Literal("access"),
  t.Literal("admin"),
]);
const AlgorithmName = t.Union([
  t.Literal("RS256"),
  t.Literal("RS384"),
  t.Literal("RS512"),
  t.Literal("PS256"),
  t.Literal("PS384"),
  t.Literal("PS512"),
  t.Literal("ES256"),
  t.Literal("ES384"),
  t.Literal("ES512"),
  t.Literal("Ed25519"),
  t.Literal("EdDSA"),
]);
const LIST_MAX = 100;

const fields = {
  name: t.String({ pattern: "^[a-z0-9][a-z0-9-]{0,62}$", description: "For people; unique" }),
  issuer: url("As its tokens name it (`iss`), to the letter"),
  audiences: t.Array(t.String({ minLength: 1, maxLength: 200 }), {
    minItems: 1,
    maxItems: 10,
    description: "A token must be meant for one of these (`aud`): the client id of guacamole, for instance",
  }),
  jwksUri: t.Optional(
    url("Where its keys are; absent: as `/.well-known/openid-configuration` of the issuer says"),
  ),
  caCertificate: t.Optional(
    t.String({
      maxLength: 16_000,
      description: "PEM: who vouches for its servers; absent: the authorities of each member's system",
    }),
  ),
  algorithms: t.Optional(
    t.Array(AlgorithmName, {
      minItems: 1,
      description: "Which signatures are taken",
      default: [...IDENTITY_DEFAULTS.algorithms],
    }),
  ),
  clockToleranceSeconds: t.Optional(
    t.Integer({
      minimum: 0,
      maximum: 300,
      default: IDENTITY_DEFAULTS.clockToleranceSeconds,
      description: "By so much the clocks may differ",
    }),
  ),
  maxAgeSeconds: t.Optional(
    t.Integer({
      minimum: 60,
      maximum: 2_592_000,
      default: IDENTITY_DEFAULTS.maxAgeSeconds,
      description: "Tokens that were issued longer ago are refused, however long they are good",
    }),
  ),
  nameClaim: t.Optional(
    t.String({
      minLength: 1,
      maxLength: 100,
      description: "What people are told of whoever it is, beside the subject: `preferred_username`",
    }),
  ),
  scopes: t.Array(
    t.Object(
      {
        claim: t.String({
          minLength: 1,
          maxLength: 200,
          description: "Its name, or a path with dots: `groups`, `realm_access.roles`, `sub`",
        }),
        value: t.String({
          minLength: 1,
          maxLength: 300,
          description: "The claim, or one of its list. Of `email` only one that is verified counts",
        }),
        scope: ScopeWord,
      },
      closed,
    ),
    {
      maxItems: LIST_MAX,
      description: "Every rule that fits gives its scope; whoever fits none may do nothing",
    },
  ),
  blockedSubjects: t.Optional(
    t.Array(t.String({ minLength: 1, maxLength: 255 }), {
      maxItems: LIST_MAX,
      description: "Whose tokens are refused from now on, while they would be good (`sub`)",
    }),
  ),
};

const EXAMPLE = {
  name: "corp",
  issuer: "https://id.example.org/realms/main",
  audiences: ["guacamole"],
  nameClaim: "preferred_username",
  scopes: [
    { claim: "groups", value: "dba", scope: "admin" as const },
    { claim: "groups", value: "on-call", scope: "operator" as const },
  ],
};

const ProviderRequestSchema = t.Object(fields, {
  ...closed,
  title: "IdentityProviderRequest",
  examples: [EXAMPLE],
});
export type ProviderRequest = Static<typeof ProviderRequestSchema>;

export const IdentityRequestSchema = t.Object(
  { providers: t.Array(ProviderRequestSchema, { maxItems: PROVIDERS_MAX }) },
  { ...closed, title: "IdentityRequest", examples: [{ providers: [EXAMPLE] }] },
);

export const IdentitySchema = t.Object(
  {
    generation: t.Integer(),
    answeredBy: t.String({ description: "Name of the member that says what it knows of the keys" }),
    providers: t.Array(
      t.Object({
        ...fields,
        keys: t.Object(
          {
            count: t.Integer({ description: "So many public keys are known" }),
            fetchedAt: orNull(t.String({ format: "date-time", description: "Null: not yet" })),
            problem: orNull(t.String({ description: "Why they could not be had the last time" })),
          },
          { description: "What the member that answers knows; each asks for itself, once it needs to" },
        ),
      }),
    ),
  },
  { title: "Identity" },
);
export type IdentityDocument = Static<typeof IdentitySchema>;

export const TokenQuestionSchema = t.Object(
  { token: t.String({ minLength: 1, maxLength: 16_000, description: "A signed token (JWT). Kept nowhere" }) },
  { ...closed, title: "TokenQuestion", examples: [{ token: "eyJhbGciOi….eyJpc3Mi….c2lnbmF0…" }] },
);

export const TokenExplanationSchema = t.Object(
  {
    isGood: t.Boolean({ description: "It would be let in, with these scopes" }),
    provider: orNull(t.String()),
    by: orNull(t.String({ description: "As the audit trail would tell it: `issuer#subject`" })),
    name: orNull(t.String()),
    scopes: t.Array(ScopeWord),
    why: orNull(t.String({ description: "Why it would not be let in" })),
  },
  { title: "TokenExplanation" },
);
export type TokenExplanationDocument = Static<typeof TokenExplanationSchema>;
