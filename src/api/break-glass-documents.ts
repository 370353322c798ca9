import type { Static } from "@sinclair/typebox";
import { t } from "elysia";
import { APPROVALS_MAX, DURATION_MS_LIMIT } from "../cluster/break-glass.ts";

/** The shapes of break-glass access. Beside `documents.ts`, and of the same kind. */

const closed = { additionalProperties: false } as const;
const orNull = <T extends Parameters<typeof t.Union>[0][number]>(schema: T) => t.Union([schema, t.Null()]);
const instant = t.String({ format: "date-time", description: "ISO 8601, UTC" });
const SECONDS_MAX = DURATION_MS_LIMIT / 1_000;
const reason = t.String({
  minLength: 3,
  maxLength: 500,
  pattern: "^[^\\u0000-\\u001f\\u007f]+$",
  description: "Why, in a line: it stands in the audit trail",
});

export const BreakGlassRequestSchema = t.Object(
  {
    reason,
    address: t.String({
      maxLength: 50,
      description:
        "The IP address that the person connects from, as PostgreSQL sees it: nobody else is let in",
    }),
    durationSeconds: t.Optional(
      t.Integer({
        minimum: 1,
        maximum: SECONDS_MAX,
        description: "Absent: as the policy says, an hour at first",
      }),
    ),
  },
  {
    ...closed,
    title: "BreakGlassRequest",
    examples: [{ reason: "INC-4711: orders are stuck", address: "10.0.0.7", durationSeconds: 1800 }],
  },
);

export const BreakGlassExtensionSchema = t.Object(
  {
    durationSeconds: t.Integer({
      minimum: 1,
      maximum: SECONDS_MAX,
      description: "So much longer than it would last",
    }),
  },
  { ...closed, title: "BreakGlassExtension", examples: [{ durationSeconds: 1800 }] },
);

const stamp = { by: t.String({ description: "A token's id, or `local`" }), at: instant };

export const BreakGlassSchema = t.Object(
  {
    id: t.String(),
    state: t.Union([t.Literal("waiting"), t.Literal("open"), t.Literal("ended")], {
      description: "waiting: for approvals",
    }),
    role: t.String({ description: "Made for this alone, and removed at the end" }),
    reason: t.String(),
    by: t.String({ description: "Who asked: a token's id, or `local`" }),
    byName: orNull(t.String({ description: "The token's name" })),
    address: t.String({ description: "The only one that is let in, as CIDR" }),
    requestedAt: instant,
    durationSeconds: t.Number({ description: "From the opening on, extensions included" }),
    approvalsNeeded: t.Number(),
    approvals: t.Array(t.Object(stamp)),
    extensions: t.Array(t.Object({ ...stamp, durationSeconds: t.Number() })),
    openedAt: orNull(instant),
    expiresAt: orNull(
      t.String({
        format: "date-time",
        description:
          "By the wall clock of whoever opened it; each member ends it by its own clock, earlier if need be",
      }),
    ),
    ended: orNull(t.Object({ ...stamp, why: t.String({ description: "expired, revoked or not-approved" }) })),
    members: t.Array(
      t.Object({
        name: t.String(),
        state: t.Union([t.Literal("open"), t.Literal("over"), t.Literal("pending"), t.Literal("unknown")], {
          description: "open: it is let in there",
        }),
        remainingSeconds: orNull(t.Number({ description: "By that member's own clock" })),
        problem: orNull(t.String({ description: "What is not as it should be there" })),
      }),
    ),
  },
  { title: "BreakGlass" },
);
export type BreakGlassDocument = Static<typeof BreakGlassSchema>;

export const NewBreakGlassSchema = t.Object(
  { ...BreakGlassSchema.properties, password: t.String({ description: "Shown once, kept nowhere" }) },
  { title: "NewBreakGlass" },
);
export type NewBreakGlassDocument = Static<typeof NewBreakGlassSchema>;

export const policyFields = {
  approvals: t.Integer({
    minimum: 0,
    maximum: APPROVALS_MAX,
    description: "So many others must approve before it opens",
  }),
  defaultSeconds: t.Integer({
    minimum: 1,
    maximum: SECONDS_MAX,
    description: "Where a request says nothing",
  }),
  maxSeconds: t.Integer({ minimum: 1, maximum: SECONDS_MAX, description: "Extensions included" }),
};

export const BreakGlassPolicySchema = t.Object(
  { generation: t.Number(), ...policyFields },
  { title: "BreakGlassPolicy" },
);
export type BreakGlassPolicyDocument = Static<typeof BreakGlassPolicySchema>;

export const BreakGlassPolicyChangeSchema = t.Partial(t.Object(policyFields), {
  ...closed,
  title: "BreakGlassPolicyChange",
  description: "Only what is named changes; for what is asked for from then on",
  examples: [{ approvals: 1, maxSeconds: 14_400 }],
});
export type BreakGlassPolicyChange = Static<typeof BreakGlassPolicyChangeSchema>;
