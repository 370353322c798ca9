import type { Clock } from "../base/clock.ts";
import type { ClusterId, LogIndex, MemberId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { Position } from "../base/lsn.ts";
import type { Result } from "../base/result.ts";
import type { AccessTrial } from "../cluster/access-trial.ts";
import type { DeclaredReport } from "../cluster/catalog.ts";
import type { Asked } from "../cluster/command.ts";
import type { Consensus } from "../cluster/consensus.ts";
import type { Fork } from "../cluster/fork.ts";
import type { MachineFacts } from "../cluster/machine-facts.ts";
import type { AccessLines } from "../cluster/managed-settings.ts";
import type { Member, MemberTags } from "../cluster/member.ts";
import type { MemberStatus } from "../cluster/observation.ts";
import type { Parameters } from "../cluster/parameters.ts";
import type { ServerSettings, TriedParameters } from "../cluster/server-settings.ts";
import type { CertificateAuthority, ClusterState, Cohort } from "../cluster/state.ts";
import type { AuditRecordDocument } from "./documents.ts";

/**
 * All that the API asks of the rest of the member. `main` hands it in, so that `api` knows neither Raft's worker nor
 * PostgreSQL nor certificates, and a test brings its own.
 */
export interface ApiPorts {
  /** This member's name, from its own file. */
  readonly name: string;
  /** Version of the binary. */
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Null until this member formed or joined. */
  memberId(): MemberId | null;
  /** Null until this member formed or joined. */
  consensus(): Consensus | null;
  /** What this member says of itself; null before its first look. */
  localStatus(): MemberStatus | null;
  /** Why this process should be restarted, or null while its loops turn. Answers `/liveness`. */
  stalledReason(): string | null;
  /** Makes this member the first voter of a new control plane. Asked over the Unix socket only. */
  form(request: FormRequest): Promise<Result<Formed, Refusal>>;
  /** Makes this member part of an existing control plane. Asked over the Unix socket only. */
  join(request: JoinRequest): Promise<Result<Joined, Refusal>>;
  /** The other side of `join`: has the new member agreed and signs its certificate. The secret was checked already. */
  admit(request: AdmitRequest): Promise<Result<Admission, Refusal>>;
  /** A new authority that could follow the present one. */
  succeedAuthority(state: ClusterState): Promise<CertificateAuthority>;
  /** What would happen if these members were lost now; of nobody: how things stand. Null until this member formed or joined. */
  explain(lostIds: ReadonlySet<MemberId>): ExplainedLoss | null;
  /** A reason of the leader's or a member's in a sentence, and what can be done about it; null: it is none that is known. */
  reasonOf(reason: string): { readonly text: string; readonly wayOut: string | null } | null;
  /** What a member wrote after a successor had turned off, and keeps; the error says why it cannot be told. */
  forks(memberId: MemberId): Promise<Result<readonly Fork[], string>>;
  /** What the machine under a member's PostgreSQL has; the error says why that cannot be told. */
  machine(memberId: MemberId): Promise<Result<MachineFacts, string>>;
  /** Has a member's PostgreSQL read its settings again; the error says why it was not told to. */
  reload(memberId: MemberId): Promise<Result<null, string>>;
  /** Has a member's PostgreSQL read rules for connections, beside its running server; the error says why it was not asked. */
  tryAccess(memberId: MemberId, lines: AccessLines): Promise<Result<AccessTrial, string>>;
  /** Asks the hook of the primary's host whether it may hand over to the member of this name; the error says why not. */
  mayHandOver(primaryId: MemberId, to: string): Promise<Result<null, string>>;
  /** What a member's server says of these parameters (null: of all); the error says why that cannot be told. */
  serverSettings(
    memberId: MemberId,
    names: readonly string[] | null,
  ): Promise<Result<ServerSettings, string>>;
  /** Whether a member's PostgreSQL would start with these parameters. */
  tryParameters(memberId: MemberId, parameters: Parameters): Promise<TriedParameters>;
  /** What a member found of roles and databases as they are declared; the error says why that cannot be told. */
  declaredReport(memberId: MemberId): Promise<Result<DeclaredReport, string>>;
  /** Somebody was refused here, or read a secret: an entry of the trail that no other member knows. Absent: nobody is told. */
  onAttempt?(record: AuditRecordDocument): void;
  /** Where this member takes client certificates, once an authority is trusted; null: nowhere. A problem: why it cannot. */
  certificateListener(): { readonly port: number | null; readonly problem: string | null };
  /** Signs a certificate by which a role logs in to PostgreSQL; the error says what is wrong with the request. */
  signRole(request: SignRoleRequest): Promise<Result<SignedRole, string>>;
  /** A new UUID. */
  newId(): string;
  /** A new secret: at least 128 bits of chance, of A-Z, a-z, 0-9, `-` only. */
  newSecret(): string;
  /** So many bytes of chance. */
  newSalt(bytes: number): Uint8Array;
}

/** As `decision/explain.ts` says it. */
export interface ExplainedLoss {
  readonly outcome: "no-primary" | "goes-on" | "commits-wait" | "commits-weaker" | "failover" | "held";
  readonly reason: string | null;
  readonly detail: string | null;
  readonly isMajorityLeft: boolean;
  readonly successorId: MemberId | null;
  readonly cohort: Cohort | null;
  readonly passedOver: readonly { readonly memberId: MemberId; readonly reason: string }[];
  readonly detectionMs: number | null;
  readonly writableAfterMs: number | null;
  readonly loss: string | null;
  readonly offer: { readonly memberId: MemberId; readonly position: Position } | null;
}

export interface FormRequest {
  /** Name of the cluster, for people. */
  readonly clusterName: string;
  readonly asked: Asked;
}

export interface Formed {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  /** The first admin token, whole (`gcm_<id>_<secret>`): shown once and kept nowhere. */
  readonly token: string;
  readonly caPem: string;
}

export interface JoinRequest {
  /** host:port of the API of any member. */
  readonly address: string;
  /** The join token as text; `parseJoinToken` takes it apart. */
  readonly token: string;
  /** If given, the cluster must have this name. */
  readonly expectedName: string | null;
}

export interface Joined {
  readonly clusterId: ClusterId;
  readonly clusterName: string;
  readonly memberId: MemberId;
}

export interface AdmitRequest {
  /** The join token's id; `add-member` spends it. */
  readonly tokenId: string;
  readonly secret: string;
  readonly csrPem: string;
  readonly name: string;
  /** Host names and addresses that the certificate shall carry. */
  readonly hosts: readonly string[];
  readonly addresses: { readonly api: string; readonly peer: string; readonly postgres: string };
  readonly kind: Member["kind"];
  readonly tags: MemberTags;
  readonly asked: Asked;
}

export interface SignRoleRequest {
  readonly csrPem: string;
  readonly role: string;
  /** At the latest: an authority's certificates end with it. */
  readonly expiresAtMs: number;
}

export interface SignedRole {
  readonly certificatePem: string;
  /** Hexadecimal. */
  readonly serial: string;
  /** SHA-256 of the certificate of the authority that signed it, hexadecimal. */
  readonly authority: string;
  readonly expiresAtMs: number;
}

export interface Admission {
  readonly clusterId: ClusterId;
  readonly clusterName: string;
  readonly memberId: MemberId;
  /** Of the authority that signed its certificate. */
  readonly caPem: string;
  /** Of every authority whose members it is to let in. */
  readonly trustedPem: string;
  readonly certificatePem: string;
  readonly peers: readonly { readonly id: MemberId; readonly name: string; readonly address: string }[];
  /** The joiner may not campaign before this index is committed. */
  readonly promotableFrom: LogIndex;
  /** How often the group was recovered from one survivor: members of another count do not speak to each other. */
  readonly recoveryEpoch: number;
}

/**
 * Why something was not done. `code` is a RefusalCode or another stable word; `status` is the HTTP status that fits
 * (409 unless the fault lies elsewhere: 422 bad input, 502 the other side, 503 nobody leads, 504 outcome unknown).
 */
export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  readonly status: 401 | 403 | 409 | 422 | 502 | 503 | 504;
}
