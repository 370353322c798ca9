/** Bodies of planned restarts. */
import { t } from "elysia";
import { closed, memberName } from "./documents.ts";

const strategy = t.Union([t.Literal("auto"), t.Literal("in-place"), t.Literal("switchover")], {
  description:
    "How the primary is started again: `auto` by a switchover where a standby can take over and nothing that standbys share with it shrinks, else in place",
});
const shared = {
  onlyIfPending: t.Optional(
    t.Boolean({ description: "Only where a parameter waits for it; 409 `not-pending` where none does" }),
  ),
  allowStall: t.Optional(
    t.Boolean({ description: "Commits may wait while a standby is away that they need" }),
  ),
  timeoutSeconds: t.Optional(
    t.Integer({
      minimum: 5,
      maximum: 86_400,
      default: 120,
      description: "For each member, until it is back",
    }),
  ),
};

export const RestartRequestSchema = t.Object(
  {
    members: t.Optional(
      t.Array(memberName, { minItems: 1, maxItems: 100, uniqueItems: true, description: "Left out: all" }),
    ),
    strategy: t.Optional(strategy),
    ...shared,
  },
  { ...closed, title: "RestartRequest", examples: [{ onlyIfPending: true }, { members: ["m2", "m3"] }] },
);

export const MemberRestartRequestSchema = t.Object(
  {
    strategy: t.Optional(t.Union([t.Literal("in-place"), t.Literal("switchover")])),
    ifRole: t.Optional(
      t.Union([t.Literal("primary"), t.Literal("standby")], {
        description: "Only if it has this role; 409 `condition-not-met` otherwise",
      }),
    ),
    ...shared,
  },
  { ...closed, title: "MemberRestartRequest", examples: [{}, { onlyIfPending: true, ifRole: "standby" }] },
);
