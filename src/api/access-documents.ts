import type { Static } from "@sinclair/typebox";
import { t } from "elysia";
import { IDENT_MAPS_MAX, RULE_NAME, RULES_MAX } from "../cluster/hba-rule.ts";

/** The shapes of what says who may connect. Beside `documents.ts`, and of the same kind. */

const closed = { additionalProperties: false } as const;
const orNull = <T extends Parameters<typeof t.Union>[0][number]>(schema: T) => t.Union([schema, t.Null()]);
const names = (description: string) =>
  t.Array(t.String({ minLength: 1, maxLength: 1_000 }), { minItems: 1, maxItems: 200, description });
const memberName = t.String({ pattern: "^[a-z][a-z0-9_-]{0,39}$", description: "Name of a member" });

const ruleName = t.String({
  pattern: RULE_NAME.source,
  description: "A name of its own, by which it can be changed, moved and removed",
});
const ruleFields = {
  name: t.Optional(ruleName),
  type: t.Union(
    [
      t.Literal("local"),
      t.Literal("host"),
      t.Literal("hostssl"),
      t.Literal("hostnossl"),
      t.Literal("hostgssenc"),
      t.Literal("hostnogssenc"),
    ],
    { description: "How the client is connected" },
  ),
  databases: names("As in pg_hba.conf: a name, all, sameuser, samerole, replication, /regular expression"),
  users: names("As in pg_hba.conf: a name, all, +role, /regular expression"),
  address: t.Optional(
    t.String({
      maxLength: 300,
      description: "A range as CIDR, a host name, .suffix, all, samehost, samenet",
    }),
  ),
  method: t.String({ maxLength: 40, description: "scram-sha-256, reject, cert, peer, ldap, …" }),
  options: t.Optional(t.Record(t.String(), t.String(), { description: "Of the method" })),
  comment: t.Optional(t.String({ maxLength: 2_000 })),
  roles: t.Optional(
    t.Array(t.Union([t.Literal("primary"), t.Literal("standby")]), {
      minItems: 1,
      maxItems: 2,
      description: "In force only while the member is one of these. Absent: both",
    }),
  ),
  members: t.Optional(
    t.Array(memberName, { minItems: 1, maxItems: 100, description: "Only on these. Absent: all" }),
  ),
};
export const HbaRuleSchema = t.Object(ruleFields, { ...closed, title: "HbaRule" });

export const IdentMapSchema = t.Object(
  {
    map: t.String({ minLength: 1, maxLength: 500 }),
    systemUser: t.String({ minLength: 1, maxLength: 500, description: "A name, or /regular expression" }),
    databaseUser: t.String({ minLength: 1, maxLength: 500 }),
  },
  { ...closed, title: "IdentMap", description: "A line of pg_ident.conf" },
);

export const HbaRequestSchema = t.Object(
  {
    rules: t.Optional(t.Array(HbaRuleSchema, { maxItems: RULES_MAX })),
    text: t.Optional(
      t.String({ maxLength: 500_000, description: "Instead of `rules`: the text of a pg_hba.conf" }),
    ),
    identMaps: t.Optional(
      t.Array(IdentMapSchema, { maxItems: IDENT_MAPS_MAX, description: "Absent: they stay as they are" }),
    ),
    identText: t.Optional(
      t.String({ maxLength: 500_000, description: "Instead of `identMaps`: the text of a pg_ident.conf" }),
    ),
  },
  {
    ...closed,
    title: "HbaRequest",
    minProperties: 1,
    examples: [
      {
        rules: [
          {
            type: "hostssl",
            databases: ["sales"],
            users: ["app"],
            address: "10.0.0.0/8",
            method: "scram-sha-256",
          },
          { type: "host", databases: ["all"], users: ["all"], address: "all", method: "reject" },
        ],
      },
    ],
  },
);
export type HbaRequest = Static<typeof HbaRequestSchema>;

const ruleReference = t.Union([ruleName, t.Integer({ minimum: 1, maximum: RULES_MAX })]);
const placeFields = {
  at: t.Optional(
    t.Integer({ minimum: 1, maximum: RULES_MAX, description: "It has this number once it stands there" }),
  ),
  before: t.Optional(ruleReference),
  after: t.Optional(ruleReference),
};

export const HbaRuleAdditionSchema = t.Object(
  { ...ruleFields, ...placeFields },
  {
    ...closed,
    title: "HbaRuleAddition",
    description: "At one place: `at`, `before` or `after`, by name or number; at the end where none is said",
    examples: [
      {
        name: "sales-app",
        type: "hostssl",
        databases: ["sales"],
        users: ["app"],
        address: "10.0.0.0/8",
        method: "scram-sha-256",
        before: 1,
      },
    ],
  },
);
export type HbaRuleAddition = Static<typeof HbaRuleAdditionSchema>;

const { type, databases, users, method } = ruleFields;
const orRemoved = <T extends Parameters<typeof t.Union>[0][number]>(schema: T) =>
  t.Optional(t.Union([schema, t.Null()]));

