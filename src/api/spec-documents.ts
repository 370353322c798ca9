import { type Static, t } from "elysia";
import { SpecBodySchema } from "./spec-body.ts";

const orNull = <S extends Parameters<typeof t.Union>[0][number]>(schema: S) => t.Union([schema, t.Null()]);

const SpecChangeSchema = t.Object({
  path: t.String({ description: "Keys with dots between them; one that holds a dot stands in quotes" }),
  at: orNull(t.Integer({ description: "In a list: from this index on" })),
  before: t.Unknown({ description: "Null: it was not there. Of a list: what was taken out" }),
  after: t.Unknown({ description: "Null: it is not there. Of a list: what was put in" }),
});
export type SpecChangeDocument = Static<typeof SpecChangeSchema>;

const SpecVersionSchema = t.Object(
  {
    generation: t.Integer(),
    checksum: t.String({ description: "SHA-256 of this version and its parent's checksum" }),
    parent: orNull(t.String({ description: "Checksum of the version before; null: none was kept" })),
    at: t.String({ format: "date-time" }),
    by: t.String({ description: "A token's id, or `local`" }),
    byName: orNull(t.String()),
    reason: orNull(t.String({ description: "As whoever changed it said (header `X-Reason`)" })),
    request: orNull(t.String()),
    changes: t.Array(SpecChangeSchema),
  },
  { title: "SpecVersion" },
);
export type SpecVersionDocument = Static<typeof SpecVersionSchema>;

export const SpecHistorySchema = t.Object(
  {
    generation: t.Integer({ description: "The present one" }),
    versions: t.Array(SpecVersionSchema, { description: "Newest first, as many as are kept" }),
    next: orNull(
      t.Integer({ description: "Send it as ?before= for the next page; null: this is the last one" }),
    ),
  },
  { title: "SpecHistory" },
);
export type SpecHistoryDocument = Static<typeof SpecHistorySchema>;

export const SpecAtSchema = t.Object(
  {
    generation: t.Integer(),
    spec: SpecBodySchema,
  },
  { title: "SpecAt", description: "All that operators wanted then; secrets are masked" },
);
export type SpecAtDocument = Static<typeof SpecAtSchema>;

export const SpecSchema = t.Object(
  {
    generation: t.Integer({ description: "Send it as If-Match to change just this version" }),
    spec: SpecBodySchema,
    checksum: orNull(
      t.String({ description: "Of the newest version (`/v1/spec/history`); null: none is kept" }),
    ),
    members: t.Array(
      t.Object({
        name: t.String(),
        state: t.Union(
          [t.Literal("in-force"), t.Literal("behind"), t.Literal("different"), t.Literal("unknown")],
          {
            description:
              "in-force: nothing is left to configure there (what waits for a start is told by `/v1/parameters`); different: it has another version of the same generation",
          },
        ),
        generation: orNull(t.Integer({ description: "That it has in force; null: it does not say" })),
      }),
      { description: "Which members have it, as they say themselves" },
    ),
  },
  { title: "Spec" },
);
export type SpecDocument = Static<typeof SpecSchema>;

export const SpecAppliedSchema = t.Object(
  {
    generation: t.Integer({ description: "After the change; of a dry run, the one that it was made for" }),
    isDryRun: t.Boolean(),
    changes: t.Array(SpecChangeSchema, { description: "Empty: all of it was so already" }),
    notices: t.Array(t.String(), { description: "What the change does not do at once" }),
    tried: t.Array(t.Object({ member: t.String(), isGood: t.Boolean(), detail: t.String() }), {
      description: "Whose PostgreSQL read the rules for connections; empty: they are the same",
    }),
  },
  { title: "SpecApplied" },
);
export type SpecAppliedDocument = Static<typeof SpecAppliedSchema>;

export const SpecDiffSchema = t.Object(
  { from: t.Integer(), to: t.Integer(), changes: t.Array(SpecChangeSchema) },
  { title: "SpecDiff" },
);
export type SpecDiffDocument = Static<typeof SpecDiffSchema>;

export const SpecBlameSchema = t.Object(
  {
    generation: t.Integer(),
    values: t.Array(
      t.Object({
        path: t.String(),
        value: t.Unknown(),
        generation: orNull(
          t.Integer({ description: "Which said so; null: before the oldest version that is kept" }),
        ),
        at: orNull(t.String({ format: "date-time" })),
        by: orNull(t.String()),
        reason: orNull(t.String()),
      }),
    ),
    untold: t.Integer({ description: "So many more values there are" }),
  },
  { title: "SpecBlame" },
);
export type SpecBlameDocument = Static<typeof SpecBlameSchema>;
