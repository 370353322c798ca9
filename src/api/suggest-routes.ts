import type { Static } from "@sinclair/typebox";
import { Elysia, t } from "elysia";
import { isInEffect, settingNamed } from "../cluster/check-parameters.ts";
import type { MachineFacts } from "../cluster/machine-facts.ts";
import type { Member } from "../cluster/member.ts";
import { isStandbyLimit } from "../cluster/parameter-rules.ts";
import { showValue } from "../cluster/parameter-value.ts";
import { desiredParameters } from "../cluster/parameters.ts";
import type { ServerSettings } from "../cluster/server-settings.ts";
import { CONNECTIONS, type Suggestion, suggestParameters, weakestOf } from "../cluster/suggest-parameters.ts";
import { namedMember } from "./cluster-routes.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { dataMembers, roleIn } from "./describe-parameters.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { describeRoute } from "./route-context.ts";
import { requireReign, type Sight } from "./sight.ts";

const workload = t.Union([t.Literal("web"), t.Literal("oltp"), t.Literal("analytics"), t.Literal("mixed")], {
  default: "mixed",
});
const orNull = <T extends Parameters<typeof t.Union>[0][number]>(schema: T) => t.Union([schema, t.Null()]);

const SuggestionsSchema = t.Object(
  {
    for: t.String({ description: "`cluster`: the weakest of all; else a member" }),
    workload,
    connections: t.Number(),
    machines: t.Array(
      t.Object({
        member: t.String(),
        memoryBytes: t.Number(),
        isMemoryLimited: t.Boolean({ description: "By a container, to less than the machine has" }),
        cores: t.Number(),
        disk: t.Union([t.Literal("ssd"), t.Literal("rotating"), t.Literal("unknown")]),
        diskBytes: t.Number(),
      }),
    ),
    suggestions: t.Array(
      t.Object({
        name: t.String(),
        value: t.String(),
        desired: orNull(t.String({ description: "What is wanted at present; null: nothing" })),
        effective: orNull(t.String()),
        isDifferent: t.Boolean(),
        needsRestart: t.Boolean(),
        reason: t.String(),
      }),
    ),
    unseen: t.Array(t.Object({ member: t.String(), why: t.String() })),
  },
  { title: "Suggestions" },
);
export type SuggestionsDocument = Static<typeof SuggestionsSchema>;

/** Starting values by what the machines have: shown, and applied by nobody but who asks for it. */
export function suggestRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false }).get(
    "/v1/parameters/suggest",
    async ({ query }) => {
      const sight = await lookWith(ports, query);
      const { workload: kind = "mixed", connections = CONNECTIONS[kind] } = query;
      const one = query.member === undefined ? null : namedMember(sight.state, query.member);
      const { facts, machines, unseen } = await machinesOf(
        ports,
        one === null ? dataMembers(sight.state) : [one],
      );
      const [asked] = one === null ? primaryOf(sight) : [one];
      // What all share is not one member's to have.
      const suggested = suggestParameters(facts, kind, connections).filter(
        ({ name }) => one === null || !isStandbyLimit(name),
      );
      const names = suggested.map(({ name }) => name);
      const answer = asked === undefined ? null : await ports.serverSettings(asked.id, names);
      return {
        for: one?.name ?? "cluster",
        workload: kind,
        connections,
        machines,
        suggestions: suggested.map((each) =>
          beside(sight, asked ?? null, answer?.ok === true ? answer.value : null, each),
        ),
        unseen,
      };
    },
    {
      query: t.Composite([
        consistencyQuery,
        t.Object({
          member: t.Optional(
            t.String({ description: "For this member alone; left out: for the weakest of all" }),
          ),
          workload: t.Optional(workload),
          connections: t.Optional(t.Integer({ minimum: 10, maximum: 10_000 })),
        }),
      ]),
      response: { 200: SuggestionsSchema },
      detail: describeRoute(
        "viewer",
        "postgres",
        "Starting values for PostgreSQL's parameters, by the memory, cores and disks of the members",
        "Rules of thumb with a reason each, beside what is wanted and in effect. Nothing is changed: `PATCH /v1/parameters` takes what of it is wanted, with its checks.",
      ),
    },
  );
}

/** @throws {ApiProblem} 503 where no machine is known. */
async function machinesOf(ports: ApiPorts, members: readonly Member[]) {
  const answers = await Promise.all(
    members.map(async ({ id, name }) => ({ member: name, answer: await ports.machine(id) })),
  );
  const seen = answers.flatMap(({ member, answer }) => (answer.ok ? [{ member, facts: answer.value }] : []));
  const unseen = answers.flatMap(({ member, answer }) => (answer.ok ? [] : [{ member, why: answer.error }]));
  const [first, ...others] = seen.map(({ facts }) => facts);
  if (first === undefined)
    throw new ApiProblem({
      status: 503,
      code: "member-unreachable",
      detail: `No member says what its machine has: ${unseen.map(({ member, why }) => `${member}: ${why}`).join("; ")}.`,
      hint: "Ask again once it is up: 'guacamole status'.",
    });
  const facts: MachineFacts = others.reduce(weakestOf, first);
  return { facts, machines: seen.map((each) => ({ member: each.member, ...each.facts })), unseen };
}

function primaryOf(sight: Sight): readonly Member[] {
  const { primaryId } = requireReign(sight, "to compare with");
  return sight.state.members.filter(({ id }) => id === primaryId);
}

function beside(
  { state }: Sight,
  member: Member | null,
  server: ServerSettings | null,
  { name, value, reason }: Suggestion,
): SuggestionsDocument["suggestions"][number] {
  const layers = state.spec.postgres?.parameters ?? {};
  const desired =
    member === null
      ? null
      : (desiredParameters(layers, member.id, roleIn(state, member.id)).get(name) ?? null);
  const setting = server === null ? null : settingNamed(server, name);
  const isSame = setting !== null && isInEffect({ value, from: "cluster" }, setting) === true;
  return {
    name,
    value,
    desired: desired?.value ?? null,
    effective: setting === null ? null : showValue(setting),
    isDifferent: !isSame && desired?.value !== value,
    needsRestart: setting?.context === "postmaster" && !isSame,
    reason,
  };
}
