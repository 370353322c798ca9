/** A spec as a whole through the checks that each part of it has on its own route, and as one change or none. */
import { hashJson } from "../base/json-hash.ts";
import type { Change } from "../cluster/command.ts";
import {
  changedDeclaration,
  type DatabaseWish,
  type DeclaredChanges,
  type DeclaredSpec,
  type RoleWish,
} from "../cluster/declared.ts";
import type { AccessSpec } from "../cluster/hba-rule.ts";
import { changedLayers, isSameParameters, layersChange } from "../cluster/parameters.ts";
import type { ClusterSpec } from "../cluster/spec.ts";
import type { ClusterState, Scope } from "../cluster/state.ts";
import { type Caller, mayDo, scopesText } from "./access.ts";
import type { HbaDocument } from "./access-documents.ts";
import { requireDatabase } from "./database-routes.ts";
import { requireOwnLogins } from "./declare.ts";
import { proveParameters } from "./parameter-routes.ts";
import { requireEnoughStandbys, requireSoundTiming } from "./policy-checks.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { proveRules } from "./prove-rules.ts";
import { requireRole } from "./role-routes.ts";
import type { Sight } from "./sight.ts";

export interface Proven {
  /** Null: all of it is as it is wanted already. */
  readonly change: Change | null;
  /** The spec that the change will have made. */
  readonly after: ClusterSpec;
  /** What it does not do at once, a sentence each. */
  readonly notices: readonly string[];
  /** Whose PostgreSQL read the rules for connections. */
  readonly tried: HbaDocument["tried"];
}

/**
 * Whether a spec may be wanted by this caller, and how it comes about. Only what differs is looked at. Nothing is changed.
 *
 * @throws {ApiProblem} whatever the route of the same change would be refused with.
 */
export async function provenSpec(
  ports: ApiPorts,
  sight: Sight,
  caller: Caller,
  target: ClusterSpec,
): Promise<Proven> {
  const { state } = sight;
  const { spec: present, generation } = state;
  const declares = declaredChanges(present.declared, target.declared);
  requireScopes(caller, differing(present, target, declares));
  requirePolicies(state, target);
  requireDeclarations(caller, declares);
  // Their servers are asked last: that is what takes time.
  const { parameters, notices } = await provenParameters(ports, sight, caller, target);
  const { access, tried } = await provenAccess(ports, sight, target);
  const { declared: _, postgres, access: __, ...policies } = target;
  const spec: ClusterSpec = {
    ...policies,
    ...(parameters === null ? {} : { postgres: { ...postgres, parameters } }),
    ...(access === undefined ? {} : { access }),
    ...(present.declared === undefined ? {} : { declared: present.declared }),
  };
  const change = changeTo(state, spec, declares);
  const declared = declares === null ? null : changedDeclaration(present.declared, declares, generation + 1);
  requireOwnLogins(declared);
  const { declared: ___, ...others } = spec;
  const after = declares === null ? spec : { ...others, ...(declared === null ? {} : { declared }) };
  return { change, after, notices, tried };
}

function changeTo(state: ClusterState, spec: ClusterSpec, declares: DeclaredChanges | null): Change | null {
  const { generation } = state;
  if (hashJson(spec) === hashJson(state.spec))
    return declares === null ? null : { kind: "declare", generation, changes: declares };
  return { kind: "change-spec", generation, spec, ...(declares === null ? {} : { declares }) };
}

/** What each section asks for, where it differs; as its own routes do. */
const NEEDS: Readonly<Record<Section, Scope>> = {
  durability: "operator",
  failover: "operator",
  timing: "operator",
  postgres: "operator",
  access: "access",
  declared: "access",
  consensus: "admin",
  breakGlass: "admin",
  identity: "admin",
};

type Section = keyof ClusterSpec;

function differing(
  present: ClusterSpec,
  target: ClusterSpec,
  declares: DeclaredChanges | null,
): readonly Section[] {
  return (Object.keys(NEEDS) as Section[]).filter((key) => {
    if (key === "declared") return declares !== null;
    if (key === "access") return !isSameAccess(present.access, target.access);
    return hashJson(present[key]) !== hashJson(target[key]);
  });
}

