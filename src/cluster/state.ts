import type { ClusterId, Epoch, Generation, MemberId, TimelineId } from "../base/ids.ts";
import type { Position } from "../base/lsn.ts";
import type { AuthorityChange } from "./authority-change.ts";
import type { BreakGlassGrant } from "./break-glass.ts";
import type { NotedLocalAccess } from "./local-access.ts";
import type { Member } from "./member.ts";
import type { Ancestor, TimelineEpoch } from "./observation.ts";
import type { PlannedRestart } from "./restart.ts";
import type { RoleCertificate } from "./role-certificate.ts";
import type { ClusterSpec } from "./spec.ts";
import type { SpecVersion } from "./spec-history.ts";

/**
 * What is agreed. Equal on all members at equal log index; changed by `apply()` and by nothing else. Plain JSON: it is
 * stored, sent and compared as such.
 */
export interface ClusterState {
  readonly clusterId: ClusterId;
  readonly name: string;
  readonly generation: Generation;
  readonly spec: ClusterSpec;
  /** The latest versions of the spec, oldest first, bounded. Absent: it was not changed since feature level 4. */
  readonly specHistory?: readonly SpecVersion[];
  /** Signs the certificates of members. */
  readonly authority: CertificateAuthority;
  /** Another authority comes in its place. Absent or null: none does. */
  readonly authorityChange?: AuthorityChange | null;
  /** Certificates (PEM) of authorities that count for nobody any more, oldest first, bounded. Absent: there are none. */
  readonly formerAuthorities?: readonly string[];
  /** What may stand in the log: as much as every member understands. Absent: 1, as of release 0.1.0. */
  readonly featureLevel?: number;
  /** Sorted by name. */
  readonly members: readonly Member[];
  /** Who was a member and is not any more, oldest first, bounded. Absent: nobody. */
  readonly removed?: readonly RemovedMember[];
  readonly tokens: readonly ApiToken[];
  readonly joinTokens: readonly JoinToken[];
  /** What is to be built, once somebody said so. Null: PostgreSQL is untouched on every member. */
  readonly initialization: Initialization | null;
  /** PostgreSQL's `system_identifier`, from initdb on; data with another one is never touched. */
  readonly systemIdentifier: string | null;
  /** Who is primary. Null until the first appointment. */
  readonly reign: Reign | null;
  readonly switchover: Switchover | null;
  /** Long work, newest last, bounded. */
  readonly operations: readonly Operation[];
  /**
   * Since a recovery: the next epoch is at least this one. What was lost may have seen epochs that nobody here knows of, and
   * an epoch is never used twice. Absent: nothing was lost.
   */
  readonly epochFloor?: Epoch;
  /** Reigns that ended because the primary was lost (not by a planned switchover). */
  readonly failoverCount: number;
  readonly switchoverCount: number;
  /** Every change of the primary with its phases, oldest first, bounded. Absent: none since feature level 3. */
  readonly failovers?: readonly FailoverRecord[];
  /** While there is one, no failover happens by itself. Absent: there is none. */
  readonly pauses?: readonly Pause[];
  /** A person takes a loss, so that a reign can be ended whose commits cannot all be found. Absent or null: nobody does. */
  readonly acceptedLoss?: AcceptedLoss | null;
  /** Whatever was declared up to this revision was in force on a primary once. Absent: nobody needs to know. */
  readonly declaredInForce?: number;
  /** A switchover that is to happen at a time. Absent or null: there is none. */
  readonly scheduledSwitchover?: ScheduledSwitchover | null;
  /** Superusers for a while: those that stand, and the latest that have ended, oldest first. Absent: none ever was. */
  readonly breakGlass?: readonly BreakGlassGrant[];
  /** Who came in on a host without asking anybody, and left; the latest, oldest first. Absent: nobody, as far as is known. */
  readonly localAccess?: readonly NotedLocalAccess[];
  /** Certificates by which roles log in: the latest that have not ended, oldest first. Absent: none was issued. */
  readonly roleCertificates?: readonly RoleCertificate[];
  /** PostgreSQL is being started again on members, one after another. Absent or null: it is not. */
  readonly restart?: PlannedRestart | null;
}

/** Done once, by whoever leads when its time has come; given up with a reason where it cannot be done then. */
export interface ScheduledSwitchover {
  /** Of the operation that it becomes. */
  readonly id: string;
  /** The primary that is to hand over: another one is not asked to. */
  readonly primaryId: MemberId;
  /** Null: to whoever is best then. */
  readonly targetId: MemberId | null;
  /** By the leader's wall clock. */
  readonly dueAtMs: number;
  readonly by: string;
  /** When it was asked for. */
  readonly atMs: number;
}

/** Automatic failover is off, for a reason that somebody gave. */
export interface Pause {
  /** Names the pause: the same reason ends it. */
  readonly reason: string;
  readonly by: string;
  readonly atMs: number;
}

