import type { MemberId } from "../../../src/base/ids.ts";
import { decodeConfig } from "../../../src/raft/engine/membership.ts";
import type { ClusterConfig, Entry } from "../../../src/raft/engine/message.ts";

/**
 * What a quorum is, written down a second time: the checks must not share a mistake with what they check.
 */

const decoded = new WeakMap<Entry, ClusterConfig>();

/** Of an entry that holds one; each is read once. */
export function configOf(entry: Entry): ClusterConfig {
  const known = decoded.get(entry);
  if (known !== undefined) return known;
  const config = decodeConfig(entry.data);
  decoded.set(entry, config);
  return config;
}

export function isSameConfig(a: ClusterConfig, b: ClusterConfig): boolean {
  return (["voters", "outgoing", "learners", "learnersNext"] as const).every(
    (set) => a[set].length === b[set].length && a[set].every((id) => b[set].includes(id)),
  );
}

function halvesOf({ voters, outgoing }: ClusterConfig): readonly (readonly MemberId[])[] {
  return outgoing.length > 0 ? [voters, outgoing] : [voters];
}

export function holdsQuorum(config: ClusterConfig, has: (id: MemberId) => boolean): boolean {
  return halvesOf(config).every((half) => {
    let count = 0;
    for (const id of half) if (has(id)) count += 1;
    return count * 2 > half.length;
  });
}

/** Every quorum of the one has a member in common with every quorum of the other. */
export function quorumsMeet(a: ClusterConfig, b: ClusterConfig): boolean {
  // A quorum of a joint configuration contains a majority of each half, so one pair of halves that meets is enough.
  return (
    halvesOf(a).some((one) => halvesOf(b).some((other) => majoritiesMeet(one, other))) || !canBeApart(a, b)
  );
}

/** Tries every way to give the members to the one or to the other. */
function canBeApart(a: ClusterConfig, b: ClusterConfig): boolean {
  const ids = [...new Set([...halvesOf(a), ...halvesOf(b)].flat())];
  for (let bits = 0; bits < 2 ** ids.length; bits += 1) {
    const isGiven = (id: MemberId): boolean => ((bits >> ids.indexOf(id)) & 1) === 1;
    if (holdsQuorum(a, isGiven) && holdsQuorum(b, (id) => !isGiven(id))) return true;
  }
  return false;
}

function majoritiesMeet(a: readonly MemberId[], b: readonly MemberId[]): boolean {
  const common = a.filter((id) => b.includes(id)).length;
  const majorityOf = (size: number): number => Math.floor(size / 2) + 1;
  // Each side takes as few of the common ones as it can; if those are not too many, they can be different ones.
  const neededByA = Math.max(0, majorityOf(a.length) - (a.length - common));
  const neededByB = Math.max(0, majorityOf(b.length) - (b.length - common));
  return neededByA + neededByB > common;
}
