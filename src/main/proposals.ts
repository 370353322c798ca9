/**
 * Gets commands agreed: proposes them to whoever leads, again and again until they were applied here or their time is up.
 * Each is carried out once however often it is proposed: it keeps its number in this member's session, and where the
 * cluster knows no sessions yet (release 0.1.0 is among the members) its id is recognised.
 */
import type { LogIndex, MemberId, Term } from "../base/ids.ts";
import type { Command } from "../cluster/command.ts";
import { type EntryData, SESSIONS_FEATURE_LEVEL } from "../cluster/command-codec.ts";
import type { ProposeResult } from "../cluster/consensus.ts";
import { PeerError } from "../peer/peer-error.ts";
import type { EntryId } from "../raft/engine/message.ts";
import type { CommandReply } from "../store/command-reply.ts";
import { ProposerSession } from "./proposer-session.ts";

/** The leader's answer to a proposal. */
export type Acceptance =
  | { readonly ok: true; readonly id: EntryId }
  | {
      readonly ok: false;
      readonly reason: string;
      /** It will never be taken. */
      readonly isFinal: boolean;
      /** It was not taken because too much waits already. */
      readonly isOverloaded?: boolean;
    };

export interface ProposalPorts {
  /** Null: we lead. `undefined`: nobody is known to lead. */
  leader(): MemberId | null | undefined;
  /** To our own Raft. */
  proposeHere(data: EntryData): Acceptance;
  /** To the leader, over the network. Rejects with a `PeerError`. */
  proposeThere(leader: MemberId, data: EntryData, deadlineMs: number): Promise<Acceptance>;
  /** What may stand in the log. */
  featureLevel(): number;
  newClientId(): string;
  nowMs(): number;
}

/** More than this at a time are refused: whoever asks must wait, not this member remember. */
export const PROPOSALS_MAX = 1000;

/** Between two attempts, where nothing else says that another one is worth while. */
const RETRY_MS = 50;

/** A leader that does not answer in this time is asked again. */
const ASK_MS = 1000;

/** Opening a session takes this long at most; then the next wish tries again. */
const OPEN_DEADLINE_MS = 5000;

interface Proposal {
  readonly wish: { readonly kind: "command"; readonly command: Command } | { readonly kind: "open-session" };
  readonly key: string;
  readonly done: (result: ProposeResult) => void;
  readonly endsAtMs: number;
  readonly deadline: ReturnType<typeof setTimeout>;
  state: "waiting" | { readonly asking: MemberId } | { readonly accepted: EntryId };
  /** Where it has a number; kept over all attempts. */
  numbered: { readonly session: ProposerSession; readonly sequence: number } | null;
  /** Tells the answer to the present attempt from a late one. */
  attempt: number;
  retry: ReturnType<typeof setTimeout> | null;
  /** So many attempts a leader may have got, so each may happen. */
  outCount: number;
  /** Why it has not happened yet. */
  reason: string;
}

export class Proposals {
  readonly #ports: ProposalPorts;
  readonly #countMax: number;
  /** By the command's id, or the session's. */
  readonly #open = new Map<string, Proposal[]>();
  #count = 0;
  #session: ProposerSession;

  constructor(ports: ProposalPorts, countMax = PROPOSALS_MAX) {
    this.#ports = ports;
    this.#countMax = countMax;
    this.#session = new ProposerSession(ports.newClientId());
  }

  /** Calls `done` once, within `deadlineMs`. */
  add(command: Command, deadlineMs: number, done: (result: ProposeResult) => void): void {
    if (this.#count >= this.#countMax) {
      done({ kind: "overloaded", reason: `${this.#count} commands of this member wait already` });
      return;
    }
    this.#add({ kind: "command", command }, command.id, deadlineMs, done);
  }

