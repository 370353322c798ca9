/**
 * The leader's side of a lease: it hands the primary's own stamp back once a quorum has confirmed, after the stamp came in,
 * that this member still leads. From the stamp on, by its own clock, the primary may reign for `leaseMs`.
 *
 * Whoever leads next was elected after that confirmation, so counting `leaseMs` from its election is enough for it.
 */
import type { Clock } from "../base/clock.ts";
import type { Epoch, MemberId, Term } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { Lsn } from "../base/lsn.ts";
import type { Consensus } from "../cluster/consensus.ts";
import { leaseMsOf, longestLeaseMs } from "../cluster/state.ts";
import { leaseEndMs } from "../decision/lease.ts";
import { needsLease } from "../decision/quorum.ts";

/** What a primary is told, on the method `LEASE_METHOD`: its stamp, and how long it holds from there. */
export interface LeaseGrant {
  readonly epoch: Epoch;
  readonly stampMs: number;
  readonly durationMs: number;
}

/** Under which name members send each other grants. */
export const LEASE_METHOD = "grant-lease";

/** What came from another member, as a grant. @throws {Error} saying what is wrong with it. */
export function parseLeaseGrant(payload: unknown): LeaseGrant {
  const fields = typeof payload === "object" && payload !== null ? payload : {};
  const { epoch, stampMs, durationMs } = fields as Partial<Record<keyof LeaseGrant, unknown>>;
  const isWhole = Number.isSafeInteger(epoch) && Number(epoch) > 0;
  if (!isWhole || typeof stampMs !== "number" || typeof durationMs !== "number" || !(durationMs > 0))
    throw new Error("a lease needs an epoch, a stamp and a duration");
  return { epoch: epoch as Epoch, stampMs, durationMs };
}

export interface LeaseGrantsOptions {
  readonly selfId: MemberId;
  readonly consensus: Consensus;
  readonly clock: Clock;
  readonly log: Log;
  /** Gives a grant to this member itself. */
  readonly grantHere: (grant: LeaseGrant) => void;
}

const CONFIRM_DEADLINE_MS = 1_000;

export class LeaseGrants {
  readonly #options: LeaseGrantsOptions;
  /** When the stamp came in that was handed back last: of any primary, in this member's present lead. */
  #grantedAtMs: number | null = null;
  #stampMs: number | null = null;
  #isConfirming = false;
  #seen: { readonly epoch: Epoch; readonly lsn: Lsn } | null = null;

  constructor(options: LeaseGrantsOptions) {
    this.#options = options;
  }

  /** Until when some lease may stand, by this leader's clock. */
  leaseUntilMs(leadingSinceMs: number): number {
    const longestMs = longestLeaseMs(this.#options.consensus.state);
    return leaseEndMs(leadingSinceMs, this.#grantedAtMs, longestMs);
  }

  /** The furthest that the present reign's primary was seen to have written. */
  get primaryLsn(): Lsn | null {
    return this.#seen?.lsn ?? null;
  }

  /** Another member leads: what was granted here counts from its election on for that one. */
  forget(): void {
    this.#grantedAtMs = null;
    this.#stampMs = null;
  }

  /** Looks at what the primary said last, and begins to confirm a stamp that is new. */
  consider(leadingSinceMs: number): void {
    const { consensus } = this.#options;
    const { reign } = consensus.state;
    if (reign === null) return;
    const observation = consensus.observations.get(reign.primaryId);
    if (observation === undefined) return;
    const { postgres, promises, leaseStampMs } = observation.status;
    if (postgres.kind === "primary" && promises.walEpoch === reign.epoch)
      this.#seen = { epoch: reign.epoch, lsn: postgres.writtenLsn };
    if (this.#seen !== null && this.#seen.epoch !== reign.epoch) this.#seen = null;
    const isWanted = needsLease(consensus.state) && reign.fence === null && leaseStampMs !== undefined;
    const isNew = leaseStampMs !== this.#stampMs && observation.statusAtMs >= leadingSinceMs;
    if (!isWanted || !isNew || this.#isConfirming) return;
    this.#isConfirming = true;
    const stamp = { epoch: reign.epoch, stampMs: leaseStampMs };
    void this.#confirm(reign.primaryId, stamp, consensus.raft.term).finally(() => {
      this.#isConfirming = false;
    });
  }

  async #confirm(
    primaryId: MemberId,
    stamp: { readonly epoch: Epoch; readonly stampMs: number },
    term: Term,
  ): Promise<void> {
    const { consensus, clock, log, selfId, grantHere } = this.#options;
    const confirmed = await consensus.barrier(CONFIRM_DEADLINE_MS);
    const { raft, state } = consensus;
    const isStillLeading = raft.role === "leader" && raft.term === term;
    const { reign } = state;
    const isStillReigning = reign?.epoch === stamp.epoch && reign.fence === null;
    if (confirmed.kind !== "reached" || !isStillLeading || !isStillReigning) return;
    const grant = { epoch: stamp.epoch, stampMs: stamp.stampMs, durationMs: leaseMsOf(state) };
    // Counted before it is sent: whatever becomes of it, it may have arrived. The stamp was taken before now.
    this.#stampMs = stamp.stampMs;
    this.#grantedAtMs = clock.nowMs();
    if (primaryId === selfId) {
      grantHere(grant);
      return;
    }
    try {
      await consensus.call(primaryId, LEASE_METHOD, grant, CONFIRM_DEADLINE_MS);
    } catch (error) {
      // It did not arrive, or its answer did not: the next stamp is handed back anew.
      log.debug("lease.grant-lost", { epoch: grant.epoch, error: String(error) });
    }
  }
}