/** Holds for one reign, one member and how far that member was when a person was shown it; and not for ever. */
export interface AcceptedLoss {
  readonly epoch: Epoch;
  readonly memberId: MemberId;
  readonly position: Position;
  readonly expiresAtMs: number;
  readonly by: string;
}

export type FailoverPhase = "revoked" | "appointed" | "promoted" | "writable" | "rejoined";

/** One change of the primary: why, on what evidence, how far everybody was, and how long each phase took. */
export interface FailoverRecord {
  /** 1, 2, … in this cluster. */
  readonly number: number;
  readonly kind: "automatic" | "switchover" | "manual";
  /** The reign that ended, and the one that followed; null until it is appointed. */
  readonly epoch: Epoch;
  readonly nextEpoch: Epoch | null;
  readonly from: string;
  readonly to: string | null;
  /** A reason of the decision that ended the reign (`decision/reasons.ts`). */
  readonly reason: string;
  readonly by: string;
  /** What was seen, a sentence each. */
  readonly evidence: readonly string[];
  /** When the reign was fenced, by the leader's wall clock. */
  readonly atMs: number;
  /** From the first sign to the fence. */
  readonly detectionMs: number | null;
  /** Since the fence, by the leader's monotonic clock where one leader saw both. */
  readonly phases: readonly { readonly phase: FailoverPhase; readonly afterMs: number }[];
  readonly positions: readonly FailoverPosition[];
  readonly passedOver: readonly { readonly member: string; readonly reason: string }[];
  /** Commits may have been lost that were acknowledged: why. Null: none. */
  readonly loss: string | null;
}

/** How far a member was when the successor was chosen. */
export interface FailoverPosition {
  readonly member: string;
  readonly position: Position | null;
  readonly hasPledged: boolean;
}

/** What is left of a member that was removed: its id never takes part again. */
export interface RemovedMember {
  readonly id: MemberId;
  readonly name: string;
  /** As in `Member`. */
  readonly standbyName?: string;
  readonly atMs: number;
}

