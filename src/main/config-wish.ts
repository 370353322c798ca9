/** The configuration that somebody wants, tried again until it is in effect, replaced by another, or leadership is lost. */
import type { ConfigTarget } from "../cluster/consensus.ts";
import type { NodeStatus, RaftNode } from "../raft/node.ts";

type Answer = ReturnType<RaftNode["changeConfig"]>;
type Refusal = Extract<Answer, { readonly ok: false }>["reason"];

const SENTENCES: Readonly<Record<Refusal, string>> = {
  "not-leader": "this member does not lead",
  transferring: "leadership is being handed on",
  "not-ready": "the leader is new and has not agreed anything yet",
  "config-pending": "the change before it is not agreed yet",
  "no-voters": "nobody would vote",
  "too-many-voters": "too many members would vote",
  "not-caught-up": "one that shall vote has not caught up yet: it receives the log as a learner first",
  "quorum-unreachable": "too few of those who would vote are heard: start them first",
};

export class ConfigWish {
  #target: ConfigTarget | null = null;
  #refusal: string | null = null;

  /** Why it is not in effect yet; null where nothing is wanted, or nothing in the way. */
  get refusal(): string | null {
    return this.#refusal;
  }

  want(target: ConfigTarget): void {
    this.#target = target;
  }

  drop(): void {
    this.#target = null;
    this.#refusal = null;
  }

  /** @returns whether the refusal changed. */
  attempt(node: RaftNode, status: NodeStatus): boolean {
    if (this.#target === null) return false;
    if (status.role !== "leader") {
      this.drop();
      return true;
    }
    const answer = node.changeConfig(this.#target);
    const before = this.#refusal;
    // Nothing to do any more.
    if (answer.ok && answer.id === null && !status.isConfigPending && status.config.outgoing.length === 0)
      this.#target = null;
    this.#refusal = answer.ok ? null : SENTENCES[answer.reason];
    return this.#refusal !== before;
  }
}
