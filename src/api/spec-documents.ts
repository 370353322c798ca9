import { type Static, t } from "elysia";

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
  },
  { title: "SpecHistory" },
);
export type SpecHistoryDocument = Static<typeof SpecHistorySchema>;

export const SpecAtSchema = t.Object(
  {
    generation: t.Integer(),
    spec: t.Unknown({ description: "All that operators wanted then; secrets are masked" }),
  },
  { title: "SpecAt" },
);
export type SpecAtDocument = Static<typeof SpecAtSchema>;

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