/** Whenever it was said. */
function isSameAccess(a: AccessSpec | undefined, b: AccessSpec | undefined): boolean {
  const said = (access: AccessSpec | undefined) => hashJson(access && { ...access, revision: 0 });
  return said(a) === said(b);
}

/** @throws {ApiProblem} 403 */
function requireScopes(caller: Caller, sections: readonly Section[]): void {
  const denied = sections.filter((key) => !mayDo(caller.scopes, NEEDS[key]));
  if (denied.length === 0) return;
  const needed = denied.map((key) => `${key} needs a token of scope '${NEEDS[key]}'`);
  throw new ApiProblem({
    status: 403,
    code: "scope-insufficient",
    detail: `To change ${needed.join(", ")}; this one has ${scopesText(caller)}. Nothing was changed.`,
  });
}

/** @throws {ApiProblem} 422 */
function requirePolicies(state: ClusterState, target: ClusterSpec): void {
  requireSoundTiming(target.timing);
  if (hashJson(target.durability) !== hashJson(state.spec.durability))
    requireEnoughStandbys(state, target.durability);
}

async function provenParameters(ports: ApiPorts, sight: Sight, caller: Caller, target: ClusterSpec) {
  const { state } = sight;
  const ids = state.members.map(({ id }) => id);
  const said = state.spec.postgres?.parameters;
  // What is wanted of those who are members no more is nobody's wish.
  const present = changedLayers(said ?? {}, {}, ids);
  const wanted = changedLayers(target.postgres?.parameters ?? {}, {}, ids);
  if (isSameParameters(present, wanted)) return { parameters: said ?? null, notices: [] };
  const { after, notices } = await proveParameters(ports, sight, caller, layersChange(present, wanted));
  return { parameters: Object.keys(after).length === 0 ? null : after, notices };
}

async function provenAccess(ports: ApiPorts, sight: Sight, { access }: ClusterSpec) {
  const { state } = sight;
  const present = state.spec.access;
  if (access === undefined) return { access, tried: [] };
  if (isSameAccess(present, access)) return { access: present, tried: [] };
  const said = { ...access, revision: state.generation + 1 };
  return { access: said, tried: await proveRules(ports, sight, said) };
}

/** What has to be declared otherwise; null: nothing. */
function declaredChanges(
  present: DeclaredSpec | undefined,
  target: DeclaredSpec | undefined,
): DeclaredChanges | null {
  const roles = wishChanges<RoleWish>(present?.roles, target?.roles);
  const databases = wishChanges<DatabaseWish>(present?.databases, target?.databases);
  const drift: DeclaredChanges["drift"] = target?.drift ?? "correct";
  const changes = {
    ...(Object.keys(roles).length === 0 ? {} : { roles }),
    ...(Object.keys(databases).length === 0 ? {} : { databases }),
    ...(drift === (present?.drift ?? "correct") ? {} : { drift }),
  };
  return Object.keys(changes).length === 0 ? null : changes;
}

function wishChanges<Wish extends { readonly since: number }>(
  present: Readonly<Record<string, Wish>> = {},
  target: Readonly<Record<string, Wish>> = {},
): Readonly<Record<string, Omit<Wish, "since"> | null>> {
  const gone = Object.keys(present).filter((name) => !Object.hasOwn(target, name));
  const changed = Object.entries(target).flatMap(([name, { since: _, ...wish }]) => {
    const before = Object.hasOwn(present, name) ? present[name] : undefined;
    const isSame =
      before !== undefined && hashJson({ ...before, since: 0 }) === hashJson({ ...wish, since: 0 });
    return isSame ? [] : [[name, wish] as const];
  });
  return Object.fromEntries([...gone.map((name) => [name, null] as const), ...changed]);
}

/** @throws {ApiProblem} 403 or 422 */
function requireDeclarations(caller: Caller, declares: DeclaredChanges | null): void {
  for (const [name, wish] of Object.entries(declares?.roles ?? {}))
    if (wish !== null) requireRole(caller, name, wish);
  for (const [name, wish] of Object.entries(declares?.databases ?? {}))
    if (wish !== null) requireDatabase(caller, name, wish);
}
