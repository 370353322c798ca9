/** What the main thread is told, and when: each change once, and the mere passing of time now and then. */
import type { LogIndex } from "../base/ids.ts";
import type { RaftStatus, StateHash } from "../cluster/consensus.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { NodeStatus } from "../raft/node.ts";
import type { ObservationBoard } from "./observation-board.ts";
import { partsToTell } from "./state-parts.ts";
import { REPEAT_MS } from "./status-exchange.ts";
import type { FromWorker } from "./worker-protocol.ts";

/** The main thread learns this often that members were merely heard. */
const HEARD_EVERY_MS = 100;
/** How far followers are changes all the time; this often it is told although nothing else changed. */
const FOLLOWERS_EVERY_MS = 500;

export interface NewsPorts {
  post(message: FromWorker): void;
  nowMs(): number;
  state(): ClusterState | null;
  stateHash(): StateHash | null;
  appliedIndex(): LogIndex;
  isDiskFull(): boolean;
  readonly board: ObservationBoard;
}

export class WorkerNews {
  readonly #ports: NewsPorts;
  #state: ClusterState | null = null;
  #boardVersion = -1;
  #heardAtMs = Number.NEGATIVE_INFINITY;
  #followers = "";
  #followersAtMs = Number.NEGATIVE_INFINITY;

  constructor(ports: NewsPorts) {
    this.#ports = ports;
  }

  /** @returns the state if it is another one than before. */
  postState(): ClusterState | null {
    const state = this.#ports.state();
    if (state === null || state === this.#state) return null;
    const parts = partsToTell(this.#state, state);
    this.#state = state;
    this.#ports.post({ type: "state", parts, appliedIndex: this.#ports.appliedIndex() });
    return state;
  }

  postRaft(status: NodeStatus, leadingSinceMs: number | null, configRefusal: string | null): void {
    const { role, term, leaderId, isReady, commitIndex, lastIndex, floorIndex, config, isConfigPending } =
      status;
    const raft: RaftStatus = {
      role,
      term,
      leaderId,
      leadingSinceMs,
      isReady,
      commitIndex,
      lastIndex,
      floorIndex,
      voterIds: config.voters,
      config,
      isConfigPending,
      configRefusal,
      followers: status.followers.map(({ id, matchIndex, isActive, isCaughtUp }) => ({
        id,
        matchIndex,
        isActive,
        isCaughtUp,
      })),
      stateHash: this.#ports.stateHash(),
      isDiskFull: this.#ports.isDiskFull(),
    };
    this.#followers = describeFollowers(status);
    this.#followersAtMs = this.#ports.nowMs();
    this.#ports.post({ type: "raft", raft, appliedIndex: this.#ports.appliedIndex() });
  }

  /** Whether followers are there and close behind: Raft does not report that by itself. */
  hasNewsOfFollowers(status: NodeStatus): boolean {
    if (status.followers.length === 0) return false;
    const isDue = this.#ports.nowMs() - this.#followersAtMs >= FOLLOWERS_EVERY_MS;
    return isDue && describeFollowers(status) !== this.#followers;
  }

  postObservations(isLeading: boolean): void {
    const { board } = this.#ports;
    const nowMs = this.#ports.nowMs();
    if (board.version !== this.#boardVersion) {
      this.#boardVersion = board.version;
      this.#heardAtMs = nowMs;
      this.#ports.post({ type: "observations", observations: board.observations(nowMs) });
      return;
    }
    // Who does not lead hears of the others in digests only.
    const everyMs = isLeading ? HEARD_EVERY_MS : REPEAT_MS;
    if (nowMs - this.#heardAtMs < everyMs || board.size <= 1) return;
    this.#heardAtMs = nowMs;
    const heard = board.observations(nowMs).map(({ status, statusAtMs, heardAtMs }) => ({
      memberId: status.memberId,
      statusAtMs,
      heardAtMs,
    }));
    this.#ports.post({ type: "heard", heard });
  }
}

function describeFollowers({ followers }: NodeStatus): string {
  return followers
    .map(({ id, matchIndex, isActive, isCaughtUp }) => `${id} ${matchIndex} ${isActive} ${isCaughtUp}`)
    .join();
}
