/** What operators say about failovers: settings, pauses, and a loss that somebody takes. */
import type { Generation } from "../base/ids.ts";
import { comparePositions, formatPosition } from "../base/lsn.ts";
import { type Applied, accept, type ChangeOf, event, refuse } from "./applied.ts";
import type { Command } from "./command.ts";
import { changedDeclaration, countDeclared, DECLARED_MAX } from "./declared.ts";
import { beginFailover } from "./failover-history.ts";
import { isUnderstoodByAll } from "./feature-level.ts";
import type { ClusterSpec } from "./spec.ts";
import { changesBetween } from "./spec-history.ts";
import {
  type AcceptedLoss,
  type ClusterState,
  featureLevelOf,
  leaseMsOf,
  longestLeaseMs,
  memberById,
  type Reign,
} from "./state.ts";

const PAUSES_MAX = 20;

/** The next generation of what operators want. */
export function changeSpec(state: ClusterState, command: Command, change: ChangeOf<"change-spec">): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  if (change.generation !== state.generation) return refuse(state, "stale-generation");
  const generation = (state.generation + 1) as Generation;
  const spec = specAfter(state, change, generation);
  if (countDeclared(spec.declared ?? null) > DECLARED_MAX) return refuse(state, "too-many-declared");
  return accept(
    { ...state, generation, spec, reign: reignUnder(state, spec) },
    event(command, "spec.changed", `the settings were changed by ${command.by} (generation ${generation})`, {
      generation,
      durability: spec.durability.mode,
      ...(featureLevelOf(state) < 4 ? {} : { changed: changedKeys(state.spec, spec) }),
    }),
  );
}

/** The spec that a change makes of the present one. */
function specAfter(
  { spec: present }: ClusterState,
  { spec, keepsDeclared, declares }: ChangeOf<"change-spec">,
  generation: Generation,
): ClusterSpec {
  const { declared: said, ...rest } = spec;
  const kept = keepsDeclared === true ? present.declared : said;
  const declared =
    declares === undefined ? kept : (changedDeclaration(kept, declares, generation) ?? undefined);
  return declared === undefined ? rest : { ...rest, declared };
}

const KEYS_TOLD = 20;

/** Which values are others than before, by their paths. */
function changedKeys(before: ClusterSpec, after: ClusterSpec): string {
  const paths = changesBetween(before, after).map(({ path }) => path.join("."));
  const more = paths.length > KEYS_TOLD ? ` and ${paths.length - KEYS_TOLD} more` : "";
  return `${paths.slice(0, KEYS_TOLD).join(", ")}${more}`;
}

/** A lease that was given before the change lasts as long as it was to last: whoever counts on its end must wait for that. */
function reignUnder(state: ClusterState, spec: ClusterSpec): Reign | null {
  const { reign } = state;
  const longestMs = longestLeaseMs(state);
  if (reign === null || longestMs <= leaseMsOf({ ...state, spec }) || featureLevelOf(state) < 4) return reign;
  return { ...reign, leaseMsMax: longestMs };
}

/** No failover happens by itself from here on. */
export function pause(state: ClusterState, command: Command, change: ChangeOf<"pause">): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const pauses = state.pauses ?? [];
  if (pauses.some(({ reason }) => reason === change.reason) || pauses.length >= PAUSES_MAX)
    return refuse(state, "paused-already");
  const added = { reason: change.reason, by: command.by, atMs: command.atMs };
  return accept(
    { ...state, pauses: [...pauses, added] },
    event(command, "failover.paused", `automatic failover is paused by ${command.by}: ${change.reason}`, {
      reason: change.reason,
    }),
  );
}

/** Takes one reason back, or all. */
export function resume(state: ClusterState, command: Command, change: ChangeOf<"resume">): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const pauses = state.pauses ?? [];
  const kept = pauses.filter(({ reason }) => change.reason !== null && reason !== change.reason);
  if (kept.length === pauses.length) return refuse(state, "not-paused");
  const message =
    kept.length === 0
      ? `automatic failover is on again, by ${command.by}`
      : `automatic failover stays paused for ${kept.length} other reasons`;
  return accept(
    { ...state, pauses: kept },
    event(command, "failover.resumed", message, { reason: change.reason, left: kept.length }),
  );
}

/**
 * A person takes a loss. The reign is being ended from here on, if it was not; whoever reigns is chosen by the leader, who
 * holds it against what the member has then.
 */
export function acceptLoss(state: ClusterState, command: Command, change: ChangeOf<"accept-loss">): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const { reign } = state;
  const member = memberById(state, change.memberId);
  if (reign === null || reign.epoch !== change.epoch) return refuse(state, "stale-epoch");
  if (member === undefined) return refuse(state, "member-unknown");
  if (member.kind !== "data" || member.id === reign.primaryId) return refuse(state, "member-unsuitable");
  if (member.isLeaving) return refuse(state, "member-leaving");
  if (command.atMs > change.expiresAtMs) return refuse(state, "stale-loss");
  const { epoch, memberId, position, expiresAtMs } = change;
  const acceptedLoss: AcceptedLoss = { epoch, memberId, position, expiresAtMs, by: command.by };
  const reason = "loss-accepted";
  const fenced: ClusterState =
    reign.fence !== null
      ? state
      : {
          ...beginFailover(state, command, reign, { reason }),
          reign: {
            ...reign,
            fence: { reason, preferredId: memberId, fencedAtWallMs: command.atMs },
          },
        };
  return accept(
    { ...fenced, acceptedLoss },
    event(
      command,
      "failover.loss-accepted",
      `${command.by} takes the loss of what ${member.name} lacks at ${formatPosition(position)}`,
      { epoch, member: member.name, position: formatPosition(position) },
    ),
  );
}

/** Whether a loss that was taken covers this member as it is now: no shorter than what was shown, and in time. */
export function isLossAccepted(
  { acceptedLoss, reign }: ClusterState,
  candidate: { readonly memberId: AcceptedLoss["memberId"]; readonly position: AcceptedLoss["position"] },
  nowWallMs: number,
): boolean {
  if (acceptedLoss == null || reign === null || acceptedLoss.epoch !== reign.epoch) return false;
  const isShown = acceptedLoss.memberId === candidate.memberId;
  const isNoShorter = comparePositions(candidate.position, acceptedLoss.position) >= 0;
  return isShown && isNoShorter && nowWallMs <= acceptedLoss.expiresAtMs;
}
