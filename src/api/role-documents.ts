import type { Static } from "@sinclair/typebox";
import { t } from "elysia";
import { DECLARED_MAX, type ROLE_FLAGS } from "../cluster/declared.ts";
import { OVERLAP_SECONDS_DEFAULT, OVERLAP_SECONDS_MAX } from "../cluster/login-pair.ts";

/** The shapes of declared roles. Beside `documents.ts`, and of the same kind. */

const closed = { additionalProperties: false } as const;
const nullable = <T extends Parameters<typeof t.Union>[0][number]>(schema: T, description: string) =>
  t.Optional(t.Union([schema, t.Null()], { description }));

const flags: Readonly<Record<(typeof ROLE_FLAGS)[number], string>> = {
  login: "May log in",
  superuser: "Needs the scope admin, as createrole, replication and bypassrls do",
  createdb: "May make databases",
  createrole: "May make and change roles",
  replication: "May replicate",
  bypassrls: "Is held by no row security",
  inherit: "Has what the roles have that it is a member of, without SET ROLE",
};

export const SettingsSchema = t.Record(t.String(), t.Union([t.String(), t.Number(), t.Boolean(), t.Null()]), {
  description: "By parameter; null: none of its own",
});

const wishFields = {
  state: t.Optional(
    t.Union([t.Literal("present"), t.Literal("absent")], {
      description: "absent: it is dropped, and nothing else may be named. Absent: present",
    }),
  ),
  login: flag("login"),
  superuser: flag("superuser"),
  createdb: flag("createdb"),
  createrole: flag("createrole"),
  replication: flag("replication"),
  bypassrls: flag("bypassrls"),
  inherit: flag("inherit"),
  connectionLimit: t.Optional(t.Integer({ minimum: -1, maximum: 262_143, description: "-1: none" })),
  validUntil: nullable(
    t.String({ maxLength: 40 }),
    "Until when its password is good, as ISO 8601 with a zone; null: for ever",
  ),
  memberOf: t.Optional(
    t.Record(t.String(), t.Union([t.Literal("member"), t.Literal("admin"), t.Literal("none")]), {
      description: "By the other role's name; admin: may make others members, too; none: it is none",
    }),
  ),
  settings: t.Optional(SettingsSchema),
  databaseSettings: t.Optional(
    t.Record(t.String(), SettingsSchema, { description: "The same in single databases, by their names" }),
  ),
  rotation: t.Optional(
    t.Object(
      {
        overlapSeconds: t.Integer({
          minimum: 0,
          maximum: OVERLAP_SECONDS_MAX,
          description: "How long the password before stays good, where a rotation says nothing",
        }),
      },
      {
        ...closed,
        description:
          "Since its password was rotated: two logins take turns. Where it is not named in a whole declaration, they do no more, and stay on the server",
      },
    ),
  ),
};

function flag(name: (typeof ROLE_FLAGS)[number]) {
  return t.Optional(t.Boolean({ description: flags[name] }));
}

export const RoleRequestSchema = t.Object(
  {
    ...wishFields,
    password: nullable(
      t.String({ minLength: 1, maxLength: 1_000 }),
      "A password, of which only a SCRAM-SHA-256 verifier is kept, or such a verifier; null: nobody logs in by password",
    ),
  },
  {
    ...closed,
    title: "RoleRequest",
    description: "Only what is named is wanted: the rest stays as it is on the server.",
    examples: [
      {
        login: true,
        password: "…",
        connectionLimit: 50,
        memberOf: { sales_read: "member" },
        settings: { statement_timeout: "30s" },
      },
    ],
  },
);

export const RolesRequestSchema = t.Object(
  {
    drift: t.Optional(
      t.Union([t.Literal("correct"), t.Literal("report")], {
        description: "What becomes of changes that somebody makes by hand to what is declared",
      }),
    ),
    roles: t.Optional(
      t.Record(t.String(), t.Union([RoleRequestSchema, t.Null()]), {
        description: "By name; null: it is not declared any more, and stays as it is",
      }),
    ),
  },
  {
    ...closed,
    title: "RolesRequest",
    minProperties: 1,
    examples: [{ roles: { app: { login: true, memberOf: { sales_read: "member" } }, sales_read: {} } }],
  },
);

