/** From a document of all that is wanted to the spec that is meant: sections that it does not name, and secrets that it masks, stay. */
import { hashJson } from "../base/json-hash.ts";
import { isScramVerifier } from "../base/scram.ts";
import type { DatabaseWish, DeclaredSpec, RoleSettings, RoleWish } from "../cluster/declared.ts";
import { wishOfDatabase, wishOfRole } from "../cluster/declared.ts";
import { type AccessSpec, type HbaRule, SECRET_OPTIONS } from "../cluster/hba-rule.ts";
import { identityWith } from "../cluster/identity.ts";
import { withLogins } from "../cluster/login-pair.ts";
import type { Parameters } from "../cluster/parameters.ts";
import { changedLayers } from "../cluster/parameters.ts";
import { hasMask, MASK, masked, maskedText, RULE_PLACE, unmasked } from "../cluster/secrets.ts";
import type { ClusterSpec } from "../cluster/spec.ts";
import { type ClusterState, leaseMsOf } from "../cluster/state.ts";
import { type Caller, mayDo } from "./access.ts";
import { clientCertificatesFrom } from "./client-certificate-routes.ts";
import { asDatabaseWish } from "./database-routes.ts";
import { invalidWish } from "./declare.ts";
import { hiddenFrom } from "./hidden-from.ts";
import { providersFrom } from "./identity-routes.ts";
import { parseChange } from "./parameter-routes.ts";
import { changedBreakGlass } from "./policy-checks.ts";
import { ApiProblem } from "./problem.ts";
import { accessOf } from "./prove-rules.ts";
import { asWish } from "./role-routes.ts";
import { describeSpec, type SpecBody } from "./spec-body.ts";
import { canonicalMaps, canonicalRules } from "./wished-rules.ts";

/**
 * What a document means, made for the present spec. What is as it was shown is the very same object.
 *
 * @throws {ApiProblem} 422 for what cannot be read, and for a mask with nothing behind it.
 */
export function targetOf(state: ClusterState, caller: Caller, body: SpecBody): ClusterSpec {
  const { spec } = state;
  const shown = describeSpec(state, spec, hiddenFrom(caller));
  const isSaid = (key: keyof SpecBody) =>
    body[key] !== undefined && hashJson(body[key]) !== hashJson(shown[key]);
  return {
    durability: isSaid("durability") ? durabilityOf(body, spec) : spec.durability,
    timing: isSaid("timing") ? timingOf(state, body) : spec.timing,
    ...section("consensus", isSaid("consensus") ? body.consensus : spec.consensus),
    ...section("failover", isSaid("failover") ? body.failover : spec.failover),
    ...section("postgres", isSaid("postgres") ? postgresOf(state, body) : spec.postgres),
    ...section("access", isSaid("access") ? wishedAccess(state, body) : spec.access),
    ...section("declared", isSaid("declared") ? declaredOf(state, caller, body) : spec.declared),
    ...section(
      "breakGlass",
      isSaid("breakGlass") ? body.breakGlass && changedBreakGlass(spec, body.breakGlass) : spec.breakGlass,
    ),
    ...section(
      "identity",
      isSaid("identity") ? body.identity && wishedIdentity(body.identity) : spec.identity,
    ),
  };
}

function wishedIdentity({
  providers,
  clientCertificates,
}: NonNullable<SpecBody["identity"]>): ClusterSpec["identity"] | null {
  return identityWith(
    providersFrom(providers),
    clientCertificates === undefined ? undefined : clientCertificatesFrom(clientCertificates),
  );
}

/** An earlier version, but for whose turn it is to log in: no password that has ended comes back by itself. */
export function targetOfVersion({ spec }: ClusterState, { declared, ...rest }: ClusterSpec): ClusterSpec {
  if (declared?.roles === undefined) return declared === undefined ? rest : { ...rest, declared };
  const roles = Object.entries(declared.roles).map(([name, wish]) => {
    const said = withLogins(wishOfRole(spec.declared, name), wish);
    return [name, { ...said, since: wish.since }] as const;
  });
  return { ...rest, declared: { ...declared, roles: Object.fromEntries(roles) } };
}

