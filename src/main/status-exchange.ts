/**
 * Members telling each other of themselves: each one its leader, the leader everybody. Kept in memory only. A new leader
 * is told by each member as soon as that follows it, so that it knows everything afresh after one round trip.
 */
import type { MemberId } from "../base/ids.ts";
import type { MemberStatus } from "../cluster/observation.ts";
import type { AgedStatus, DigestEntry, HostReport } from "../peer/status-codec.ts";
import type { HashReport } from "./compare-hashes.ts";
import type { KnownHealth } from "./hand-over.ts";
import { ObservationBoard } from "./observation-board.ts";

/** An unchanged status is sent again, and an unchanged digest, this often. */
export const REPEAT_MS = 500;

export interface ExchangePorts {
  readonly selfId: MemberId;
  nowMs(): number;
  leaderId(): MemberId | null;
  /** Everybody else that is a member. */
  otherIds(): readonly MemberId[];
  host(): HostReport;
  isConnected(id: MemberId): boolean;
  sendStatus(to: MemberId, status: AgedStatus): void;
  sendDigest(to: MemberId, digest: readonly DigestEntry[]): void;
}

export class StatusExchange {
  readonly board: ObservationBoard;
  readonly #ports: ExchangePorts;
  readonly #hosts = new Map<MemberId, { readonly host: HostReport; readonly atMs: number }>();
  #own: { readonly status: MemberStatus; readonly atMs: number } | null = null;
  #statusSentAtMs = Number.NEGATIVE_INFINITY;
  #digestSentAtMs = Number.NEGATIVE_INFINITY;
  #digestedNews = -1;

  constructor(ports: ExchangePorts) {
    this.#ports = ports;
    this.board = new ObservationBoard(ports.selfId);
  }

  /** What members said of their machines. */
  get health(): readonly KnownHealth[] {
    return [...this.#hosts].map(([memberId, { host, atMs }]) => ({ ...host, memberId, atMs }));
  }

  /** What members said of their states. */
  get hashes(): readonly HashReport[] {
    return [...this.#hosts].flatMap(([memberId, { host }]) =>
      host.stateHash === null ? [] : [{ memberId, ...host.stateHash }],
    );
  }

  publish(status: MemberStatus, atMs: number): void {
    const nowMs = this.#ports.nowMs();
    const ageMs = Math.max(0, nowMs - atMs);
    const isNew = this.board.takeStatus(this.#ports.selfId, { status, ageMs }, nowMs);
    this.#own = { status, atMs };
    if (isNew) this.sendStatus();
  }

  takeStatus(from: MemberId, status: AgedStatus): void {
    const nowMs = this.#ports.nowMs();
    if (status.host !== null) this.#hosts.set(from, { host: status.host, atMs: nowMs });
    this.board.takeStatus(from, status, nowMs);
  }

  takeDigest(from: MemberId, digest: readonly DigestEntry[]): void {
    // A deposed leader may still believe in itself.
    if (from === this.#ports.leaderId()) this.board.takeDigest(digest, this.#ports.nowMs());
  }

  connected(id: MemberId, isConnected: boolean): void {
    this.board.setConnected(id, isConnected);
    if (!isConnected) return;
    if (id === this.#ports.leaderId()) this.sendStatus();
    // A member that just came finds out at once what is known.
    this.#digestedNews = -1;
  }

  /** Somebody else leads, or nobody, or we do. */
  leaderChanged(): void {
    this.board.setLeader(this.#ports.leaderId());
    this.#digestedNews = -1;
    this.sendStatus();
  }

  /** With each heartbeat's answer, but not more often than is useful. */
  heartbeatHeard(): void {
    if (this.#ports.nowMs() - this.#statusSentAtMs >= REPEAT_MS) this.sendStatus();
  }

  sendStatus(): void {
    const leaderId = this.#ports.leaderId();
    if (this.#own === null || leaderId === null || leaderId === this.#ports.selfId) return;
    if (!this.#ports.isConnected(leaderId)) return;
    const nowMs = this.#ports.nowMs();
    const { status, atMs } = this.#own;
    this.#statusSentAtMs = nowMs;
    this.#ports.sendStatus(leaderId, { status, ageMs: Math.max(0, nowMs - atMs), host: this.#ports.host() });
  }

  /** As leader, at each turn: news at once, but not more often than a heartbeat. */
  sendDigest(heartbeatMs: number): void {
    const nowMs = this.#ports.nowMs();
    const isChanged = this.board.news !== this.#digestedNews;
    if (nowMs - this.#digestSentAtMs < (isChanged ? heartbeatMs : REPEAT_MS)) return;
    this.#digestSentAtMs = nowMs;
    this.#digestedNews = this.board.news;
    const digest = this.board.digest(nowMs);
    for (const id of this.#ports.otherIds()) this.#ports.sendDigest(id, digest);
  }

  keepOnly(ids: ReadonlySet<MemberId>): void {
    this.board.keepOnly(ids);
    for (const id of this.#hosts.keys()) if (!ids.has(id)) this.#hosts.delete(id);
  }
}
