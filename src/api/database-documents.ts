import type { Static } from "@sinclair/typebox";
import { t } from "elysia";
import { DECLARED_MAX } from "../cluster/declared.ts";
import {
  COLUMN_PRIVILEGES,
  FUNCTION_PRIVILEGES,
  type ObjectPrivilege,
  SEQUENCE_PRIVILEGES,
  TABLE_PRIVILEGES,
  TYPE_PRIVILEGES,
} from "../cluster/grants.ts";
import { DeclaredStateSchema, SettingsSchema } from "./role-documents.ts";

/** The shapes of declared databases. Beside `documents.ts`, and of the same kind. */

const closed = { additionalProperties: false } as const;
const name = (description: string) => t.Optional(t.String({ minLength: 1, maxLength: 200, description }));

const ExtensionWishSchema = t.Object(
  {
    schema: name("Where its objects are"),
    version: name("Absent: what the host has by default; one that is there stays as it is"),
  },
  { ...closed, title: "ExtensionWish" },
);

/** By role; keys are checked where wishes are. */
const grantsOf = (privileges: readonly ObjectPrivilege[]) =>
  t.Record(
    t.String(),
    t.Array(t.Union(privileges.map((each) => t.Literal(each))), { maxItems: privileges.length }),
    { description: "By role (public: everybody): these, and no others" },
  );

const GRANTS = {
  tables: grantsOf(TABLE_PRIVILEGES),
  sequences: grantsOf(SEQUENCE_PRIVILEGES),
  functions: grantsOf(FUNCTION_PRIVILEGES),
  types: grantsOf(TYPE_PRIVILEGES),
  columns: grantsOf(COLUMN_PRIVILEGES),
} as const;

const named = (what: string) =>
  `By name of ${what}; *: each that there is, now and later, but for roles of which something is said by its name`;

const defaultsField = (where: string) =>
  t.Optional(
    t.Record(
      t.String(),
      t.Object(
        {
          tables: t.Optional(GRANTS.tables),
          sequences: t.Optional(GRANTS.sequences),
          functions: t.Optional(GRANTS.functions),
          types: t.Optional(GRANTS.types),
        },
        { ...closed, title: "DefaultPrivileges" },
      ),
      { description: `What others get of what a role makes ${where} from then on, by that role` },
    ),
  );

const SchemaWishSchema = t.Object(
  {
    owner: name("A role"),
    privileges: t.Optional(
      t.Record(t.String(), t.Array(t.Union([t.Literal("usage"), t.Literal("create")]), { maxItems: 2 }), {
        description: "By role (public: everybody): these, and no others",
      }),
    ),
    tables: t.Optional(
      t.Record(t.String(), GRANTS.tables, {
        description: `${named("a table")}. Views and foreign tables, too; maintain from PostgreSQL 17 on`,
      }),
    ),
    sequences: t.Optional(t.Record(t.String(), GRANTS.sequences, { description: named("a sequence") })),
    functions: t.Optional(
      t.Record(t.String(), GRANTS.functions, {
        description: `${named("a function, with its types where it has namesakes: total(integer, text)")}. Procedures and aggregates, too`,
      }),
    ),
    types: t.Optional(
      t.Record(t.String(), GRANTS.types, {
        description: `${named("a type")}. Domains, enumerations and ranges, too; a table's rows are no type of their own`,
      }),
    ),
    columns: t.Optional(
      t.Record(t.String(), GRANTS.columns, {
        description: `${named("a column, with its table: orders(total)")}. orders: each of that table. Beside what its table grants: whoever has that needs none of this`,
      }),
    ),
    defaultPrivileges: defaultsField("in this schema, beside what they get in all of them,"),
  },
  { ...closed, title: "SchemaWish" },
);

const wishFields = {
  state: t.Optional(
    t.Union([t.Literal("present"), t.Literal("absent")], {
      description: "absent: it is dropped, and nothing else may be named. Absent: present",
    }),
  ),
  owner: name("A role"),
  template: name("What it is copied from; counts where it is made"),
  encoding: name("Counts where it is made; another one of a database that is there is impossible"),
  locale: name("As encoding"),
  connectionLimit: t.Optional(t.Integer({ minimum: -1, maximum: 262_143, description: "-1: none" })),
  settings: t.Optional(SettingsSchema),
  extensions: t.Optional(
    t.Record(t.String(), t.Union([ExtensionWishSchema, t.Null()]), {
      description: "By name; null: it shall not be there. What PostgreSQL does not call trusted needs admin",
    }),
  ),
  schemas: t.Optional(
    t.Record(t.String(), t.Union([SchemaWishSchema, t.Null()]), {
      description: "By name; null: it shall not be there, and is dropped once it is empty",
    }),
  ),
  privileges: t.Optional(
    t.Record(
      t.String(),
      t.Array(t.Union([t.Literal("connect"), t.Literal("create"), t.Literal("temporary")]), { maxItems: 3 }),
      { description: "By role (public: everybody): these, and no others" },
    ),
  ),
  defaultPrivileges: defaultsField("in whichever schema"),
};

export const DatabaseRequestSchema = t.Object(wishFields, {
  ...closed,
  title: "DatabaseRequest",
  description: "Only what is named is wanted: the rest stays as it is on the server.",
  examples: [
    {
      owner: "sales",
      privileges: { public: [], app: ["connect"] },
      extensions: { hstore: { schema: "public" } },
      schemas: {
        reports: {
          owner: "sales",
          privileges: { app: ["usage"] },
          tables: { "*": { app: ["select"] }, orders: { app: ["select", "insert"] } },
          sequences: { "*": { app: ["usage"] } },
          functions: { "total(integer)": { public: [], app: ["execute"] } },
          types: { mood: { public: [], app: ["usage"] } },
          columns: { "people(name)": { support: ["select"] } },
          defaultPrivileges: { sales: { tables: { app: ["select"] } } },
        },
      },
      defaultPrivileges: { sales: { functions: { public: [] } } },
      settings: { statement_timeout: "30s" },
    },
  ],
});

export const DatabasesRequestSchema = t.Object(
  {
    databases: t.Record(t.String(), t.Union([DatabaseRequestSchema, t.Null()]), {
      description: "By name; null: it is not declared any more, and stays as it is",
    }),
  },
  { ...closed, title: "DatabasesRequest", examples: [{ databases: { sales: { owner: "sales" } } }] },
);

export const DatabaseSchema = t.Object(
  {
    name: t.String(),
    state: DeclaredStateSchema,
    reason: t.Union([t.String(), t.Null()]),
    generation: t.Number({ description: "That said so last" }),
    wish: t.Object(wishFields),
  },
  { title: "Database" },
);

export const DatabasesSchema = t.Object(
  {
    generation: t.Number(),
    detail: t.Union([t.String(), t.Null()], { description: "Why nothing is known of the primary" }),
    databases: t.Array(DatabaseSchema, { maxItems: DECLARED_MAX }),
    corrected: t.Array(t.Object({ name: t.String(), what: t.String(), at: t.String() }), {
      description: "What somebody had changed by hand and was put back since this primary began to look",
    }),
  },
  { title: "Databases" },
);

export type DatabaseRequest = Static<typeof DatabaseRequestSchema>;
export type DatabaseDocument = Static<typeof DatabaseSchema>;
export type DatabasesDocument = Static<typeof DatabasesSchema>;
