/**
 * Finds the member whose state has parted from the others'. Equal logs give equal states, so one that differs has applied
 * something wrongly or was damaged: whoever is in the minority must stop. Pure.
 */
import type { LogIndex, MemberId } from "../base/ids.ts";

/** What a member says that its state is, as of an index. */
export interface HashReport {
  readonly memberId: MemberId;
  readonly index: LogIndex;
  readonly hash: string;
}

export interface HashView {
  readonly selfId: MemberId;
  /** Who counts for a majority. */
  readonly voterIds: readonly MemberId[];
  /** The latest of each other member. */
  readonly reports: readonly HashReport[];
  /** Our own hash as of an index; null where it is not known (any more, or yet). */
  hashAt(index: LogIndex): string | null;
}

export type HashVerdict =
  | { readonly kind: "equal" }
  /** These differ from a majority that we belong to. */
  | { readonly kind: "others-differ"; readonly minority: readonly HashReport[] }
  /** A majority agrees on something else than we have, at this index. */
  | { readonly kind: "we-differ"; readonly index: LogIndex; readonly hash: string }
  /** Nobody has a majority behind it: it cannot be said who is wrong. */
  | { readonly kind: "undecided"; readonly differing: readonly HashReport[] };

export function compareHashes(view: HashView): HashVerdict {
  const { reports, voterIds, selfId } = view;
  const comparable = reports.filter(
    ({ memberId, index }) => memberId !== selfId && view.hashAt(index) !== null,
  );
  const differing = comparable.filter(({ index, hash }) => view.hashAt(index) !== hash);
  if (differing.length === 0) return { kind: "equal" };
  const isMajority = (ids: readonly MemberId[]) =>
    voterIds.filter((id) => ids.includes(id)).length * 2 > voterIds.length;
  // Whoever agrees with us at one index has lived through the same as we: the hashes are chained.
  const agreeing = comparable.filter((report) => !differing.includes(report)).map(({ memberId }) => memberId);
  if (isMajority([selfId, ...agreeing])) return { kind: "others-differ", minority: differing };
  for (const { index, hash } of differing) {
    const same = differing.filter((other) => other.index === index && other.hash === hash);
    if (isMajority(same.map(({ memberId }) => memberId))) return { kind: "we-differ", index, hash };
  }
  return { kind: "undecided", differing };
}