export const HbaRuleChangeSchema = t.Object(
  {
    name: orRemoved(ruleName),
    type: t.Optional(type),
    databases: t.Optional(databases),
    users: t.Optional(users),
    address: orRemoved(t.String({ maxLength: 300 })),
    method: t.Optional(method),
    options: orRemoved(t.Record(t.String(), t.String())),
    comment: orRemoved(t.String({ maxLength: 2_000 })),
    roles: orRemoved(
      t.Array(t.Union([t.Literal("primary"), t.Literal("standby")]), { minItems: 1, maxItems: 2 }),
    ),
    members: orRemoved(t.Array(memberName, { minItems: 1, maxItems: 100 })),
    ...placeFields,
  },
  {
    ...closed,
    minProperties: 1,
    title: "HbaRuleChange",
    description:
      "What is named changes, null takes it out. A place (`at`, `before` or `after`, by name or number) moves the rule",
    examples: [{ address: "10.1.0.0/16", comment: "the new office" }, { before: "everybody-else" }],
  },
);
export type HbaRuleChange = Static<typeof HbaRuleChangeSchema>;

const NumberedRuleSchema = t.Object(
  { number: t.Number(), ...ruleFields, text: t.String({ description: "Its line in pg_hba.conf" }) },
  { title: "NumberedHbaRule" },
);

export const HbaRuleShownSchema = t.Object(
  {
    generation: t.Number({ description: "Send it as If-Match to change just this version" }),
    rule: NumberedRuleSchema,
  },
  { title: "HbaRuleShown" },
);

export const HbaSchema = t.Object(
  {
    generation: t.Number({ description: "Send it as If-Match to change just this version" }),
    isDefault: t.Boolean({
      description: "Nobody said anything: applications by password, and nobody else replicates",
    }),
    ownRules: t.Array(NumberedRuleSchema, {
      description: "Guacamole's own. They come first: nobody can keep members out",
    }),
    rules: t.Array(NumberedRuleSchema, {
      description: "They follow, in this order; the first that fits counts",
    }),
    identMaps: t.Array(IdentMapSchema),
    text: t.String({ description: "The rules as the text of a pg_hba.conf, to be edited and sent again" }),
    warnings: t.Array(t.Object({ rule: t.Number(), code: t.String(), message: t.String() }), {
      description:
        "What is allowed, and hardly meant: rules that are never met, methods that give something away",
    }),
    members: t.Array(
      t.Object({
        name: t.String(),
        state: t.Union(
          [t.Literal("in-force"), t.Literal("pending"), t.Literal("refused"), t.Literal("unknown")],
          { description: "`refused`: its PostgreSQL does not take them, and it goes on with what it had" },
        ),
        problem: orNull(t.String()),
      }),
    ),
    tried: t.Array(t.Object({ member: t.String(), isGood: t.Boolean(), detail: t.String() }), {
      description: "Whose PostgreSQL read the rules before they were agreed; empty for a read",
    }),
  },
  { title: "Hba" },
);
export type HbaDocument = Static<typeof HbaSchema>;

export const HbaExplainRequestSchema = t.Object(
  {
    user: t.String({ minLength: 1, maxLength: 200 }),
    database: t.Optional(t.String({ minLength: 1, maxLength: 200, description: "Absent: as the user" })),
    isReplication: t.Optional(t.Boolean({ description: "Physical replication, which names no database" })),
    address: t.Optional(
      t.String({ maxLength: 100, description: "The client's IP address. Absent: over the Unix socket" }),
    ),
    encryption: t.Optional(t.Union([t.Literal("none"), t.Literal("ssl"), t.Literal("gss")])),
    memberOf: t.Optional(
      t.Array(t.String({ maxLength: 200 }), {
        maxItems: 1_000,
        description: "Roles that the user is a member of, directly or not. Absent: not known",
      }),
    ),
    member: t.Optional(memberName),
    rules: t.Optional(
      t.Array(HbaRuleSchema, { maxItems: RULES_MAX, description: "Instead of what is agreed" }),
    ),
    text: t.Optional(t.String({ maxLength: 500_000, description: "The same as the text of a pg_hba.conf" })),
  },
  {
    ...closed,
    title: "HbaExplainRequest",
    examples: [{ user: "app", database: "sales", address: "10.0.0.7", encryption: "ssl" }],
  },
);
export type HbaExplainRequest = Static<typeof HbaExplainRequestSchema>;

const MetRuleSchema = t.Object({
  number: t.Number({ description: "As it is counted where it stands" }),
  origin: t.Union([t.Literal("guacamole"), t.Literal("cluster")]),
  method: t.String(),
  text: t.String(),
});

export const HbaExplanationSchema = t.Object(
  {
    outcome: t.Union([t.Literal("rule"), t.Literal("no-rule"), t.Literal("depends")], {
      description: "`no-rule`: refused. `depends`: on what only the server knows",
    }),
    sentence: t.String(),
    rule: orNull(MetRuleSchema),
    open: t.Array(t.Object({ rule: MetRuleSchema, unknown: t.String() }), {
      description: "Rules before it that may fit as well, and what would have to be known",
    }),
    member: orNull(t.String()),
    role: t.String(),
  },
  { title: "HbaExplanation" },
);
export type HbaExplanationDocument = Static<typeof HbaExplanationSchema>;