  /** An entry was applied here, whoever proposed it. */
  replied(reply: CommandReply): void {
    switch (reply.kind) {
      case "applied":
        for (const proposal of this.#open.get(reply.commandId) ?? [])
          this.#finish(proposal, { kind: "applied", outcome: reply.outcome });
        return;
      case "session-opened":
        this.#opened(reply.client);
        return;
      case "session-unknown":
        this.#forgotten(reply.client, reply.commandId);
        return;
      case "session-full":
        for (const proposal of this.#open.get(reply.commandId) ?? [])
          this.#later(proposal, "too many answers wait to be acknowledged");
        return;
      case "sequence-acknowledged":
        // A late duplicate of a wish that nobody waits for any more.
        return;
    }
  }

  /** Raft moved: what was accepted may be lost, and there may be a leader to ask. To be called after `replied`. */
  raftChanged(term: Term, leaderId: MemberId | null, appliedIndex: LogIndex): void {
    for (const proposal of this.#all()) {
      const { state } = proposal;
      if (state !== "waiting" && "accepted" in state) {
        // Another entry stands where it stood, another leader may have truncated it, or a snapshot contains it.
        const isOvertaken = term > state.accepted.term && leaderId !== null;
        if (isOvertaken || appliedIndex >= state.accepted.index) proposal.state = "waiting";
      } else if (state !== "waiting" && leaderId !== null && leaderId !== state.asking) {
        proposal.outCount += 1;
        proposal.state = "waiting";
      }
      if (proposal.state === "waiting" && leaderId !== null) this.#attempt(proposal);
    }
  }

  /** The worker ends. */
  close(): void {
    for (const proposal of this.#all()) {
      proposal.reason = "this member is shutting down";
      this.#expire(proposal);
    }
  }

  #add(wish: Proposal["wish"], key: string, deadlineMs: number, done: Proposal["done"]): void {
    const proposal: Proposal = {
      wish,
      key,
      done,
      endsAtMs: this.#ports.nowMs() + deadlineMs,
      deadline: setTimeout(() => this.#expire(proposal), deadlineMs),
      state: "waiting",
      numbered: null,
      attempt: 0,
      retry: null,
      outCount: 0,
      reason: "no leader is known",
    };
    this.#open.set(key, [...(this.#open.get(key) ?? []), proposal]);
    this.#count += 1;
    this.#attempt(proposal);
  }

  // --- The session ------------------------------------------------------------------------------------------------

  #opened(client: string): void {
    if (client !== this.#session.client) return;
    this.#session.opened();
    for (const proposal of this.#open.get(client) ?? [])
      this.#finish(proposal, { kind: "applied", outcome: { ok: true } });
    for (const proposal of this.#all()) if (proposal.state === "waiting") this.#attempt(proposal);
  }

  /** The state does not know the session (any more): what was proposed once only did not happen, for the rest nobody knows. */
  #forgotten(client: string, commandId: string): void {
    if (client === this.#session.client) this.#session = new ProposerSession(this.#ports.newClientId());
    for (const proposal of this.#open.get(commandId) ?? []) {
      if (proposal.numbered?.session.client !== client) continue;
      proposal.numbered = null;
      if (proposal.outCount > 1) {
        const reason =
          "it was proposed more than once, and the session that tells attempts apart was forgotten";
        this.#finish(proposal, { kind: "unknown", reason });
        continue;
      }
      proposal.outCount = 0;
      this.#attempt(proposal);
    }
  }

  /** What to propose now; a text says what has to be waited for first. */
  #dataOf(proposal: Proposal): EntryData | string {
    const { wish } = proposal;
    if (wish.kind === "open-session") return { kind: "open-session", client: proposal.key };
    if (this.#ports.featureLevel() < SESSIONS_FEATURE_LEVEL && proposal.numbered === null) {
      return { kind: "command", command: wish.command, session: null };
    }
    if (proposal.numbered === null) {
      const session = this.#session;
      if (!session.isOpened) {
        if (!this.#open.has(session.client))
          this.#add({ kind: "open-session" }, session.client, OPEN_DEADLINE_MS, () => undefined);
        if (!session.isOpened) return "this member's session is being opened";
      }
      const sequence = session.take();
      if (sequence === null) return "too many others of this member wait";
      proposal.numbered = { session, sequence };
    }
    const { session, sequence } = proposal.numbered;
    return { kind: "command", command: wish.command, session: session.use(sequence) };
  }

  // --- One attempt after the other --------------------------------------------------------------------------------

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
    const data = this.#dataOf(proposal);
    // Opening the session may have ended this attempt by another one.
    if (proposal.attempt !== attempt || !this.#isOpen(proposal)) return;
    if (typeof data === "string") {
      this.#later(proposal, data);
      return;
    }
    if (leader === null) {
      this.#take(proposal, this.#ports.proposeHere(data));
      return;
    }
    proposal.state = { asking: leader };
    const leftMs = Math.max(1, proposal.endsAtMs - this.#ports.nowMs());
    this.#ports.proposeThere(leader, data, Math.min(leftMs, ASK_MS)).then(
      (acceptance) => {
        if (proposal.attempt === attempt) this.#take(proposal, acceptance);
      },
      (error: unknown) => {
        if (proposal.attempt === attempt) this.#failed(proposal, error);
      },
    );
  }

  #failed(proposal: Proposal, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    const kind = error instanceof PeerError ? error.kind : "lost";
    if (kind === "lost" || kind === "deadline") proposal.outCount += 1;
    else if (kind === "overloaded" && proposal.outCount === 0) {
      this.#finish(proposal, { kind: "overloaded", reason });
      return;
    }
    this.#later(proposal, reason);
  }

  #take(proposal: Proposal, acceptance: Acceptance): void {
    if (acceptance.ok) {
      proposal.outCount += 1;
      proposal.reason = "it is not committed yet";
      proposal.state = { accepted: acceptance.id };
      return;
    }
    const { reason } = acceptance;
    // What may be out already is not refused: it waits for its fate.
    if (proposal.outCount > 0) this.#later(proposal, reason);
    else if (acceptance.isFinal) this.#finish(proposal, { kind: "not-proposed", reason });
    else if (acceptance.isOverloaded === true) this.#finish(proposal, { kind: "overloaded", reason });
    else this.#later(proposal, reason);
  }

  #later(proposal: Proposal, reason: string): void {
    proposal.state = "waiting";
    proposal.reason = reason;
    if (!this.#isOpen(proposal)) return;
    if (proposal.retry !== null) clearTimeout(proposal.retry);
    proposal.retry = setTimeout(() => this.#attempt(proposal), RETRY_MS);
  }

  #expire(proposal: Proposal): void {
    const { outCount, reason, state } = proposal;
    const isAsking = state !== "waiting" && "asking" in state;
    this.#finish(proposal, { kind: outCount > 0 || isAsking ? "unknown" : "not-proposed", reason });
  }

  #finish(proposal: Proposal, result: ProposeResult): void {
    if (!this.#isOpen(proposal)) return;
    clearTimeout(proposal.deadline);
    if (proposal.retry !== null) clearTimeout(proposal.retry);
    proposal.numbered?.session.settle(proposal.numbered.sequence);
    const others = (this.#open.get(proposal.key) ?? []).filter((other) => other !== proposal);
    if (others.length === 0) this.#open.delete(proposal.key);
    else this.#open.set(proposal.key, others);
    this.#count -= 1;
    proposal.done(result);
  }

  #isOpen(proposal: Proposal): boolean {
    return this.#open.get(proposal.key)?.includes(proposal) ?? false;
  }

  #all(): readonly Proposal[] {
    return [...this.#open.values()].flat();
  }
}