/** Null or undefined: its default, which is not written down. */
function section<Key extends keyof ClusterSpec>(
  key: Key,
  value: ClusterSpec[Key] | null | undefined,
): { readonly [K in Key]?: NonNullable<ClusterSpec[Key]> } {
  return (value == null ? {} : { [key]: value }) as { readonly [K in Key]?: NonNullable<ClusterSpec[Key]> };
}

function durabilityOf({ durability }: SpecBody, spec: ClusterSpec): ClusterSpec["durability"] {
  if (durability === undefined) return spec.durability;
  if (durability.mode === "async") return durability;
  const { staleReads, ...rest } = durability;
  return staleReads === "refuse" ? { ...rest, staleReads } : rest;
}

function timingOf(state: ClusterState, { timing }: SpecBody): ClusterSpec["timing"] {
  const { spec } = state;
  if (timing === undefined) return spec.timing;
  const { leaseMs, ...rest } = timing;
  const follows = leaseMsOf({ ...state, spec: { ...spec, timing: rest } });
  const isShownOnly = spec.timing.leaseMs === undefined && leaseMs === follows;
  return leaseMs === undefined || isShownOnly ? rest : { ...rest, leaseMs };
}

function postgresOf(state: ClusterState, { postgres }: SpecBody): ClusterSpec["postgres"] {
  const said = parseChange(state, postgres?.parameters ?? {});
  const present = state.spec.postgres?.parameters ?? {};
  const ids = state.members.map(({ id }) => id);
  const members = Object.entries(said.members ?? {}).map(
    ([id, values]) =>
      [id, meantValues(values, present.members?.[id as keyof typeof present.members])] as const,
  );
  const parameters = changedLayers(
    {},
    {
      cluster: meantValues(said.cluster, present.cluster),
      primary: meantValues(said.primary, present.primary),
      standby: meantValues(said.standby, present.standby),
      members: Object.fromEntries(members),
    },
    ids,
  );
  return Object.keys(parameters).length === 0 ? undefined : { ...state.spec.postgres, parameters };
}

function meantValues(
  said: Readonly<Record<string, string | null>> = {},
  present: Parameters | undefined,
): Readonly<Record<string, string | null>> {
  return Object.fromEntries(
    Object.entries(said).map(([name, value]) => [
      name,
      value === null ? null : meant(name, value, own(present, name)),
    ]),
  );
}

function wishedAccess(state: ClusterState, { access }: SpecBody): AccessSpec | null {
  if (access == null) return null;
  const present = state.spec.access;
  const hba = unmaskedRules(canonicalRules(access.rules, "access.rules"), present?.hba ?? []);
  const maps = canonicalMaps(access.identMaps ?? [], "access.identMaps");
  const said = accessOf(state, hba, maps);
  const before = present && { ...present, revision: said.revision };
  return present !== undefined && hashJson(before) === hashJson(said) ? present : said;
}

/** A masked secret is that of the rule which is the same but for its name and comment, whatever the order is now. */
function unmaskedRules(rules: readonly HbaRule[], present: readonly HbaRule[]): readonly HbaRule[] {
  const shown = present.map((rule) => ({ rule, key: keyOf(masked(rule, RULE_PLACE) as HbaRule) }));
  return rules.map((rule, index) => {
    const hidden = Object.entries({ ...rule.options, comment: rule.comment ?? "" }).find(([name, value]) =>
      SECRET_OPTIONS.has(name) ? value === MASK : hasMask(value),
    );
    if (hidden === undefined) return rule;
    const key = keyOf(rule);
    const found = shown.filter((each) => each.key === key).map((each) => each.rule);
    const [first] = found;
    const isClear = found.every(({ options }) => hashJson(options) === hashJson(first?.options));
    if (first === undefined || !isClear) throw maskOfNothing(`access.rules.${index + 1}.${hidden[0]}`);
    const told = found.find(({ comment = "" }) => maskedText(comment) === (rule.comment ?? ""));
    const comment = told?.comment ?? rule.comment;
    if (comment !== undefined && hasMask(comment)) throw maskOfNothing(`access.rules.${index + 1}.comment`);
    return {
      ...rule,
      ...(first.options === undefined ? {} : { options: first.options }),
      ...(comment === undefined ? {} : { comment }),
    };
  });
}

function keyOf({ comment: _, name: __, ...rule }: HbaRule): string {
  return hashJson(rule);
}

