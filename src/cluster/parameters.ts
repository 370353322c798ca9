import type { MemberId } from "../base/ids.ts";

/** PostgreSQL's parameters as operators want them: names in lower case, values as PostgreSQL's files have them. */
export type Parameters = Readonly<Record<string, string>>;

/** Who wants a value: a member's own counts more than its role's, and that more than the cluster's. */
export type ParameterScope = "cluster" | "role" | "member";

/** What its server does: parameters may differ by it. */
export type ParameterRole = "primary" | "standby";

/** What operators want of PostgreSQL's parameters (`roadmap/0004-postgres-configuration.md`). Absent layers are empty. */
export interface ParameterLayers {
  readonly cluster?: Parameters;
  readonly primary?: Parameters;
  readonly standby?: Parameters;
  readonly members?: Readonly<Record<MemberId, Parameters>>;
}

export interface DesiredParameter {
  readonly value: string;
  readonly from: ParameterScope;
}

/** A change of the layers: null takes a parameter out, so that the next lower one counts again. */
export type ParameterChanges = Readonly<Record<string, string | null>>;

export interface ParameterLayersChange {
  readonly cluster?: ParameterChanges;
  readonly primary?: ParameterChanges;
  readonly standby?: ParameterChanges;
  readonly members?: Readonly<Record<MemberId, ParameterChanges>>;
}

/** At the beginning of a line of `postgresql.conf`; a dot makes it an extension's. */
const NAME = /^[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)*$/;
const NAME_LENGTH_MAX = 63;

/** A name in the form in which it is kept, or null where it is none. */
export function parseParameterName(text: string): string | null {
  const name = text.trim().toLowerCase();
  return name.length <= NAME_LENGTH_MAX && NAME.test(name) ? name : null;
}

/** What is wanted of a member's server in this role, by name. */
export function desiredParameters(
  layers: ParameterLayers,
  memberId: MemberId,
  role: ParameterRole,
): ReadonlyMap<string, DesiredParameter> {
  const desired = new Map<string, DesiredParameter>();
  const put = (parameters: Parameters | undefined, from: ParameterScope) => {
    for (const [name, value] of Object.entries(parameters ?? {})) desired.set(name, { value, from });
  };
  put(layers.cluster, "cluster");
  put(layers[role], "role");
  put(layers.members?.[memberId], "member");
  return desired;
}

/** The same without where each comes from; null where there are none. */
export function parametersOf(
  layers: ParameterLayers | undefined,
  memberId: MemberId,
  role: ParameterRole,
): Parameters | null {
  const desired = [...desiredParameters(layers ?? {}, memberId, role)];
  if (desired.length === 0) return null;
  return Object.fromEntries(desired.map(([name, { value }]) => [name, value] as const).sort(byName));
}

/** The layers after a change. What is empty is absent; what is wanted of those who are members no more is forgotten. */
export function changedLayers(
  layers: ParameterLayers,
  change: ParameterLayersChange,
  memberIds: readonly MemberId[],
): ParameterLayers {
  const members = memberIds.flatMap((id) => {
    const parameters = changed(layers.members?.[id], change.members?.[id]);
    return Object.keys(parameters).length === 0 ? [] : [[id, parameters] as const];
  });
  const whole = {
    cluster: changed(layers.cluster, change.cluster),
    primary: changed(layers.primary, change.primary),
    standby: changed(layers.standby, change.standby),
    members: Object.fromEntries(members),
  };
  return Object.fromEntries(Object.entries(whole).filter(([, layer]) => Object.keys(layer).length > 0));
}

/** What has to change for the layers `from` to become `to`. */
export function layersChange(from: ParameterLayers, to: ParameterLayers): ParameterLayersChange {
  const ids = [
    ...new Set([...Object.keys(from.members ?? {}), ...Object.keys(to.members ?? {})]),
  ] as MemberId[];
  const members = ids.flatMap((id) => {
    const changes = parametersChange(from.members?.[id], to.members?.[id]);
    return Object.keys(changes).length === 0 ? [] : [[id, changes] as const];
  });
  const whole = {
    cluster: parametersChange(from.cluster, to.cluster),
    primary: parametersChange(from.primary, to.primary),
    standby: parametersChange(from.standby, to.standby),
    members: Object.fromEntries(members),
  };
  return Object.fromEntries(Object.entries(whole).filter(([, layer]) => Object.keys(layer).length > 0));
}

/** Whether both want the same. */
export function isSameParameters(a: ParameterLayers, b: ParameterLayers): boolean {
  return Object.keys(layersChange(a, b)).length === 0;
}

function parametersChange(from: Parameters = {}, to: Parameters = {}): ParameterChanges {
  const names = [...new Set([...Object.keys(from), ...Object.keys(to)])].sort();
  return Object.fromEntries(
    names.filter((name) => from[name] !== to[name]).map((name) => [name, to[name] ?? null] as const),
  );
}

function changed(present: Parameters | undefined, change: ParameterChanges | undefined): Parameters {
  const merged: ParameterChanges = { ...present, ...change };
  const kept = Object.entries(merged).flatMap(([name, value]) =>
    value === null ? [] : [[name, value] as const],
  );
  return Object.fromEntries(kept.sort(byName));
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Every name that a change names, once. */
export function namesOf({
  cluster,
  primary,
  standby,
  members,
}: ParameterLayersChange | ParameterLayers): readonly string[] {
  const layers = [cluster, primary, standby, ...Object.values(members ?? {})];
  return [...new Set(layers.flatMap((layer) => Object.keys(layer ?? {})))].sort();
}
