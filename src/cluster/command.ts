import type { ClusterId, Epoch, Generation, MemberId } from "../base/ids.ts";
import type { Position } from "../base/lsn.ts";
import type { BreakGlassEnd } from "./break-glass.ts";
import type { DeclaredChanges } from "./declared.ts";
import type { NotedLocalAccess } from "./local-access.ts";
import type { Member, MemberTags, VotingWish } from "./member.ts";
import type { Ancestor, HookResult, TimelineEpoch } from "./observation.ts";
import type { RestartStep, RestartStrategy } from "./restart.ts";
import type { ClusterSpec } from "./spec.ts";
import type {
  ApiToken,
  CertificateAuthority,
  Cohort,
  FailoverPhase,
  FailoverPosition,
  InitdbOptions,
  Lineage,
  Scope,
} from "./state.ts";

/**
 * One entry of the log: a wish to change what is agreed. `apply()` carries it out or refuses it with a reason; both are
 * deterministic, so time and chance stand *in* the entry.
 */
export interface Command {
  /** Made by the proposer, once per wish: proposing the same one twice has the effect of once. */
  readonly id: string;
  /** The proposer's wall clock: for people, and for expiry. */
  readonly atMs: number;
  /** Who asked: a token's id, `issuer#subject` of an identity provider, `local` for the Unix socket, or `leader`. */
  readonly by: string;
  readonly change: Change;
  /** How it was asked, if somebody asked the API for it. Only from feature level 4 on. */
  readonly asked?: Asked;
}

/** Where a wish came in. */
export interface Asked {
  /** IP address of whoever asked; null over a Unix socket. */
  readonly address: string | null;
  /** Method and path, without the query: `POST /v1/pause`. */
  readonly request: string;
  /** Why, in their own words. Absent: nobody said. */
  readonly reason?: string;
  /** The member that was asked. Absent: that is not known. */
  readonly member?: MemberId;
  /** What an identity provider calls whoever asked. Absent: it said nothing, or was not asked. */
  readonly callerName?: string;
}

