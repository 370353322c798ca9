/** What is wanted of PostgreSQL's parameters beside what is in effect, as pure functions. */
import type { MemberId } from "../base/ids.ts";
import type { Result } from "../base/result.ts";
import { isInEffect, settingNamed } from "../cluster/check-parameters.ts";
import type { Member } from "../cluster/member.ts";
import { isGuarded, ownerOf } from "../cluster/parameter-rules.ts";
import { rangeOf, showValue } from "../cluster/parameter-value.ts";
import {
  type DesiredParameter,
  desiredParameters,
  namesOf,
  type ParameterLayers,
  type ParameterRole,
} from "../cluster/parameters.ts";
import { type Hides, MASK } from "../cluster/secrets.ts";
import type { ServerSetting, ServerSettings } from "../cluster/server-settings.ts";
import { type ClusterState, memberName } from "../cluster/state.ts";
import type { ParametersDocument } from "./parameter-documents.ts";

type ParameterDocument = ParametersDocument["parameters"][number];
export type Answers = ReadonlyMap<MemberId, Result<ServerSettings, string>>;

export interface ParametersView {
  readonly state: ClusterState;
  readonly answers: Answers;
  /** Only these; null: whatever is worth showing. */
  readonly names: readonly string[] | null;
  readonly notices: readonly string[];
  /** Whose values are not shown to whoever asks. */
  readonly hides: Hides;
}

export function describeParameters(view: ParametersView): ParametersDocument {
  const { state, answers, names, notices, hides } = view;
  const layers = state.spec.postgres?.parameters ?? {};
  const asked = [...answers].flatMap(([id, answer]) => (answer.ok ? [{ id, said: answer.value }] : []));
  const of = (name: string) => asked.flatMap(({ said }) => settingNamed(said, name) ?? [])[0] ?? null;
  const perMember = (list: (said: ServerSettings) => readonly string[]) =>
    asked.flatMap(({ id, said }) => {
      const found = [...list(said)];
      return found.length === 0 ? [] : [{ member: memberName(state, id), names: found }];
    });
  return {
    generation: state.generation,
    desired: hiddenLayers(describeLayers(state, layers), hides),
    parameters: shownNames(layers, asked, names).map((name) => ({
      ...describeKind(name, of(name)),
      members: dataMembers(state).map((member) => {
        const answer = answers.get(member.id);
        const setting = answer?.ok === true ? settingNamed(answer.value, name) : null;
        const role = roleIn(state, member.id);
        const desired = desiredParameters(layers, member.id, role).get(name) ?? null;
        const value = describeValue(desired, setting);
        const { desired: wanted, effective } = value;
        return {
          member: member.name,
          role,
          ...value,
          desired: shown(name, wanted, hides),
          effective: shown(name, effective, hides),
        };
      }),
    })),
    pendingRestart: perMember(({ settings }) =>
      settings.filter(({ pendingRestart }) => pendingRestart).map(({ name }) => name),
    ),
    takenOut: perMember(({ takenOut }) => takenOut),
    fileErrors: asked.flatMap(({ id, said }) =>
      said.fileErrors.map((each) => ({ member: memberName(state, id), ...each })),
    ),
    unseen: [...answers].flatMap(([id, answer]) =>
      answer.ok ? [] : [{ member: memberName(state, id), why: answer.error }],
    ),
    notices: [...notices],
  };
}

/** A value as whoever asks may see it. */
function shown(name: string, value: string | null, hides: Hides): string | null {
  if (value === null || value === "" || !hides(name)) return value;
  return MASK;
}

function hiddenLayers(
  { cluster, primary, standby, members }: ParametersDocument["desired"],
  hides: Hides,
): ParametersDocument["desired"] {
  const of = (values: Record<string, string>) =>
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [name, shown(name, value, hides) ?? value] as const),
    );
  return {
    cluster: of(cluster),
    primary: of(primary),
    standby: of(standby),
    members: Object.fromEntries(Object.entries(members).map(([name, values]) => [name, of(values)] as const)),
  };
}

/** Members with a PostgreSQL that stays. */
export function dataMembers({ members }: ClusterState): readonly Member[] {
  return members.filter(({ kind, isLeaving }) => kind === "data" && isLeaving !== true);
}

export function roleIn({ reign }: ClusterState, id: MemberId): ParameterRole {
  return reign?.primaryId === id ? "primary" : "standby";
}

/** By name of a member instead of its id. */
export function describeLayers(state: ClusterState, layers: ParameterLayers): ParametersDocument["desired"] {
  const members = Object.entries(layers.members ?? {}).flatMap(([id, values]) => {
    const member = state.members.find((each) => each.id === id);
    return member === undefined ? [] : [[member.name, { ...values }] as const];
  });
  return {
    cluster: { ...layers.cluster },
    primary: { ...layers.primary },
    standby: { ...layers.standby },
    members: Object.fromEntries(members),
  };
}

function shownNames(
  layers: ParameterLayers,
  asked: readonly { readonly said: ServerSettings }[],
  names: readonly string[] | null,
): readonly string[] {
  if (names !== null) return [...new Set(names)].sort();
  const said = asked.flatMap(({ said: { settings } }) => settings.map(({ name }) => name.toLowerCase()));
  return [...new Set([...namesOf(layers), ...said])].sort();
}

function describeKind(name: string, setting: ServerSetting | null): Omit<ParameterDocument, "members"> {
  return {
    name: setting?.name ?? name,
    description: setting?.description ?? "",
    unit: setting?.unit ?? null,
    allowed: setting === null ? "" : rangeOf(setting),
    takesEffect: setting === null ? "restart" : takesEffect(setting),
    needs: ownerOf(name) !== null ? "nobody" : isGuarded(name) ? "admin" : "operator",
  };
}

function takesEffect({ context }: ServerSetting): ParameterDocument["takesEffect"] {
  if (context === "internal") return "never";
  if (context === "postmaster") return "restart";
  return context === "backend" || context === "superuser-backend" ? "new-connections" : "reload";
}

type MemberParameter = ParameterDocument["members"][number];

function describeValue(
  desired: DesiredParameter | null,
  setting: ServerSetting | null,
): Omit<MemberParameter, "member" | "role"> {
  const isAsWanted = desired === null || setting === null ? null : isInEffect(desired, setting);
  const pendingRestart = setting?.pendingRestart ?? false;
  return {
    desired: desired?.value ?? null,
    desiredFrom: desired?.from ?? null,
    effective: setting === null ? null : showValue(setting),
    source: setting === null ? null : sourceOf(setting, isAsWanted === true ? desired : null),
    pendingRestart,
    isDrifting: isAsWanted === false && !pendingRestart,
  };
}

function sourceOf({ source, sourceFile }: ServerSetting, wanted: DesiredParameter | null): string {
  if (source === "command line") return "command-line";
  // The member's own question had set it aside: PostgreSQL does not say where it was from.
  if (source === "session") return wanted?.from ?? "unknown";
  if (source !== "configuration file") return source;
  if (sourceFile?.endsWith("/postgresql.auto.conf") === true) return "alter-system";
  if (sourceFile?.endsWith(".guacamole/postgresql.conf") === true) return wanted?.from ?? "guacamole";
  return "base-file";
}