export const DeclaredStateSchema = t.Union(
  [
    t.Literal("in-force"),
    t.Literal("pending"),
    t.Literal("impossible"),
    t.Literal("drift"),
    t.Literal("unknown"),
  ],
  {
    description:
      "impossible: PostgreSQL does not do it, and reason says what to do; drift: somebody changed it, and that is only told",
  },
);

const LoginsSchema = t.Object(
  {
    newest: t.String({ description: "Logs in with the newest password" }),
    previous: t.Object({
      login: t.String({ description: "The one before; the role itself before its first rotation" }),
      until: t.String({ format: "date-time", description: "Its password is good until then" }),
      state: t.Union([t.Literal("overlapping"), t.Literal("ended")]),
    }),
  },
  { title: "Logins", description: "Of a role whose password is rotated: whose turn it is" },
);

export const RoleSchema = t.Object(
  {
    name: t.String(),
    state: DeclaredStateSchema,
    reason: t.Union([t.String(), t.Null()]),
    generation: t.Number({ description: "That said so last" }),
    wish: t.Object({
      ...wishFields,
      password: t.Optional(
        t.Union([t.Literal("scram-sha-256"), t.Literal("none")], {
          description: "What is kept is not shown",
        }),
      ),
    }),
    logins: t.Optional(LoginsSchema),
  },
  { title: "Role" },
);

export const RolesSchema = t.Object(
  {
    generation: t.Number(),
    drift: t.Union([t.Literal("correct"), t.Literal("report")]),
    detail: t.Union([t.String(), t.Null()], { description: "Why nothing is known of the primary" }),
    roles: t.Array(RoleSchema, { maxItems: DECLARED_MAX }),
    corrected: t.Array(t.Object({ name: t.String(), what: t.String(), at: t.String() }), {
      description: "What somebody had changed by hand and was put back since this primary began to look",
    }),
  },
  { title: "Roles" },
);

const passwordField = t.String({
  minLength: 1,
  maxLength: 1_000,
  description: "A password, of which only a SCRAM-SHA-256 verifier is kept, or such a verifier",
});

export const RotationRequestSchema = t.Object(
  {
    password: passwordField,
    overlapSeconds: t.Optional(
      t.Integer({
        minimum: 0,
        maximum: OVERLAP_SECONDS_MAX,
        description: `How long the password before stays good; 0: it ends at once. Absent: as declared, ${OVERLAP_SECONDS_DEFAULT} by default`,
      }),
    ),
    replacesNewest: t.Optional(
      t.Boolean({
        description:
          "The newest password was lost: its login gets this one, and the one before keeps its time",
      }),
    ),
  },
  {
    ...closed,
    title: "RotationRequest",
    examples: [{ password: "…", overlapSeconds: OVERLAP_SECONDS_DEFAULT }],
  },
);

export const OverlapRequestSchema = t.Object(
  {
    overlapSeconds: t.Integer({
      minimum: 0,
      maximum: OVERLAP_SECONDS_MAX,
      description: "From now on; 0: the password before ends at once",
    }),
  },
  { ...closed, title: "OverlapRequest", examples: [{ overlapSeconds: 43_200 }] },
);

export const RotatedSchema = t.Object(
  {
    login: t.String({ description: "Who logs in with the new password" }),
    role: RoleSchema,
    notices: t.Array(t.String(), { description: "What has to be done elsewhere, a sentence each" }),
  },
  { title: "Rotated" },
);

export type RotatedDocument = Static<typeof RotatedSchema>;
export type RoleRequest = Static<typeof RoleRequestSchema>;
export type RoleDocument = Static<typeof RoleSchema>;
export type RolesDocument = Static<typeof RolesSchema>;
