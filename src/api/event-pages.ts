import type { Consensus, StoredEvent } from "../cluster/consensus.ts";

const SCANNED_AT_ONCE = 1000;

/** Events that are wanted, oldest first. `next` is where the next page begins, past those that are not wanted. */
export async function readWanted(
  consensus: Consensus,
  afterId: number,
  countMax: number,
  isWanted: (event: StoredEvent) => boolean,
): Promise<{ readonly events: readonly StoredEvent[]; readonly next: number }> {
  const wanted: StoredEvent[] = [];
  let next = afterId;
  while (true) {
    const scanned = await consensus.readEvents(next, SCANNED_AT_ONCE);
    for (const event of scanned) {
      if (wanted.length === countMax) return { events: wanted, next };
      if (isWanted(event)) wanted.push(event);
      next = event.id;
    }
    if (scanned.length < SCANNED_AT_ONCE) return { events: wanted, next };
  }
}

/** Who did what is for those who may read the audit trail. */
export function isForEverybody({ audit }: StoredEvent): boolean {
  return audit === undefined;
}
