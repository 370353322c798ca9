/**
 * Gets commands agreed: proposes them to whoever leads, again and again until they were applied here or their time is
 * up. Safe because a command that is proposed twice has the effect of once.
 */
import type { LogIndex, MemberId, Term } from "../base/ids.ts";
import type { Command, Outcome } from "../cluster/command.ts";
import type { ProposeResult } from "../cluster/consensus.ts";
import { PeerError } from "../peer/peer-error.ts";
import type { EntryId } from "../raft/engine/message.ts";

/** The leader's answer to a proposal. */
export type Acceptance =
  | { readonly ok: true; readonly id: EntryId }
  | { readonly ok: false; readonly reason: string; readonly isFinal: boolean };

export interface ProposalPorts {
  /** Null: we lead. `undefined`: nobody is known to lead. */
  leader(): MemberId | null | undefined;
  /** To our own Raft. */
  proposeHere(command: Command): Acceptance;
  /** To the leader, over the network. Rejects with a `PeerError`. */
  proposeThere(leader: MemberId, command: Command, deadlineMs: number): Promise<Acceptance>;
  nowMs(): number;
}

/** Between two attempts, where nothing else says that another one is worth while. */
const RETRY_MS = 50;

/** A leader that does not answer in this time is asked again. */
const ASK_MS = 1000;

interface Proposal {
  readonly command: Command;
  readonly done: (result: ProposeResult) => void;
  readonly endsAtMs: number;
  readonly deadline: ReturnType<typeof setTimeout>;
  state: "waiting" | { readonly asking: MemberId } | { readonly accepted: EntryId };
  /** Tells the answer to the present attempt from a late one. */
  attempt: number;
  retry: ReturnType<typeof setTimeout> | null;
  /** A leader may have got it, so it may happen. */
  isOut: boolean;
  /** Why it has not happened yet. */
  reason: string;
}

export class Proposals {
  readonly #ports: ProposalPorts;
  readonly #open = new Map<string, Proposal[]>();

  constructor(ports: ProposalPorts) {
    this.#ports = ports;
  }

  /** Calls `done` once, within `deadlineMs`. */
  add(command: Command, deadlineMs: number, done: (result: ProposeResult) => void): void {
    const proposal: Proposal = {
      command,
      done,
      endsAtMs: this.#ports.nowMs() + deadlineMs,
      deadline: setTimeout(() => this.#expire(proposal), deadlineMs),
      state: "waiting",
      attempt: 0,
      retry: null,
      isOut: false,
      reason: "no leader is known",
    };
    this.#open.set(command.id, [...(this.#open.get(command.id) ?? []), proposal]);
    this.#attempt(proposal);
  }

  /** A command was applied here, whoever proposed it. */
  applied(commandId: string, outcome: Outcome): void {
    for (const proposal of this.#open.get(commandId) ?? [])
      this.#finish(proposal, { kind: "applied", outcome });
  }

  /** Raft moved: what was accepted may be lost, and there may be a leader to ask. To be called after `applied`. */
  raftChanged(term: Term, leaderId: MemberId | null, appliedIndex: LogIndex): void {
    for (const proposal of [...this.#open.values()].flat()) {
      const { state } = proposal;
      if (state !== "waiting" && "accepted" in state) {
        // Another entry stands where it stood, or another leader may have truncated it.
        const isOvertaken = term > state.accepted.term && leaderId !== null;
        if (isOvertaken || appliedIndex >= state.accepted.index) proposal.state = "waiting";
      } else if (state !== "waiting" && leaderId !== null && leaderId !== state.asking) {
        proposal.isOut = true;
        proposal.state = "waiting";
      }
      if (proposal.state === "waiting" && leaderId !== null) this.#attempt(proposal);
    }
  }

  /** The worker ends. */
  close(): void {
    for (const proposal of [...this.#open.values()].flat()) {
      proposal.reason = "this member is shutting down";
      this.#expire(proposal);
    }
  }

  #attempt(proposal: Proposal): void {
    if (proposal.retry !== null) clearTimeout(proposal.retry);
    proposal.retry = null;
    proposal.attempt += 1;
    const { attempt } = proposal;
    const leader = this.#ports.leader();
    if (leader === undefined) {
      this.#later(proposal, "no leader is known");
      return;
    }
    if (leader === null) {
      this.#take(proposal, this.#ports.proposeHere(proposal.command));
      return;
    }
    proposal.state = { asking: leader };
    const leftMs = Math.max(1, proposal.endsAtMs - this.#ports.nowMs());
    this.#ports.proposeThere(leader, proposal.command, Math.min(leftMs, ASK_MS)).then(
      (acceptance) => {
        if (proposal.attempt === attempt) this.#take(proposal, acceptance);
      },
      (error: unknown) => {
        if (proposal.attempt !== attempt) return;
        const isUnsent = error instanceof PeerError && error.kind !== "lost" && error.kind !== "deadline";
        proposal.isOut ||= !isUnsent;
        this.#later(proposal, error instanceof Error ? error.message : String(error));
      },
    );
  }

  #take(proposal: Proposal, acceptance: Acceptance): void {
    if (acceptance.ok) {
      proposal.isOut = true;
      proposal.reason = "it is not committed yet";
      proposal.state = { accepted: acceptance.id };
    } else if (acceptance.isFinal && !proposal.isOut) {
      this.#finish(proposal, { kind: "not-proposed", reason: acceptance.reason });
    } else {
      this.#later(proposal, acceptance.reason);
    }
  }

  #later(proposal: Proposal, reason: string): void {
    proposal.state = "waiting";
    proposal.reason = reason;
    if (!this.#isOpen(proposal)) return;
    proposal.retry = setTimeout(() => this.#attempt(proposal), RETRY_MS);
  }

  #expire(proposal: Proposal): void {
    const { isOut, reason } = proposal;
    this.#finish(proposal, {
      kind:
        isOut || (proposal.state !== "waiting" && "asking" in proposal.state) ? "unknown" : "not-proposed",
      reason,
    });
  }

  #finish(proposal: Proposal, result: ProposeResult): void {
    if (!this.#isOpen(proposal)) return;
    clearTimeout(proposal.deadline);
    if (proposal.retry !== null) clearTimeout(proposal.retry);
    const others = (this.#open.get(proposal.command.id) ?? []).filter((other) => other !== proposal);
    if (others.length === 0) this.#open.delete(proposal.command.id);
    else this.#open.set(proposal.command.id, others);
    proposal.done(result);
  }

  #isOpen(proposal: Proposal): boolean {
    return this.#open.get(proposal.command.id)?.includes(proposal) ?? false;
  }
}
