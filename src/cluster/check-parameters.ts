/** Whether parameters may be wanted: by their names, and by what the servers that they are for say of them. Pure. */
import type { MemberId } from "../base/ids.ts";
import { isStandbyLimit, ownerOf } from "./parameter-rules.ts";
import { flawOfText, normalizeValue } from "./parameter-value.ts";
import {
  type DesiredParameter,
  desiredParameters,
  namesOf,
  type ParameterChanges,
  type ParameterLayers,
  type ParameterLayersChange,
  type ParameterRole,
} from "./parameters.ts";
import type { ServerSetting, ServerSettings } from "./server-settings.ts";

export interface ParameterIssue {
  readonly name: string;
  readonly code: "parameter-owned" | "parameter-unknown" | "parameter-invalid";
  /** A sentence that does not repeat the value. */
  readonly message: string;
}

/** A server that was asked. */
export interface AskedServer {
  readonly memberId: MemberId;
  readonly memberName: string;
  readonly isPrimary: boolean;
  readonly answer: ServerSettings;
}

/** One thing that is wanted: in which layer, for whom. */
interface Wish {
  readonly name: string;
  readonly value: string;
  readonly layer: "cluster" | ParameterRole | "member";
  readonly memberId: MemberId | null;
}

/** What is wrong with a change whatever the servers say. */
export function checkNames(change: ParameterLayersChange): readonly ParameterIssue[] {
  return wishesOf(change).flatMap(({ name, value, layer }): readonly ParameterIssue[] => {
    const owner = ownerOf(name);
    if (owner !== null)
      return [{ name, code: "parameter-owned", message: `${name} is guacamole's: ${owner}.` }];
    const flaw = flawOfText(value);
    if (flaw !== null) return [invalid(name, flaw)];
    if (isStandbyLimit(name) && layer !== "cluster") {
      return [
        invalid(name, "must be the same on every member, since each may follow each: set it for the cluster"),
      ];
    }
    return [];
  });
}

/** What is wrong with a change by what the servers say that it is for. */
export function checkAgainstServers(
  change: ParameterLayersChange,
  after: ParameterLayers,
  servers: readonly AskedServer[],
): readonly ParameterIssue[] {
  const issues = wishesOf(change).flatMap((wish) => {
    const concerned = servers.filter(({ memberId }) => wish.memberId === null || wish.memberId === memberId);
    return concerned.flatMap((server) => checkWish(wish, after, server) ?? []);
  });
  // Servers alike say the same.
  return issues.filter(
    (issue, index) => issues.findIndex(({ message }) => message === issue.message) === index,
  );
}

function checkWish(wish: Wish, after: ParameterLayers, server: AskedServer): ParameterIssue | null {
  const { name, value, layer } = wish;
  const setting = settingNamed(server.answer, name);
  if (isToBeLoaded(name, after, server)) return null;
  if (setting === null) return unknown(name, server);
  if (setting.context === "internal")
    return invalid(name, "cannot be set: it belongs to how PostgreSQL was built or initialised");
  if (setting.context === "postmaster" && (layer === "primary" || layer === "standby")) {
    return invalid(
      name,
      "cannot differ by role: it takes effect at a start, and every server starts as a standby. Set it for the cluster or a member",
    );
  }
  const normalized = normalizeValue(value, setting);
  if (!normalized.ok) return invalid(name, normalized.error);
  if (name === "wal_level" && normalized.value === "minimal")
    return invalid(name, "must be replica or logical: standbys need the WAL");
  return null;
}

/** An extension's parameter whose library is wanted and not loaded yet: nobody can say more of it. */
function isToBeLoaded(name: string, after: ParameterLayers, { memberId, answer }: AskedServer): boolean {
  const prefix = prefixOf(name);
  if (prefix === null) return false;
  const loaded = settingNamed(answer, "shared_preload_libraries")?.setting ?? "";
  return librariesWanted(after, memberId).includes(prefix) && !librariesIn(loaded).includes(prefix);
}