export type Change =
  /** The first command of a log. */
  | {
      readonly kind: "form";
      readonly clusterId: ClusterId;
      readonly name: string;
      readonly spec: ClusterSpec;
      readonly authority: CertificateAuthority;
      readonly member: Member;
      readonly token: ApiToken;
      /** Absent: 1, as release 0.1.0 forms. */
      readonly featureLevel?: number;
    }
  | {
      readonly kind: "create-join-token";
      readonly tokenId: string;
      readonly secretHash: string;
      readonly expiresAtMs: number;
      /** Who uses it takes the name of this member, whose removal begins at that moment. Absent: of nobody. */
      readonly replaces?: MemberId;
    }
  | {
      readonly kind: "create-token";
      readonly tokenId: string;
      readonly secretHash: string;
      readonly scope: Scope;
      /** From feature level 4 on, as the two scopes `health` and `access` are. */
      readonly name?: string;
      readonly expiresAtMs?: number;
    }
  | { readonly kind: "revoke-token"; readonly tokenId: string }
  /** Somebody showed this token, at the command's time. */
  | { readonly kind: "note-token-use"; readonly tokenId: string }
  | { readonly kind: "add-member"; readonly member: Member; readonly joinTokenId: string }
  | { readonly kind: "set-member-voting"; readonly memberId: MemberId; readonly voting: VotingWish }
  /** Only what is named changes. */
  | { readonly kind: "set-member-tags"; readonly memberId: MemberId; readonly tags: Partial<MemberTags> }
  /** Begins a removal: from here on the member is wanted nowhere. */
  | { readonly kind: "remove-member"; readonly memberId: MemberId; readonly operationId: string }
  /** Ends a removal, once no rule and no configuration names the member any more. */
  | { readonly kind: "forget-member"; readonly memberId: MemberId }
  /** Every member understands this much. */
  | { readonly kind: "raise-feature-level"; readonly level: number }
  /**
   * The majority is gone for good, and this member goes on alone (`cluster/recover-group.ts`). Never proposed: it is written
   * into a stopped member's log.
   */
  | {
      readonly kind: "recover-group";
      readonly clusterId: ClusterId;
      readonly memberId: MemberId;
      /** Somebody said that this member's PostgreSQL shall reign, whatever others may have acknowledged. */
      readonly makePrimary: boolean;
    }
  /** Build the PostgreSQL cluster: initdb on this member, clones on the others. */
  | {
      readonly kind: "initialize";
      readonly memberId: MemberId;
      readonly operationId: string;
      readonly options: InitdbOptions;
    }
  /** initdb is done: this is the history that counts from now on. */
  | { readonly kind: "record-system"; readonly memberId: MemberId; readonly systemIdentifier: string }
  /** Ends the reign `epoch`: standbys pledge from here on. */
  | {
      readonly kind: "fence";
      readonly epoch: Epoch;
      readonly reason: string;
      readonly preferredId: MemberId | null;
      /** From feature level 3 on: what was seen, a sentence each, and for how long before. */
      readonly evidence?: readonly string[];
      readonly detectionMs?: number | null;
    }
  /** Begins the reign after `previousEpoch`. A second one for the same predecessor is refused: one winner. */
  | {
      readonly kind: "appoint";
      readonly memberId: MemberId;
      readonly previousEpoch: Epoch;
      readonly cohort: Cohort;
      readonly position: Position | null;
      readonly timelines: readonly TimelineEpoch[];
      readonly reason: string;
      /** Why each of the others was not chosen. */
      readonly passedOver: readonly { readonly memberId: MemberId; readonly reason: string }[];
      /** From feature level 3 on: for the history. */
      readonly positions?: readonly FailoverPosition[];
      readonly sinceFenceMs?: number | null;
      /** Commits may be lost that were acknowledged: why. Absent: none. */
      readonly loss?: string;
    }
  | {
      readonly kind: "record-lineage";
      readonly epoch: Epoch;
      readonly timeline: Lineage["timeline"];
      readonly ancestors: readonly Ancestor[];
      readonly sinceFenceMs?: number | null;
    }
  /** The reign of `epoch` has come this far; told once, for the history. */
  | {
      readonly kind: "record-phase";
      readonly epoch: Epoch;
      readonly phase: FailoverPhase;
      readonly sinceFenceMs: number | null;
    }
  /** Changes what operators want; refused unless it was made for the present generation. */
  | {
      readonly kind: "change-spec";
      readonly generation: Generation;
      readonly spec: ClusterSpec;
      /** From feature level 4 on: what is declared stays as it is, and is not sent along; `spec` does not say it. */
      readonly keepsDeclared?: true;
      /** From feature level 4 on: what changes of what is declared besides. */
      readonly declares?: DeclaredChanges;
    }
  /**
   * Changes single declarations: of thousands, only those that are named stand in the log. Refused unless it was made for the
   * present generation.
   */
  | { readonly kind: "declare"; readonly generation: Generation; readonly changes: DeclaredChanges }
  /** Whatever was declared up to this revision was in force on the primary. */
  | { readonly kind: "note-declared"; readonly revision: number }
  /** No failover happens by itself until every reason is taken back. */
  | { readonly kind: "pause"; readonly reason: string }
  /** Takes a reason back; null: all of them. */
  | { readonly kind: "resume"; readonly reason: string | null }
  /** A person ends the reign `epoch` in favour of a member, and takes the loss of what that member lacks. */
  | {
      readonly kind: "accept-loss";
      readonly epoch: Epoch;
      readonly memberId: MemberId;
      readonly position: Position;
      readonly expiresAtMs: number;
    }
  /** Announces a cohort; the primary moves to it, and meanwhile both rules count. */
  | { readonly kind: "change-cohort"; readonly epoch: Epoch; readonly cohort: Cohort }
  /** The announced cohort is in effect and holds everything that the old one acknowledged. */
  | {
      readonly kind: "settle-cohort";
      readonly epoch: Epoch;
      readonly cohort: Cohort;
      /** From feature level 4 on: which one of the reign (`CohortName`) it is. */
      readonly number?: number;
    }
  | { readonly kind: "mark-data-ready"; readonly memberId: MemberId }
  | { readonly kind: "reinitialize-member"; readonly memberId: MemberId; readonly operationId: string }
  | {
      readonly kind: "begin-switchover";
      readonly targetId: MemberId;
      readonly operationId: string;
      readonly epoch: Epoch;
      /** From feature level 4 on: carries out what was scheduled under this id, and so ends the schedule. Absent: at once. */
      readonly scheduleId?: string;
    }
  /** A switchover away from this primary, once the leader's wall clock says so. `targetId` null: to whoever is best then. */
  | {
      readonly kind: "schedule-switchover";
      readonly scheduleId: string;
      readonly primaryId: MemberId;
      readonly targetId: MemberId | null;
      readonly dueAtMs: number;
    }
  /** Nothing comes of it. `reason`: why it could not be done at its time; null: somebody took it back. */
  | { readonly kind: "cancel-switchover"; readonly scheduleId: string; readonly reason: string | null }
  /** A program of a host's owner was run, and this came of it: for the record. */
  | ({ readonly kind: "note-hook"; readonly memberId: MemberId } & Omit<HookResult, "atMs">)
  /** A superuser for whoever asks, for a while, from one address. The password stays with whoever asked. */
  | {
      readonly kind: "request-break-glass";
      readonly grantId: string;
      readonly role: string;
      readonly verifier: string;
      readonly reason: string;
      readonly address: string;
      readonly durationMs: number;
    }
  | { readonly kind: "approve-break-glass"; readonly grantId: string }
  /** For so much longer. */
  | { readonly kind: "extend-break-glass"; readonly grantId: string; readonly durationMs: number }
  /** Found on a host: somebody came in, or left, while nobody could be asked. */
  | { readonly kind: "note-local-access"; readonly access: NotedLocalAccess }
  | { readonly kind: "end-break-glass"; readonly grantId: string; readonly why: BreakGlassEnd }
  /** A certificate by which a role logs in is about to be handed out. */
  | {
      readonly kind: "note-role-certificate";
      readonly role: string;
      readonly serial: string;
      readonly authority: string;
      readonly expiresAtMs: number;
    }
  /** PostgreSQL is to be started again on these members; `instance`: the server that runs there now. */
  | {
      readonly kind: "plan-restart";
      readonly operationId: string;
      readonly strategy: RestartStrategy;
      readonly isPendingOnly: boolean;
      readonly mayStall: boolean;
      readonly timeoutMs: number;
      readonly targets: readonly { readonly memberId: MemberId; readonly instance: string }[];
    }
  | ({ readonly kind: "begin-restart-step"; readonly operationId: string } & RestartStep)
  | {
      readonly kind: "end-restart-step";
      readonly operationId: string;
      readonly memberId: MemberId;
      readonly message: string;
    }
  | {
      readonly kind: "steer-restart";
      readonly operationId: string;
      readonly wish: "pause" | "resume" | "cancel";
    }
  /** Another authority is to come in the place of the present one: first everybody trusts both. */
  | {
      readonly kind: "replace-authority";
      readonly operationId: string;
      /** The member that was asked. */
      readonly memberId: MemberId;
      /** The certificate (PEM) of the one that signs now, and its SHA-256. */
      readonly presentPem: string;
      readonly presentFingerprint: string;
      readonly authority: CertificateAuthority;
      readonly fingerprint: string;
      readonly isHeld: boolean;
    }
  /** Every member has done what the next step needs: `sign` by the other authority, `forget` the one that does not sign. */
  | {
      readonly kind: "advance-authority";
      readonly operationId: string;
      readonly step: "sign" | "forget";
    }
  | {
      readonly kind: "steer-authority";
      readonly operationId: string;
      readonly wish: "hold" | "resume" | "cancel";
    }
  | { readonly kind: "abort-switchover"; readonly operationId: string; readonly reason: string }
  | {
      readonly kind: "progress-operation";
      readonly operationId: string;
      readonly phase: string;
      readonly message: string;
    }
  | {
      readonly kind: "finish-operation";
      readonly operationId: string;
      readonly status: "succeeded" | "failed";
      readonly message: string;
    };

