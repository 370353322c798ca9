import { type Static, t } from "elysia";
import { type BreakGlassPolicy, breakGlassPolicyOf } from "../cluster/break-glass.ts";
import type { DatabaseWish, DeclaredSpec, RoleSettings, RoleWish } from "../cluster/declared.ts";
import { type AccessSpec, IDENT_MAPS_MAX, RULES_MAX } from "../cluster/hba-rule.ts";
import { providersOf } from "../cluster/identity.ts";
import type { ParameterLayers } from "../cluster/parameters.ts";
import { type Hides, MASK, masked, RULE_PLACE, SETTINGS_PLACE } from "../cluster/secrets.ts";
import { type ClusterSpec, failoverOf, votersMaxOf } from "../cluster/spec.ts";
import type { ClusterState } from "../cluster/state.ts";
import { HbaRuleSchema, IdentMapSchema } from "./access-documents.ts";
import { policyFields } from "./break-glass-documents.ts";
import { ClientCertificatesRequestSchema } from "./client-certificate-documents.ts";
import { describeClientCertificates } from "./client-certificate-routes.ts";
import { type DatabaseRequest, DatabaseRequestSchema } from "./database-documents.ts";
import { describeLayers } from "./describe-parameters.ts";
import { DurabilitySchema, FailoverPolicySchema, TimingSchema } from "./documents.ts";
import { IdentityRequestSchema } from "./identity-documents.ts";
import { describeProvider } from "./identity-routes.ts";
import { effectiveTiming } from "./policy-checks.ts";
import { type RoleRequest, RoleRequestSchema } from "./role-documents.ts";

/** All that operators want as one document: what is shown is what may be sent back. */

const closed = { additionalProperties: false } as const;
const orDefault = <S extends Parameters<typeof t.Union>[0][number]>(schema: S) =>
  t.Optional(t.Union([schema, t.Null()]));

const ValuesSchema = t.Record(t.String(), t.Union([t.String({ maxLength: 4_000 }), t.Number(), t.Boolean()]));

/** A section that is absent stays as it is; one that is named is all that is wanted there. */
export const SpecBodySchema = t.Object(
  {
    durability: t.Optional(DurabilitySchema),
    failover: orDefault(FailoverPolicySchema),
    timing: t.Optional(
      t.Object(
        { ...TimingSchema.properties, leaseMs: t.Optional(TimingSchema.properties.leaseMs) },
        { ...closed, description: "Without `leaseMs` a lease follows `suspectMs`" },
      ),
    ),
    consensus: orDefault(
      t.Object(
        {
          votersMax: t.Union([t.Literal(1), t.Literal(3), t.Literal(5), t.Literal(7)], {
            description: "At most so many members vote",
          }),
        },
        closed,
      ),
    ),
    postgres: orDefault(
      t.Object(
        {
          parameters: t.Object(
            {
              cluster: t.Optional(ValuesSchema),
              primary: t.Optional(ValuesSchema),
              standby: t.Optional(ValuesSchema),
              members: t.Optional(t.Record(t.String(), ValuesSchema, { description: "By name of a member" })),
            },
            closed,
          ),
        },
        closed,
      ),
    ),
    access: orDefault(
      t.Object(
        {
          rules: t.Array(HbaRuleSchema, { maxItems: RULES_MAX }),
          identMaps: t.Optional(t.Array(IdentMapSchema, { maxItems: IDENT_MAPS_MAX })),
        },
        { ...closed, description: "Who may connect; null: the rules where nobody says anything" },
      ),
    ),
    declared: orDefault(
      t.Object(
        {
          drift: t.Optional(t.Union([t.Literal("correct"), t.Literal("report")])),
          roles: t.Optional(t.Record(t.String(), RoleRequestSchema)),
          databases: t.Optional(t.Record(t.String(), DatabaseRequestSchema)),
        },
        {
          ...closed,
          description: "Roles and databases. Whatever is not declared any more stays on the server as it is",
        },
      ),
    ),
    breakGlass: orDefault(t.Object(policyFields, closed)),
    identity: orDefault(
      t.Object(
        {
          providers: IdentityRequestSchema.properties.providers,
          clientCertificates: t.Optional(ClientCertificatesRequestSchema),
        },
        { ...closed, description: "Who else vouches for callers of this API" },
      ),
    ),
  },
  {
    ...closed,
    minProperties: 1,
    title: "SpecBody",
    description:
      "A section that is absent stays as it is. One that is there is all that is wanted of it, and null is its default. A secret that is masked stays what it is.",
    examples: [
      {
        durability: { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "block" },
        postgres: { parameters: { cluster: { work_mem: "64MB" }, standby: { hot_standby_feedback: true } } },
        access: {
          rules: [
            {
              type: "hostssl",
              databases: ["sales"],
              users: ["app"],
              address: "10.0.0.0/8",
              method: "scram-sha-256",
            },
          ],
        },
        declared: { roles: { app: { login: true, password: MASK } } },
      },
    ],
  },
);
export type SpecBody = Static<typeof SpecBodySchema>;

