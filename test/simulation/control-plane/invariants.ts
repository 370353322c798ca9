/**
 * What must never happen (`roadmap/0002-failover.md`). Whoever looks here sees everything at once, and by true time: no
 * production code does.
 */
import type { Epoch } from "../../../src/base/ids.ts";
import type { Change } from "../../../src/cluster/command.ts";
import { type ClusterState, isNamedByReign, type Reign, rulesOf } from "../../../src/cluster/state.ts";
import { areEnoughPledged, isLeasedReign, needsLease } from "../../../src/decision/quorum.ts";
import { REASONS } from "../../../src/decision/reasons.ts";
import type { SupervisorRequest } from "../../../src/supervisor/protocol.ts";
import type { Host } from "./host.ts";
import type { MemberProcess } from "./member-process.ts";
import type { WalRecord } from "./model-postgres.ts";
import type { World } from "./world.ts";

interface Appointment {
  readonly epoch: Epoch;
  readonly memberId: Host["id"];
  readonly atMs: number;
  /** It was said with it that something may be lost. */
  readonly isLossy: boolean;
}

/** As `decideMember` has it: so many starts failed that the data is given up. */
const FAILED_STARTS = 10;

export class Invariants {
  readonly #world: World;
  /** Each acknowledged record, with the epoch under which it was. */
  readonly #acknowledged = new Map<WalRecord, Epoch>();
  readonly #writers = new Map<number, string>();
  readonly #appointments: Appointment[] = [];
  /** As it was agreed last. */
  #reign: Reign | null = null;
  /** Reigns that were ended while their rules asked for no lease. */
  readonly #endedUnleased = new Set<Epoch>();
  #newestPromoted = 0;
  readonly #pledged = new Map<string, number>();
  /** Members that an operation said to build anew. */
  readonly #toBeRebuilt = new Set<string>();
  /** Where the acknowledged commits were looked for last, and which have been acknowledged since. */
  #checkedBy = "";
  #fresh: WalRecord[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  /** Appointments of members that no rule named. */
  outsidersAppointed = 0;

  get acknowledgedCount(): number {
    return this.#acknowledged.size;
  }

  // --- Commits (F1, F2, F5, F6) --------------------------------------------------------------------------------------

  /** F2: one writer an epoch. */
  wrote({ name, supervisor }: Host, record: WalRecord): void {
    const { walEpoch } = supervisor.promises;
    const writer = this.#writers.get(walEpoch) ?? name;
    if (writer !== name) this.#world.broken("F2", `${name} and ${writer} both write in epoch ${walEpoch}`);
    this.#writers.set(walEpoch, name);
    if (record.isCancelled && this.#world.sabotage === "count-a-cancelled-commit")
      this.#note(record, walEpoch);
  }

  #note(record: WalRecord, epoch: Epoch): void {
    this.#acknowledged.set(record, epoch);
    this.#fresh.push(record);
  }