function librariesWanted(after: ParameterLayers, memberId: MemberId): readonly string[] {
  const wanted = desiredParameters(after, memberId, "standby").get("shared_preload_libraries");
  return librariesIn(wanted?.value ?? "");
}

function librariesIn(list: string): readonly string[] {
  return list
    .split(",")
    .map((each) => (/[^/]*$/.exec(each)?.[0] ?? "").replaceAll('"', "").trim().toLowerCase());
}

function unknown(name: string, { answer }: AskedServer): ParameterIssue {
  const prefix = prefixOf(name);
  const why =
    prefix === null
      ? "is no parameter of this PostgreSQL"
      : answer.prefixes.includes(prefix)
        ? `is no parameter of the extension '${prefix}'`
        : `belongs to no library that is loaded: name '${prefix}' in shared_preload_libraries first, or with it`;
  return { name, code: "parameter-unknown", message: `${name} ${why}.` };
}

/** What a change that is accepted does not do at once, a sentence each. */
export function noticesOf(change: ParameterLayersChange, servers: readonly AskedServer[]): readonly string[] {
  const named = namesOf(change).flatMap((name) => {
    for (const { answer } of servers) {
      const setting = settingNamed(answer, name);
      if (setting !== null) return [setting];
    }
    return [];
  });
  const of = (isMeant: (setting: ServerSetting) => boolean) =>
    named
      .filter(isMeant)
      .map(({ name }) => name)
      .join(", ");
  const atRestart = of(({ context }) => context === "postmaster");
  const atConnect = of(({ context }) => context === "backend" || context === "superuser-backend");
  const limits = of(({ name }) => isStandbyLimit(name));
  const loaded = namesOf(change).filter((name) =>
    servers.every(({ answer }) => settingNamed(answer, name) === null),
  );
  return [
    ...(atRestart === ""
      ? []
      : [`${atRestart}: takes effect when PostgreSQL is started again; until then it is shown as pending.`]),
    ...(limits === ""
      ? []
      : [
          `${limits}: a standby must not have less than its primary. Started again in the wrong order it stops replaying, or keeps the greater value; 'guacamole restart --pending-only' knows the order.`,
        ]),
    ...(atConnect === "" ? [] : [`${atConnect}: connections that stand keep what they have.`]),
    ...(loaded.length === 0
      ? []
      : [`${loaded.join(", ")}: could not be checked before its library is loaded.`]),
  ];
}

/** Whether the value in effect is the one that is wanted; null where nobody can say. */
export function isInEffect(desired: DesiredParameter, setting: ServerSetting): boolean | null {
  // A session's own value says nothing of the files.
  if (["database", "user", "database user", "client"].includes(setting.source)) return null;
  const normalized = normalizeValue(desired.value, setting);
  if (!normalized.ok) return null;
  const isNumber = setting.type === "integer" || setting.type === "real";
  return isNumber
    ? Number(normalized.value) === Number(setting.setting)
    : normalized.value === setting.setting;
}

/** Names differ in case only (`DateStyle`). */
export function settingNamed({ settings }: ServerSettings, name: string): ServerSetting | null {
  return settings.find((setting) => setting.name.toLowerCase() === name) ?? null;
}

function prefixOf(name: string): string | null {
  const dot = name.indexOf(".");
  return dot > 0 ? name.slice(0, dot) : null;
}

function wishesOf({ cluster, primary, standby, members }: ParameterLayersChange): readonly Wish[] {
  const wishes = (layer: Wish["layer"], memberId: MemberId | null, changes: ParameterChanges = {}) =>
    Object.entries(changes).flatMap(([name, value]) =>
      value === null ? [] : [{ name, value, layer, memberId }],
    );
  return [
    ...wishes("cluster", null, cluster),
    ...wishes("primary", null, primary),
    ...wishes("standby", null, standby),
    ...Object.entries(members ?? {}).flatMap(([id, changes]) => wishes("member", id as MemberId, changes)),
  ];
}

function invalid(name: string, flaw: string): ParameterIssue {
  return { name, code: "parameter-invalid", message: `${name} ${flaw}.` };
}
