/** What the benchmark says to a process that runs one member's consensus. */
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import type { ConfigTarget, RaftStatus } from "../../../src/cluster/consensus.ts";
import type { CertificateAuthority } from "../../../src/cluster/state.ts";
import type { WorkerStart } from "../../../src/main/worker-protocol.ts";
import type { PeerProof } from "../../../src/peer/transport.ts";
import type { KnownPeer } from "../../../src/store/identity.ts";
import type { Load } from "./closed-loop.ts";

/** Where a member lives and who it is. */
export interface Seat {
  readonly name: string;
  readonly memberId: MemberId;
  readonly databasePath: string;
  readonly credentials: PeerProof;
  /** host:port. */
  readonly listen: string;
  readonly seed: number;
  readonly limits: NonNullable<WorkerStart["limits"]>;
}

/** What a member needs to know before its log says it. */
export interface Admission {
  readonly promotableFrom: LogIndex;
  readonly peers: readonly KnownPeer[];
}

export type MemberRequest =
  | { readonly type: "form"; readonly seat: Seat; readonly authority: CertificateAuthority }
  | { readonly type: "join"; readonly seat: Seat; readonly admission: Admission }
  /** Again, after its process ended. */
  | { readonly type: "start"; readonly seat: Seat }
  /** To the leader. Answered with an `Admission`. */
  | { readonly type: "admit"; readonly seat: Pick<Seat, "name" | "memberId" | "listen"> }
  | { readonly type: "configure"; readonly target: ConfigTarget }
  /** To the leader, as it does in a real group: sessions and state hashes are part of what is measured. */
  | { readonly type: "raise-feature-level" }
  /** Answered with a `MemberLook`. */
  | { readonly type: "look" }
  /** Answered with a `Seen`. */
  | { readonly type: "load"; readonly kind: "write" | "read"; readonly load: Load }
  /** Answered once this many commands were applied here. */
  | { readonly type: "fill"; readonly count: number }
  /** One command, through whoever leads; answered once it was applied. */
  | { readonly type: "commit" };

export interface MemberLook {
  readonly raft: RaftStatus;
  readonly appliedIndex: LogIndex;
}