  /** Notes what clients are told by now. */
  acknowledge(): void {
    for (const host of this.#world.hosts) {
      const { postgres, isUp, name } = host;
      if (!isUp || postgres.isFrozen || postgres.kind !== "primary") continue;
      const end = Math.min(postgres.acknowledgedUpTo(), postgres.wal.length);
      for (let at = end - 1; at >= 0; at -= 1) {
        const record = postgres.wal[at];
        if (record === undefined || this.#acknowledged.has(record)) break;
        if (record.by !== name || record.isCancelled) continue;
        this.#checkLease(host, record);
        this.#checkRevocation(host, record);
        this.#note(record, host.supervisor.promises.walEpoch);
      }
    }
  }

  /**
   * F6: nobody acknowledges alone once another was promoted. But for a primary that needs neither standby nor lease (`degrade`, and
   * none was left): who took the loss of what it acknowledges was told that it goes on.
   */
  #checkLease({ name, postgres, supervisor }: Host, record: WalRecord): void {
    const { walEpoch } = supervisor.promises;
    const isAlone = postgres.effective?.synchronousStandbyNames == null;
    if (this.#endedUnleased.has(walEpoch) && this.#wasLossSaid(walEpoch)) return;
    if (isAlone && this.#newestPromoted > walEpoch)
      this.#world.broken("F6", `${name} acknowledges ${record.id} alone under epoch ${walEpoch}`);
  }

  /** F5: once its epoch is revoked, a primary acknowledges nothing but what pledged members hold. */
  #checkRevocation({ name, postgres, supervisor }: Host, record: WalRecord): void {
    const { walEpoch } = supervisor.promises;
    const { reign } = this.#world.latest;
    if (postgres.effective?.synchronousStandbyNames == null || reign === null) return;
    if (reign.epoch === walEpoch && !this.#isRevoked(reign)) return;
    if (reign.epoch > walEpoch && this.#wasLossSaid(walEpoch)) return;
    const isHeld =
      reign.epoch > walEpoch ? this.#isOnSuccessor(walEpoch, record) : this.#isOnPledged(reign, record);
    if (!isHeld)
      this.#world.broken("F5", `${name} acknowledges ${record.id} under epoch ${walEpoch}, which is revoked`);
  }

  #isRevoked(reign: Reign): boolean {
    if (reign.fence === null || rulesOf(reign).some(({ isLeased }) => isLeased === true)) return false;
    const pledged = this.#world.hosts.filter(
      ({ id, supervisor }) => id !== reign.primaryId && supervisor.promises.pledgedEpoch >= reign.epoch,
    );
    return areEnoughPledged(reign, new Set(pledged.map(({ id }) => id)));
  }

  #isOnPledged(reign: Reign, record: WalRecord): boolean {
    return this.#world.hosts.some(
      ({ id, supervisor, postgres }) =>
        id !== reign.primaryId &&
        supervisor.promises.pledgedEpoch >= reign.epoch &&
        postgres.wal.includes(record),
    );
  }

  /** Whoever was appointed next must have it: so must everybody who was appointed since. */
  #isOnSuccessor(epoch: Epoch, record: WalRecord): boolean {
    const next = this.#appointments.find((each) => each.epoch > epoch);
    const host = this.#world.hosts.find(({ id }) => id === next?.memberId);
    return host?.postgres.wal.includes(record) ?? true;
  }

  /** F1: whoever reigns by the newest appointment has every acknowledged commit. */
  #checkCommits(): void {
    const { reign } = this.#world.latest;
    if (reign === null) return;
    const host = this.#world.hosts.find(({ id }) => id === reign.primaryId);
    if (host?.postgres.kind !== "primary" || host.supervisor.promises.walEpoch !== reign.epoch) return;
    const by = `${host.name} ${reign.epoch} ${host.postgres.server}`;
    const isSame = by === this.#checkedBy;
    if (isSame && this.#fresh.length === 0) return;
    const stored = new Set(host.postgres.wal);
    // A running primary only adds to its WAL: what was there before is there still.
    const asked = isSame ? this.#fresh : [...this.#acknowledged.keys()];
    this.#checkedBy = by;
    this.#fresh = [];
    for (const record of asked) {
      const epoch = this.#acknowledged.get(record);
      if (epoch === undefined || stored.has(record)) continue;
      // Under a lease a loss is possible, and said with the appointment that brings it: then, and only then.
      if (!this.#wasLossSaid(epoch))
        this.#world.broken("F1", `record ${record.id} by ${record.by} is not on ${host.name}`);
      this.#acknowledged.delete(record);
    }
  }

  #wasLossSaid(since: Epoch): boolean {
    return this.#appointments.some(({ epoch, isLossy }) => isLossy && epoch > since);
  }

  // --- Promises (F3, F4) ---------------------------------------------------------------------------------------------

  /** F3: a pledge is never taken back, whatever happens to the process or the host. */
  #checkPledges(): void {
    for (const { name, supervisor } of this.#world.hosts) {
      const { pledgedEpoch } = supervisor.promises;
      const before = this.#pledged.get(name) ?? 0;
      if (pledgedEpoch < before) this.#world.broken("F3", `${name} forgets that it pledged epoch ${before}`);
      if (pledgedEpoch > before) this.#pledged.set(name, pledgedEpoch);
    }
  }

  /** F4: only an appointment makes a primary, and none that was pledged away. */
  toldToPromote({ name, id }: Host, epoch: Epoch): void {
    const isAppointed = this.#appointments.some((each) => each.epoch === epoch && each.memberId === id);
    if (!isAppointed)
      this.#world.broken("F4", `${name} is promoted for epoch ${epoch} without an appointment`);
    if (epoch <= (this.#pledged.get(name) ?? 0))
      this.#world.broken("F4", `${name} is promoted for epoch ${epoch}, and had promised not to be`);
    this.#newestPromoted = Math.max(this.#newestPromoted, epoch);
  }

  // --- What a member does (F7, F9, F10) ------------------------------------------------------------------------------

  checkAction(host: Host, process: MemberProcess, action: SupervisorRequest): void {
    if (action.kind === "stop") this.#checkStop(host, process);
    if (action.kind === "clone" && host.postgres.kind !== "absent") this.#checkClone(host, action);
  }

  /** F9: a primary that reigns and is not being replaced is stopped by nobody. */
  #checkStop({ name, id, postgres, supervisor }: Host, { handedOver }: MemberProcess): void {
    const { reign } = this.#world.latest;
    if (postgres.kind !== "primary" || postgres.isFrozen) return;
    if (handedOver === supervisor.promises.walEpoch) return;
    const reigns = reign !== null && reign.primaryId === id && supervisor.promises.walEpoch === reign.epoch;
    if (reigns && reign.fence === null) this.#world.broken("F9", `${name} stops the primary that reigns`);
  }

  /** F7: data is replaced only for a reason that is one, and never by what lacks a commit that it has. */
  #checkClone(host: Host, action: Extract<SupervisorRequest, { kind: "clone" }>): void {
    const { replace, source } = action;
    const { name, postgres } = host;
    if (replace === null) return;
    if (!this.#isReasonToClone(host, replace, action.epoch))
      this.#world.broken("F7", `${name} is cloned over its data because ${replace}`);
    const from = this.#world.hosts.find((each) => each.name === source.host);
    if (from === undefined) return;
    const stored = new Set(from.postgres.wal);
    const lost = postgres.wal.find((record) => this.#acknowledged.has(record) && !stored.has(record));
    if (lost !== undefined)
      this.#world.broken("F7", `${name} is cloned from ${from.name}, which lacks record ${lost.id}`);
  }

  #isReasonToClone({ name, postgres, supervisor }: Host, replace: string, epoch: Epoch): boolean {
    if (replace.startsWith("an operation said")) return this.#toBeRebuilt.has(name);
    if (replace.startsWith("PostgreSQL ended by itself")) return supervisor.failedStarts >= FAILED_STARTS;
    if (replace.startsWith("timeline ")) return true;
    if (replace.startsWith("it needs WAL up to ")) return postgres.consistentAt !== null;
    if (replace.startsWith("it needs WAL from ")) return this.#isWalGone(postgres, epoch);
    return replace === supervisor.needsClone;
  }

  /** On the primary of the reign that it is to be cloned under. One that left cannot be looked at. */
  #isWalGone({ wal }: Host["postgres"], epoch: Epoch): boolean {
    const primaryId = this.#appointments.find((each) => each.epoch === epoch)?.memberId;
    const primary = this.#world.hosts.find(({ id }) => id === primaryId);
    return primary === undefined || wal.length < primary.postgres.walFrom;
  }

  /** F10: whatever is done or held has a reason that can be explained. */
  checkReason(reason: string): void {
    if (!Object.hasOwn(REASONS, reason))
      this.#world.broken("F10", `something happens for '${reason}', which nobody can explain`);
  }

  // --- What is agreed (F6, F8) ---------------------------------------------------------------------------------------

  agreed(change: Change, { reign, members }: ClusterState): void {
    for (const { id, data } of members) {
      const host = data === "replace" ? this.#world.hosts.find((each) => each.id === id) : undefined;
      if (host !== undefined) this.#toBeRebuilt.add(host.name);
    }
    if (reign === null) return;
    if (change.kind === "appoint") this.#appointed(change, reign);
    const before = this.#reign;
    this.#reign = reign;
    if (before !== null && before.epoch < reign.epoch && !isLeasedReign(before))
      this.#endedUnleased.add(before.epoch);
    if (change.kind === "fence" && change.reason === "postmaster-died") this.#checkFall(reign);
  }

  #appointed(change: Extract<Change, { kind: "appoint" }>, { epoch, primaryId }: Reign): void {
    const isLossy = change.loss !== undefined;
    if (isOutsider(this.#world.latest, change.memberId)) this.outsidersAppointed += 1;
    this.#checkLeasesAreOver(epoch);
    this.#appointments.push({ epoch, memberId: primaryId, atMs: this.#world.nowMs, isLossy });
  }

  /**
   * F6: whoever is appointed, nobody else may still acknowledge alone, or answer reads where those of the past are refused, by the
   * clock that holds it to its lease.
   */
  #checkLeasesAreOver(epoch: Epoch): void {
    const refusesReads = needsLease(this.#world.latest);
    for (const { name, postgres, supervisor, isUp } of this.#world.hosts) {
      const { lease, promises } = supervisor;
      const isAlone = postgres.effective?.synchronousStandbyNames == null;
      const mayReign = postgres.kind === "primary" && (isAlone || refusesReads);
      if (!isUp || !mayReign || lease === null || lease.epoch >= epoch) continue;
      if (lease.epoch <= promises.pledgedEpoch || lease.leftMs <= 0) continue;
      this.#world.broken(
        "F6",
        `${name} may reign for ${Math.round(lease.leftMs)} ms more, and has a successor`,
      );
    }
  }

  /** F8: writes are not given up for a fall that never was. */
  #checkFall({ epoch, primaryId }: Reign): void {
    const appointed = this.#appointments.find((each) => each.epoch === epoch);
    const host = this.#world.hosts.find(({ id }) => id === primaryId);
    if (appointed === undefined || host === undefined || host.postgres.endedAtMs >= appointed.atMs) return;
    this.#world.broken("F8", `the reign of ${host.name} ends for a fall, and it has not fallen`);
  }

  /** After every event. */
  check(): void {
    this.#checkPledges();
    this.#checkCommits();
  }
}

/** No rule names it, and every rule counts. */
function isOutsider(state: ClusterState, memberId: Host["id"]): boolean {
  return state.reign !== null && !isLeasedReign(state.reign) && !isNamedByReign(state, memberId);
}
