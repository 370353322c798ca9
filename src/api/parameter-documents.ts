import type { Static } from "@sinclair/typebox";
import { t } from "elysia";

/** The shapes of what goes in and out about PostgreSQL's parameters. */

const closed = { additionalProperties: false } as const;
const orNull = <T extends Parameters<typeof t.Union>[0][number]>(schema: T) => t.Union([schema, t.Null()]);

const ChangesSchema = t.Record(
  t.String(),
  t.Union([t.String({ maxLength: 4_000 }), t.Number(), t.Boolean(), t.Null()]),
  {
    maxProperties: 200,
    description: "By name: a value as PostgreSQL's files have it; null takes it out of this layer",
  },
);

export const ParametersChangeSchema = t.Object(
  {
    cluster: t.Optional(ChangesSchema),
    primary: t.Optional(ChangesSchema),
    standby: t.Optional(ChangesSchema),
    members: t.Optional(t.Record(t.String(), ChangesSchema, { description: "By name of a member" })),
  },
  {
    ...closed,
    minProperties: 1,
    title: "ParametersChange",
    examples: [
      {
        cluster: { work_mem: "64MB", log_min_duration_statement: "1s" },
        members: { m2: { work_mem: null } },
      },
      { standby: { max_standby_streaming_delay: "5min" } },
    ],
  },
);
export type ParametersChange = Static<typeof ParametersChangeSchema>;

const ValuesSchema = t.Record(t.String(), t.String());

export const ParameterLayersSchema = t.Object(
  {
    cluster: ValuesSchema,
    primary: ValuesSchema,
    standby: ValuesSchema,
    members: t.Record(t.String(), ValuesSchema),
  },
  {
    description:
      "What is wanted, by layer: a member's own counts more than its role's, that more than the cluster's",
  },
);

const MemberParameterSchema = t.Object(
  {
    member: t.String(),
    role: t.Union([t.Literal("primary"), t.Literal("standby")]),
    desired: orNull(
      t.String({ description: "What is wanted of this member; null: nothing, the base file counts" }),
    ),
    desiredFrom: orNull(t.Union([t.Literal("cluster"), t.Literal("role"), t.Literal("member")])),
    effective: orNull(t.String({ description: "As PostgreSQL shows it; null: its server does not have it" })),
    source: orNull(
      t.String({
        description:
          "Where the effective value comes from: default, base-file, cluster, role, member, guacamole, alter-system, command-line, unknown, or PostgreSQL's own word for it",
      }),
    ),
    pendingRestart: t.Boolean({ description: "Another value waits for PostgreSQL to be started again" }),
    isDrifting: t.Boolean({
      description: "The effective value is not the one that is wanted, and no start would change that",
    }),
  },
  { title: "MemberParameter" },
);

export const ParametersSchema = t.Object(
  {
    generation: t.Number({ description: "Send it as If-Match to change just this version" }),
    desired: ParameterLayersSchema,
    parameters: t.Array(
      t.Object({
        name: t.String(),
        description: t.String(),
        unit: orNull(t.String({ description: "Of a value that is given without one" })),
        allowed: t.String({ description: "What values it takes" }),
        takesEffect: t.Union([
          t.Literal("reload"),
          t.Literal("new-connections"),
          t.Literal("restart"),
          t.Literal("never"),
        ]),
        needs: t.Union([t.Literal("operator"), t.Literal("admin"), t.Literal("nobody")], {
          description: "The scope that changes it; `nobody`: guacamole sets it",
        }),
        members: t.Array(MemberParameterSchema),
      }),
      { description: "Those that are wanted, and those that are not as PostgreSQL has them by itself" },
    ),
    pendingRestart: t.Array(t.Object({ member: t.String(), names: t.Array(t.String()) })),
    takenOut: t.Array(t.Object({ member: t.String(), names: t.Array(t.String()) }), {
      description: "What ALTER SYSTEM had set although it is wanted otherwise, and was taken out again",
    }),
    fileErrors: t.Array(
      t.Object({
        member: t.String(),
        file: t.String(),
        line: t.Number(),
        name: orNull(t.String()),
        error: t.String(),
      }),
      { description: "Lines of configuration files that PostgreSQL does not take" },
    ),
    unseen: t.Array(t.Object({ member: t.String(), why: t.String() }), {
      description: "Members whose servers did not say",
    }),
    notices: t.Array(t.String(), { description: "What a change does not do at once" }),
  },
  { title: "Parameters" },
);
export type ParametersDocument = Static<typeof ParametersSchema>;