function declaredOf(state: ClusterState, caller: Caller, { declared }: SpecBody): DeclaredSpec | null {
  if (declared == null) return null;
  const present = state.spec.declared;
  const since = state.generation + 1;
  const trust = mayDo(caller.scopes, "admin") ? { isTrusted: true as const } : {};
  const roles = Object.entries(declared.roles ?? {}).map(([name, request]) => {
    const before = wishOfRole(present, name);
    const { password } = request;
    const wish = {
      ...asWish(name, request),
      ...(request.settings === undefined ? {} : { settings: settingsOf(request, before) }),
      ...(request.databaseSettings === undefined ? {} : { databaseSettings: inDatabases(request, before) }),
      ...(password === undefined ? {} : { password: verifierOf(name, password, before) }),
    };
    return [name, sameOr(before, { since, ...trust, ...withLogins(before, wish) })] as const;
  });
  const databases = Object.entries(declared.databases ?? {}).map(([name, request]) => {
    const before = wishOfDatabase(present, name);
    const wish = {
      ...asDatabaseWish(request),
      ...(request.settings === undefined ? {} : { settings: settingsOf(request, before) }),
    };
    return [name, sameOr(before, { since, ...trust, ...wish })] as const;
  });
  return {
    revision: since,
    ...(declared.drift === "report" ? { drift: "report" as const } : {}),
    ...(roles.length === 0 ? {} : { roles: Object.fromEntries(roles) }),
    ...(databases.length === 0 ? {} : { databases: Object.fromEntries(databases) }),
  };
}

/** What says the same as before is what it was: who may say it is not asked again. */
function sameOr<Wish extends RoleWish | DatabaseWish>(before: Wish | null, wish: Wish): Wish {
  const said = ({ since: _, isTrusted: __, ...rest }: Wish) => hashJson(rest);
  return before !== null && said(before) === said(wish) ? before : wish;
}

/** A file that lies about, in git too, is no place for a password. */
function verifierOf(name: string, password: string | null, before: RoleWish | null): string | null {
  if (password === null || isScramVerifier(password)) return password;
  if (password !== MASK)
    throw invalidWish(
      "role",
      name,
      "a file holds no password, only *** for the one that it has or a SCRAM-SHA-256 verifier; 'guacamole role password' sets one",
    );
  if (typeof before?.password === "string") return before.password;
  throw maskOfNothing(`declared.roles.${name.slice(0, 80)}.password`);
}

type Settings = Readonly<Record<string, string | number | boolean | null>>;

function settingsOf(
  { settings }: { readonly settings?: Settings },
  before: { readonly settings?: RoleSettings } | null,
) {
  return meantSettings(settings ?? {}, before?.settings);
}

function inDatabases(
  { databaseSettings = {} }: { readonly databaseSettings?: Readonly<Record<string, Settings>> },
  before: RoleWish | null,
) {
  const present = before?.databaseSettings;
  return Object.fromEntries(
    Object.entries(databaseSettings).map(([database, settings]) => {
      const known = present !== undefined && Object.hasOwn(present, database) ? present[database] : undefined;
      return [database, meantSettings(settings, known)] as const;
    }),
  );
}

function meantSettings(said: Settings, present: RoleSettings | undefined): RoleSettings {
  return Object.fromEntries(
    Object.entries(said).map(([name, value]) => {
      if (value === null) return [name, null] as const;
      const text = typeof value === "boolean" ? (value ? "on" : "off") : String(value);
      return [name, meant(name, text, own(present, name) ?? undefined)] as const;
    }),
  );
}

function meant(name: string, given: string, present: string | undefined): string {
  const value = unmasked(name, given, present);
  if (value !== null) return value;
  throw maskOfNothing(name);
}

function maskOfNothing(field: string): ApiProblem {
  return new ApiProblem({
    status: 422,
    code: "invalid-request",
    detail: `${field}: its secret is masked, and there is none here that the mask could stand for. Nothing was changed.`,
    hint: "Write the secret itself, or take the value out.",
    errors: [{ field, message: "a mask stands for what is there, and nothing is" }],
  });
}

/** A name may be `constructor`. */
function own<V>(values: Readonly<Record<string, V>> | undefined, name: string): V | undefined {
  return values !== undefined && Object.hasOwn(values, name) ? values[name] : undefined;
}
