/**
 * What this member knows of the others, in memory only: what they said of themselves, when that was true, when they were
 * last heard, and whether they can be reached. Filled by their statuses on the leader, by the leader's digest elsewhere,
 * so that a new leader begins with fresh knowledge.
 */
import type { MemberId } from "../base/ids.ts";
import type { MemberStatus, Observation } from "../cluster/observation.ts";
import type { AgedStatus, DigestEntry } from "../peer/status-codec.ts";

interface Row {
  status: MemberStatus | null;
  /** The status without its sequence, to see whether it says anything new. */
  content: string;
  statusAtMs: number;
  heardAtMs: number;
  /** By our own connection to it. */
  isConnectedHere: boolean;
  /** By the leader's; null before the first digest. */
  isConnectedThere: boolean | null;
  /** Our connection to it broke after it said this. */
  isPast: boolean;
  /** Earlier lives of the process: what they said does not count any more. */
  readonly pastBootIds: Set<string>;
}

export class ObservationBoard {
  readonly #ownId: MemberId;
  readonly #rows = new Map<MemberId, Row>();
  #leaderId: MemberId | null = null;
  #version = 0;
  #news = 0;

  constructor(ownId: MemberId) {
    this.#ownId = ownId;
  }

  /** Grows with every change except of the times at which members were heard, or said the same again. */
  get version(): number {
    return this.#version;
  }

  /** How many members are known. */
  get size(): number {
    return this.#rows.size;
  }

  /** Grows with what is worth telling other members at once. */
  get news(): number {
    return this.#news;
  }