/** A spec, of this or of an earlier version, with its secrets masked, and the parameters that are hidden. */
export function describeSpec(state: ClusterState, spec: ClusterSpec, hides: Hides): Required<SpecBody> {
  return {
    durability: { ...spec.durability },
    failover: { ...failoverOf(spec) },
    timing: effectiveTiming({ ...state, spec }),
    consensus: { votersMax: votersMaxOf(spec) as 1 | 3 | 5 | 7 },
    postgres: { parameters: describeParameters(state, spec.postgres?.parameters ?? {}, hides) },
    access: spec.access === undefined ? null : describeAccess(spec.access),
    declared: spec.declared === undefined ? null : describeDeclared(spec.declared, hides),
    breakGlass: describeBreakGlass(breakGlassPolicyOf(spec)),
    identity: describeIdentity(spec),
  };
}

function describeIdentity(spec: ClusterSpec): NonNullable<SpecBody["identity"]> {
  const certificates = spec.identity?.clientCertificates;
  return {
    providers: providersOf(spec).map(describeProvider),
    ...(certificates === undefined ? {} : { clientCertificates: describeClientCertificates(certificates) }),
  };
}

function describeParameters(state: ClusterState, layers: ParameterLayers, hides: Hides) {
  const { cluster, primary, standby, members } = describeLayers(state, layers);
  return {
    cluster: maskedValues(cluster, hides),
    primary: maskedValues(primary, hides),
    standby: maskedValues(standby, hides),
    members: Object.fromEntries(
      Object.entries(members).map(([name, values]) => [name, maskedValues(values, hides)] as const),
    ),
  };
}

function describeAccess({ hba, identMaps = [] }: AccessSpec): NonNullable<SpecBody["access"]> {
  return {
    rules: hba.map((rule) => masked(rule, RULE_PLACE)) as NonNullable<SpecBody["access"]>["rules"],
    identMaps: identMaps.map((map) => ({ ...map })),
  };
}

function describeDeclared(
  { drift, roles = {}, databases = {} }: DeclaredSpec,
  hides: Hides,
): NonNullable<SpecBody["declared"]> {
  return {
    drift: drift ?? "correct",
    roles: Object.fromEntries(
      Object.entries(roles).map(([name, wish]) => [name, describeRoleWish(wish, hides)] as const),
    ),
    databases: Object.fromEntries(
      Object.entries(databases).map(([name, wish]) => [name, describeDatabaseWish(wish, hides)] as const),
    ),
  };
}

/** As it may be asked for. */
function describeRoleWish(
  { since: _, isTrusted: __, isAbsent, ...wish }: RoleWish,
  hides: Hides,
): RoleRequest {
  const { password, memberOf, settings, databaseSettings, rotation, logins: ___, ...rest } = wish;
  const databases = Object.entries(databaseSettings ?? {}).map(
    ([database, each]) => [database, maskedValues(each, hides)] as const,
  );
  return {
    ...(isAbsent === true ? { state: "absent" as const } : {}),
    ...rest,
    ...(password === undefined ? {} : { password: password === null ? null : MASK }),
    ...(memberOf === undefined ? {} : { memberOf: { ...memberOf } }),
    ...(rotation === undefined ? {} : { rotation: { ...rotation } }),
    ...(settings === undefined ? {} : { settings: maskedValues(settings, hides) }),
    ...(databaseSettings === undefined ? {} : { databaseSettings: Object.fromEntries(databases) }),
  };
}

function describeDatabaseWish(
  { since: _, isTrusted: __, isAbsent, ...wish }: DatabaseWish,
  hides: Hides,
): DatabaseRequest {
  const { settings, ...rest } = wish;
  return {
    ...(isAbsent === true ? { state: "absent" as const } : {}),
    // What is agreed is never changed in place: the document may be a copy.
    ...(structuredClone(rest) as DatabaseRequest),
    ...(settings === undefined ? {} : { settings: maskedValues(settings, hides) }),
  };
}

function describeBreakGlass({ approvals, durationMsDefault, durationMsMax }: BreakGlassPolicy) {
  return { approvals, defaultSeconds: durationMsDefault / 1_000, maxSeconds: durationMsMax / 1_000 };
}

function maskedValues<V extends RoleSettings[string]>(
  values: Readonly<Record<string, V>>,
  hides: Hides,
): Record<string, V> {
  return masked(values, SETTINGS_PLACE, hides) as Record<string, V>;
}