/** Signs the certificates of members. The key is replicated, so that every leader can admit a joiner. */
export interface CertificateAuthority {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

/** What a token is for. Not a ladder: what each includes stands in `api/access.ts`. */
export type Scope = "health" | "viewer" | "operator" | "access" | "admin";

export interface ApiToken {
  readonly id: string;
  /** SHA-256 of the secret, hexadecimal. The secret itself is shown once and kept nowhere. */
  readonly secretHash: string;
  readonly scope: Scope;
  readonly createdAtMs: number;
  /** For people; unique. Absent: it was made without one. */
  readonly name?: string;
  /** From then on it is refused, by the wall clock of the member that is asked. Absent: it does not expire. */
  readonly expiresAtMs?: number;
  /** Who made it. Absent: nobody said, before feature level 4. */
  readonly by?: string;
  /** To the hour (`api/token-use.ts`). Absent: not since feature level 4. */
  readonly lastUsedAtMs?: number;
}

/** Admits one member, once. */
export interface JoinToken {
  readonly id: string;
  readonly secretHash: string;
  readonly expiresAtMs: number;
  /** The member that used it, or null. */
  readonly usedBy: string | null;
  /** Who uses it takes this member's name and place. Absent: nobody's. */
  readonly replaces?: MemberId;
}

export interface Initialization {
  readonly memberId: MemberId;
  readonly operationId: string;
  readonly options: InitdbOptions;
}

export interface InitdbOptions {
  readonly encoding: string;
  readonly locale: string;
  /** Size of a WAL file, in MB. Absent: PostgreSQL's own default. */
  readonly walSegmentMb?: number;
}

/** The standbys of which `k` must have flushed a commit before it is acknowledged. */
export interface Cohort {
  readonly standbyIds: readonly MemberId[];
  readonly k: number;
  /** k is 0 by choice: the primary acknowledges alone, and only while it holds a lease. Absent: no. */
  readonly isLeased?: boolean;
}

/** The cohort that was announced as the `number`th of a reign; 0: the one that it began with. */
export interface CohortName {
  readonly epoch: Epoch;
  readonly number: number;
}

/** One reign of one primary (`roadmap/0002-failover.md`). */
export interface Reign {
  readonly epoch: Epoch;
  readonly primaryId: MemberId;
  /** How far the appointed member's WAL reached when it was chosen. Null for the first reign. */
  readonly appointedAt: Position | null;
  readonly appointedAtWallMs: number;
  readonly reason: string;
  readonly cohort: Cohort;
  /**
   * A cohort the primary is being moved to. While it is set, the primary may use either rule, so a revocation must
   * satisfy both.
   */
  readonly pendingCohort: Cohort | null;
  /** How many were announced in this reign so far. Absent: none since feature level 4. */
  readonly cohortNumber?: number;
  /**
   * The rules of earlier reigns that still count. A commit that was acknowledged before the appointment is on this
   * reign's primary for certain, but not yet on its cohort: until enough of the cohort have caught up, a revocation must
   * satisfy the old rules too.
   */
  readonly inheritedRules: readonly Cohort[];
  /** Which reigns wrote the timelines that this one grew out of. */
  readonly timelines: readonly TimelineEpoch[];
  /** The reign's place in PostgreSQL's history; null until the promotion was seen. */
  readonly lineage: Lineage | null;
  /** Set once this reign is being ended: standbys pledge, and the next command is an appointment. */
  readonly fence: Fence | null;
  /** The longest lease that the settings allowed during this reign, where they allow a shorter one now. Absent: they do not. */
  readonly leaseMsMax?: number;
  /**
   * The group was recovered from a member that may not know how this reign went on: it is ended by nobody but a person.
   * Absent: it is not.
   */
  readonly isAbandoned?: boolean;
}

export interface Fence {
  readonly reason: string;
  /** For a planned switchover: the member that shall follow. It wins among those that hold everything. */
  readonly preferredId: MemberId | null;
  readonly fencedAtWallMs: number;
}

/** Which timeline a reign writes, and where its ancestors ended. */
export interface Lineage {
  readonly timeline: TimelineId;
  readonly ancestors: readonly Ancestor[];
}

/**
 * A planned change of primary, until its fence: the old primary writes a checkpoint, then stops cleanly while the
 * standbys still receive. Then the reign is fenced and the target appointed, as after a crash.
 */
export interface Switchover {
  readonly operationId: string;
  readonly epoch: Epoch;
  readonly targetId: MemberId;
}

export type OperationKind =
  | "initialize"
  | "switchover"
  | "reinitialize"
  | "remove"
  | "recover"
  | "restart"
  | "authority-change";

export interface Operation {
  readonly id: string;
  readonly kind: OperationKind;
  /** The member it is about: built first, promoted, or built anew. Where it is about all: the one that was asked. */
  readonly memberId: MemberId;
  /** Of a switchover, from feature level 4 on: whose reign was to end. Absent: it is none, or older. */
  readonly handsOver?: { readonly primaryId: MemberId; readonly epoch: Epoch };
  readonly by: string;
  readonly startedAtMs: number;
  readonly finishedAtMs: number | null;
  readonly status: "running" | "succeeded" | "failed";
  readonly phase: string;
  /** What happened, oldest first, bounded. */
  readonly log: readonly { readonly atMs: number; readonly message: string }[];
}

/** What may stand in the log of this cluster. */
export function featureLevelOf(state: ClusterState): number {
  return state.featureLevel ?? 1;
}

/** For how long a primary may reign from the moment at which it last proved that it is in touch with the leader. */
export function leaseMsOf(state: Pick<ClusterState, "spec" | "featureLevel">): number {
  const { leaseMs, suspectMs } = state.spec.timing;
  // Members of one cluster must mean the same by it: what older releases mean counts while there may be one.
  const looksMissed = (state.featureLevel ?? 1) < 4 ? 3 : 4;
  return leaseMs ?? looksMissed * suspectMs;
}

/** How long a lease of the present reign may last, whenever it was given: shorter settings shorten none that stands. */
export function longestLeaseMs(state: ClusterState): number {
  return Math.max(leaseMsOf(state), state.reign?.leaseMsMax ?? 0);
}

/** The member of this id; undefined where there is none (any more). */
export function memberById(state: ClusterState, id: MemberId): Member | undefined {
  return state.members.find((member) => member.id === id);
}

/** The member of this name, as people write it; undefined where there is none. */
export function memberByName(state: ClusterState, name: string): Member | undefined {
  return state.members.find((member) => member.name === name);
}

/** For people: a member's name, also of one that was removed; its id where nothing is known of it any more. */
export function memberName(state: ClusterState, id: MemberId): string {
  return memberById(state, id)?.name ?? removedById(state, id)?.name ?? id;
}

/** Under which name (`application_name`) a member's PostgreSQL receives WAL. */
export function standbyNameOf(state: ClusterState, id: MemberId): string {
  const known = memberById(state, id) ?? removedById(state, id);
  return known?.standbyName ?? known?.name ?? id;
}

function removedById(state: ClusterState, id: MemberId): RemovedMember | undefined {
  return state.removed?.find((removed) => removed.id === id);
}

/** The reign cannot do without this member yet: it is the primary, or a commit may have counted its acknowledgement. */
export function isNamedByReign({ reign }: ClusterState, id: MemberId): boolean {
  if (reign === null) return false;
  return reign.primaryId === id || rulesOf(reign).some(({ standbyIds }) => standbyIds.includes(id));
}

/** Which of the reign's cohorts is the newest: two of them may ask for the same. */
export function newestCohort({ epoch, cohortNumber = 0 }: Reign): CohortName {
  return { epoch, number: cohortNumber };
}

/** Every rule under which a commit that counts may have been acknowledged: a revocation must satisfy them all. */
export function rulesOf(reign: Reign): readonly Cohort[] {
  const { inheritedRules, cohort, pendingCohort } = reign;
  return pendingCohort === null ? [...inheritedRules, cohort] : [...inheritedRules, cohort, pendingCohort];
}