/** What became of a command. A refusal changed nothing. */
export type Outcome =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly code: RefusalCode;
      readonly message: string;
      readonly hint: string | null;
    };

/** Stable: scripts may look at it. The same code stands in the API's problem document. */
export type RefusalCode =
  | "already-formed"
  | "not-formed"
  | "name-taken"
  | "join-token-unknown"
  | "join-token-used"
  | "join-token-expired"
  | "already-initialized"
  | "not-initialized"
  | "member-unknown"
  | "member-unsuitable"
  | "stale-epoch"
  | "stale-generation"
  | "stale-loss"
  | "too-many-declared"
  | "paused-already"
  | "not-paused"
  | "paused"
  | "scheduled-already"
  | "not-scheduled"
  | "time-passed"
  | "stale-operation"
  | "not-steerable"
  | "operation-running"
  | "feature-level-low"
  | "feature-level-reached"
  | "last-member"
  | "last-voter"
  | "member-is-primary"
  | "member-leaving"
  | "member-needed"
  | "name-bound"
  | "too-many-voters"
  | "token-unknown"
  | "token-name-taken"
  | "too-many-tokens"
  | "too-many-break-glass"
  | "break-glass-unknown"
  | "break-glass-ended"
  | "break-glass-open"
  | "break-glass-not-approved"
  | "break-glass-same-asker"
  | "break-glass-too-long"
  | "noted-already";

/** Something that happened, for people and for `/v1/events`. */
export interface ClusterEvent {
  /** Dotted and constant, for instance `primary.appointed`. */
  readonly name: string;
  readonly atMs: number;
  /** One sentence. */
  readonly message: string;
  readonly fields: Readonly<Record<string, string | number | boolean | null>>;
  /** This event is an entry of the audit trail, and is shown there and nowhere else. */
  readonly audit?: AuditedChange;
}

/** What somebody changed, for the audit trail; when and by whom stands in the event. */
export interface AuditedChange extends Omit<Asked, "callerName"> {
  readonly kind: Change["kind"];
  /** Name of the token at that time, or as an identity provider said it; null: there was none. */
  readonly byName: string | null;
  readonly values: readonly AuditedValue[];
  /** So many more values changed than are told. */
  readonly untold: number;
}

/** A part of what is agreed before and after, as JSON; null where it was not or is not there. Secrets are masked. */
export interface AuditedValue {
  readonly path: string;
  readonly before: string | null;
  readonly after: string | null;
}
