/**
 * What a leader looks at once a second: whether it is well enough to lead, and whether everybody's state is the same. The
 * decisions are pure functions; here they are given what is known, and carried out.
 */
import type { LogIndex, MemberId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { NodeStatus } from "../raft/node.ts";
import { compareHashes, type HashReport } from "./compare-hashes.ts";
import { decideHandOver, type HandOverView, type KnownHealth } from "./hand-over.ts";

export interface LeaderWatchPorts {
  readonly selfId: MemberId;
  readonly log: Log;
  nowMs(): number;
  heartbeatMs(): number;
  own(): HandOverView["own"];
  health(): readonly KnownHealth[];
  hashes(): readonly HashReport[];
  hashAt(index: LogIndex): string | null;
  /** @returns why not, or null. */
  handOver(to: MemberId | null): string | null;
  /** Tells a member that its state is not what a majority has. */
  accuse(id: MemberId, index: LogIndex, hash: string): void;
  /** A majority agrees on something else than we have. */
  endSelf(index: LogIndex): void;
}

const EVERY_MS = 1000;

export class LeaderWatch {
  readonly #ports: LeaderWatchPorts;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #triedAtMs: number | null = null;
  #undecidedAt: LogIndex | null = null;

  constructor(ports: LeaderWatchPorts) {
    this.#ports = ports;
  }

  /** The leadership began, or is lost. */
  reset(): void {
    this.#triedAtMs = null;
    this.#undecidedAt = null;
  }

  look(status: NodeStatus, leadingSinceMs: number): void {
    const nowMs = this.#ports.nowMs();
    if (nowMs - this.#lookedAtMs < EVERY_MS) return;
    this.#lookedAtMs = nowMs;
    this.#compare(status);
    if (!status.isTransferring) this.#handOver(status, leadingSinceMs, nowMs);
  }

  #handOver(status: NodeStatus, leadingSinceMs: number, nowMs: number): void {
    const { selfId, log } = this.#ports;
    const { voters } = status.config;
    const decision = decideHandOver({
      nowMs,
      selfId,
      heartbeatMs: this.#ports.heartbeatMs(),
      leadingSinceMs,
      triedAtMs: this.#triedAtMs,
      own: this.#ports.own(),
      candidateIds: status.followers
        .filter(({ id, isCaughtUp }) => isCaughtUp && voters.includes(id))
        .map(({ id }) => id),
      health: this.#ports.health(),
    });
    if (decision.kind === "stay") return;
    this.#triedAtMs = nowMs;
    const refusal = this.#ports.handOver(decision.to);
    log.warn("raft.handing-over", { to: decision.to, reason: decision.reason, refusal });
  }

  #compare(status: NodeStatus): void {
    const { selfId, log } = this.#ports;
    const verdict = compareHashes({
      selfId,
      voterIds: status.config.voters,
      reports: this.#ports.hashes(),
      hashAt: (index) => this.#ports.hashAt(index),
    });
    switch (verdict.kind) {
      case "equal":
        return;
      case "others-differ":
        for (const { memberId, index } of verdict.minority) {
          const hash = this.#ports.hashAt(index);
          log.error("state.differs", { memberId, index, message: "its state is not what a majority has" });
          if (hash !== null) this.#ports.accuse(memberId, index, hash);
        }
        return;
      case "we-differ":
        this.#ports.endSelf(verdict.index);
        return;
      case "undecided": {
        const [first] = verdict.differing;
        if (first === undefined || this.#undecidedAt === first.index) return;
        this.#undecidedAt = first.index;
        log.error("state.undecided", {
          memberIds: verdict.differing.map(({ memberId }) => memberId),
          index: first.index,
          message:
            "members have different states, and no majority says which is right: compare them by hand before anything else is lost",
        });
        return;
      }
    }
  }
}