  /** Whose view of the connections counts: the leader's, except of the connection to the leader itself. */
  setLeader(leaderId: MemberId | null): void {
    if (this.#leaderId === leaderId) return;
    this.#leaderId = leaderId;
    this.#forgetLeadersView();
  }

  /** @returns whether the status says something new; false also if it came too late to count. */
  takeStatus(from: MemberId, { status, ageMs }: Omit<AgedStatus, "host">, nowMs: number): boolean {
    const row = this.#row(from);
    if (!isNewer(row, status)) return false;
    const isOtherLife = row.status !== null && row.status.bootId !== status.bootId;
    if (row.status?.bootId === status.bootId && row.status.sequence === status.sequence) {
      row.statusAtMs = Math.max(row.statusAtMs, nowMs - ageMs);
      return false;
    }
    // Told by somebody who knew it last in that life: it ended before the one that is known here began.
    if (isOtherLife && isEarlierLife(status, row, nowMs - ageMs)) {
      row.pastBootIds.add(status.bootId);
      return false;
    }
    const content = contentOf(status);
    const isNew = content !== row.content;
    if (isOtherLife) {
      row.pastBootIds.add(row.status?.bootId ?? "");
      row.statusAtMs = 0;
    }
    if (row.isPast) this.#version += 1;
    row.status = status;
    row.isPast = false;
    row.content = content;
    row.statusAtMs = Math.max(row.statusAtMs, nowMs - ageMs);
    row.heardAtMs = Math.max(row.heardAtMs, nowMs - ageMs);
    if (isNew) {
      this.#version += 1;
      this.#news += 1;
    }
    return isNew;
  }

  /** What the leader knows of everybody. Our own status we know better. */
  takeDigest(entries: readonly DigestEntry[], nowMs: number): void {
    for (const { status, statusAgeMs, heardAgeMs, isConnected } of entries) {
      if (status.memberId === this.#ownId) continue;
      const row = this.#row(status.memberId);
      this.takeStatus(status.memberId, { status, ageMs: statusAgeMs }, nowMs);
      row.heardAtMs = Math.max(row.heardAtMs, nowMs - heardAgeMs);
      if (row.isConnectedThere !== isConnected) {
        row.isConnectedThere = isConnected;
        this.#version += 1;
      }
    }
  }

  heard(from: MemberId, nowMs: number): void {
    this.#row(from).heardAtMs = nowMs;
  }

  setConnected(id: MemberId, isConnected: boolean): void {
    const row = this.#row(id);
    if (row.isConnectedHere === isConnected) return;
    row.isConnectedHere = isConnected;
    if (!isConnected) row.isPast = true;
    this.#version += 1;
    this.#news += 1;
    if (id === this.#leaderId && !isConnected) this.#forgetLeadersView();
  }

  /** Of every member that has said something of itself, ourselves included. */
  observations(nowMs: number): readonly Observation[] {
    const observations: Observation[] = [];
    for (const [id, row] of this.#rows) {
      if (row.status === null) continue;
      const { status, statusAtMs } = row;
      const isOwn = id === this.#ownId;
      observations.push({
        status,
        statusAtMs,
        heardAtMs: isOwn ? nowMs : row.heardAtMs,
        isConnected: isOwn || this.#isConnected(id, row),
        ...(row.isPast ? { isPast: true } : {}),
      });
    }
    return observations;
  }

  /** For the other members. */
  digest(nowMs: number): readonly DigestEntry[] {
    return this.observations(nowMs).map(({ status, statusAtMs, heardAtMs, isConnected }) => ({
      status,
      statusAgeMs: Math.max(0, nowMs - statusAtMs),
      heardAgeMs: Math.max(0, nowMs - heardAtMs),
      isConnected,
    }));
  }

  /**
   * Forgets who is no member. That somebody is connected is kept all the same: a joiner replays the past, in which the
   * others are no members yet, and nobody says it again later.
   */
  keepOnly(ids: ReadonlySet<MemberId>): void {
    // Of a copy: what is kept comes back, and would come up again.
    for (const [id, { isConnectedHere, status }] of [...this.#rows]) {
      if (ids.has(id) || id === this.#ownId) continue;
      this.#rows.delete(id);
      if (isConnectedHere) this.#row(id).isConnectedHere = true;
      if (status !== null) this.#version += 1;
    }
  }

  #isConnected(id: MemberId, row: Row): boolean {
    if (this.#leaderId === this.#ownId || this.#leaderId === id) return row.isConnectedHere;
    return row.isConnectedThere ?? row.isConnectedHere;
  }

  /** Until the next digest our own connections say more, and what is said next counts as new. */
  #forgetLeadersView(): void {
    this.#version += 1;
    this.#news += 1;
    for (const row of this.#rows.values()) {
      row.isConnectedThere = null;
      // Said again under another leader, it is news: a new leader counts only what was said since.
      row.content = "";
    }
  }

  #row(id: MemberId): Row {
    let row = this.#rows.get(id);
    if (row === undefined) {
      row = {
        status: null,
        content: "",
        statusAtMs: 0,
        heardAtMs: 0,
        isConnectedHere: false,
        isConnectedThere: null,
        isPast: false,
        pastBootIds: new Set(),
      };
      this.#rows.set(id, row);
    }
    return row;
  }
}

/** What is worth telling at once: not how many milliseconds or bytes something is by now. */
function contentOf({ lease, disks, checks, ...status }: MemberStatus): string {
  return JSON.stringify({
    ...status,
    sequence: 0,
    lease: lease?.epoch ?? null,
    disks: disks?.map(({ place, isFull, pendingMs }) => [place, isFull, slowSteps(pendingMs)]),
    checks: checks && [
      slowSteps(checks.connectionFailingMs),
      slowSteps(checks.writeFailingMs),
      slowSteps(checks.postmasterStoppedMs),
    ],
  });
}

/**
 * Lives that are counted say it themselves. Of others the time must: it errs where what was told waited for a frozen process, whose
 * ages are of when it was sent.
 */
function isEarlierLife({ life }: MemberStatus, row: Row, atMs: number): boolean {
  const known = row.status?.life;
  return life === undefined || known === undefined ? atMs < row.statusAtMs : life < known;
}

const SLOW_STEP_MS = 250;

function slowSteps(durationMs: number | null): number {
  return Math.floor((durationMs ?? 0) / SLOW_STEP_MS);
}

function isNewer(row: Row, status: MemberStatus): boolean {
  if (row.status === null) return true;
  if (row.status.bootId !== status.bootId) return !row.pastBootIds.has(status.bootId);
  return status.sequence >= row.status.sequence;
}
