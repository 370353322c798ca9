/** The first frame in both directions: who speaks, of which cluster, and what the connection is for. */
import type { ClusterId, MemberId } from "../base/ids.ts";

/** Raised when members of the older version could misunderstand the newer one. */
export const PROTOCOL_VERSION = 1;

/** `bulk`: a snapshot's bytes, pulled by calls; nothing else has to wait behind them. */
export type Purpose = "raft" | "bulk";

export interface Hello {
  readonly protocol: number;
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  /** Grows when a group is forced from one survivor: nobody who was left behind may come back. */
  readonly recoveryEpoch: number;
  readonly purpose: Purpose;
}

/** Release 0.1.0 sends neither `recoveryEpoch` nor `purpose`, and does not look at them. */
export function parseHello(value: unknown): Hello | null {
  if (typeof value !== "object" || value === null) return null;
  const {
    protocol,
    clusterId,
    memberId,
    recoveryEpoch = 0,
    purpose = "raft",
  } = value as Record<string, unknown>;
  if (typeof protocol !== "number" || typeof clusterId !== "string" || typeof memberId !== "string")
    return null;
  if (typeof recoveryEpoch !== "number" || (purpose !== "raft" && purpose !== "bulk")) return null;
  return {
    protocol,
    clusterId: clusterId as ClusterId,
    memberId: memberId as MemberId,
    recoveryEpoch,
    purpose,
  };
}

/** Why this member does not speak with the sender of `hello`; null where it does. */
export function whyRefused(hello: Hello, own: Hello, peerId: MemberId): string | null {
  if (hello.protocol !== PROTOCOL_VERSION) {
    return `it speaks version ${hello.protocol} of the peer protocol, this member ${PROTOCOL_VERSION}: upgrade the older of the two`;
  }
  if (hello.clusterId !== own.clusterId) {
    return `it says that it belongs to cluster ${hello.clusterId}, this member belongs to ${own.clusterId}`;
  }
  if (hello.recoveryEpoch !== own.recoveryEpoch) {
    return `it is of recovery epoch ${hello.recoveryEpoch}, this member of ${own.recoveryEpoch}: one of the two was left behind when the group was recovered; remove its data and let it join as a new member`;
  }
  if (hello.memberId !== peerId) {
    return `it says that it is ${hello.memberId}, its certificate says ${peerId}`;
  }
  return null;
}
