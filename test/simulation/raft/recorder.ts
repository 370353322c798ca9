import { assert } from "../../../src/base/assert.ts";
import type { LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import type { ClusterConfig, Entry } from "../../../src/raft/engine/message.ts";
import { hasQuorum } from "../../../src/raft/engine/quorum.ts";
import type { NodeStatus } from "../../../src/raft/node.ts";
import type { StoreBatch } from "../../../src/raft/ports.ts";

/** A promise of Raft that did not hold. The simulation's only finding. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/** What a disk really holds, whatever the member was told about it. */
export interface TrueDisk {
  readonly entries: readonly Entry[];
}

/**
 * Sees everything that all members do, and holds it against what Raft promises (Raft figure 3, and more). It knows the
 * future of nothing: each check is against what was recorded before.
 */
export class Recorder {
  /** Election safety: who led which term. */
  readonly #leaders = new Map<Term, MemberId>();
  /** Log matching: all that follows from the name of an entry. Key: `index/term`. */
  readonly #named = new Map<string, { readonly content: string; readonly previousTerm: number }>();
  /** What was ever committed, from index 1, and in which term a leader committed it. */
  readonly #committed: { readonly name: string; readonly term: Term; inTerm: Term }[] = [];
  /** State machine safety: the command that was applied at an index. */
  readonly #appliedAt = new Map<LogIndex, string>();
  /** One vote per member and term, restarts included. */
  readonly #votes = new Map<string, MemberId>();
  readonly #before = new Map<MemberId, NodeStatus>();
  readonly #storedTerm = new Map<MemberId, Term>();
  readonly #applied = new Map<MemberId, LogIndex>();

  get committedCount(): number {
    return this.#committed.length;
  }

  get leaderCount(): number {
    return this.#leaders.size;
  }

  /** A member starts: what it knew in memory is gone. */
  started(id: MemberId): void {
    this.#before.delete(id);
  }

  /** A member made something durable. `termBefore` is the term of the entry before the batch's first. */
  stored(id: MemberId, batch: StoreBatch, termBefore: number): void {
    if (batch.hard !== null) {
      this.#check(
        batch.hard.term >= (this.#storedTerm.get(id) ?? 0),
        `${id} went back to term ${batch.hard.term}`,
      );
      this.#storedTerm.set(id, batch.hard.term);
      if (batch.hard.vote !== null) this.#recordVote(id, batch.hard.term, batch.hard.vote);
    }
    let previousTerm = termBefore;
    for (const entry of batch.entries) {
      const content = contentOf(entry);
      const known = this.#named.get(nameOf(entry));
      this.#check(
        known === undefined || (known.content === content && known.previousTerm === previousTerm),
        `log matching: two different entries are called ${nameOf(entry)} (the second on ${id})`,
      );
      this.#named.set(nameOf(entry), { content, previousTerm });
      previousTerm = entry.term;
    }
    for (const entry of batch.committed) this.#recordApplied(id, entry);
  }

  /** Called after every event, for the member that had it. */
  observed(
    id: MemberId,
    status: NodeStatus,
    log: readonly Entry[],
    disks: ReadonlyMap<MemberId, TrueDisk>,
  ): void {
    const before = this.#before.get(id);
    this.#before.set(id, status);
    if (before !== undefined) {
      this.#check(status.term >= before.term, `${id}: the term went back`);
      this.#check(status.commitIndex >= before.commitIndex, `${id}: the commit index went back`);
      this.#check(status.appliedIndex >= before.appliedIndex, `${id}: the applied index went back`);
    }
    this.#check(status.appliedIndex <= status.commitIndex, `${id} applied what is not committed`);
    this.#check(status.commitIndex <= status.lastIndex, `${id} committed what it does not hold`);
    const isNewLeader =
      status.role === "leader" && (before?.role !== "leader" || before.term !== status.term);
    if (isNewLeader) this.#recordLeader(id, status.term, log);
    const from = before?.commitIndex ?? 0;
    for (let index = from; index < status.commitIndex; index += 1) {
      const entry = log[index];
      if (entry === undefined)
        throw new InvariantError(`${id} committed ${index + 1}, which its disk does not hold`);
      this.#recordCommitted(id, status, entry, disks);
    }
  }

  #recordVote(id: MemberId, term: Term, vote: MemberId): void {
    const key = `${id}@${term}`;
    const known = this.#votes.get(key);
    this.#check(
      known === undefined || known === vote,
      `${id} voted twice in term ${term}: ${known}, ${vote}`,
    );
    this.#votes.set(key, vote);
  }

  #recordApplied(id: MemberId, entry: Entry): void {
    const before = this.#applied.get(id) ?? 0;
    this.#check(entry.index === before + 1, `${id} applied ${entry.index} after ${before}`);
    this.#applied.set(id, entry.index);
    const content = `${entry.term} ${contentOf(entry)}`;
    const known = this.#appliedAt.get(entry.index);
    this.#check(
      known === undefined || known === content,
      `state machine safety: ${id} applied something else at ${entry.index}`,
    );
    this.#appliedAt.set(entry.index, content);
  }

  #recordLeader(id: MemberId, term: Term, log: readonly Entry[]): void {
    const known = this.#leaders.get(term);
    this.#check(
      known === undefined || known === id,
      `election safety: term ${term} has leaders ${known}, ${id}`,
    );
    this.#leaders.set(term, id);
    for (const [at, { name, inTerm }] of this.#committed.entries()) {
      if (inTerm >= term) continue;
      const own = log[at];
      this.#check(
        own !== undefined && nameOf(own) === name,
        `leader completeness: ${id} leads term ${term} without ${name}, committed in term ${inTerm}`,
      );
    }
  }

  #recordCommitted(
    id: MemberId,
    status: NodeStatus,
    entry: Entry,
    disks: ReadonlyMap<MemberId, TrueDisk>,
  ): void {
    const known = this.#committed[entry.index - 1];
    if (known !== undefined) {
      this.#check(known.name === nameOf(entry), `${id} committed ${nameOf(entry)} over ${known.name}`);
      if (status.term < known.inTerm) known.inTerm = status.term;
      return;
    }
    this.#check(
      entry.index === this.#committed.length + 1,
      `${id} committed ${entry.index} with a gap before`,
    );
    this.#committed.push({ name: nameOf(entry), term: entry.term, inTerm: status.term });
    if (status.role === "leader") this.#checkDurable(entry, status.config, disks);
  }

  /** The first to commit is a leader: its quorum must really hold the entry. */
  #checkDurable(entry: Entry, config: ClusterConfig, disks: ReadonlyMap<MemberId, TrueDisk>): void {
    const isDurable = hasQuorum(config, (id) => {
      const held = disks.get(id)?.entries[entry.index - 1];
      return held !== undefined && held.term === entry.term;
    });
    this.#check(isDurable, `${nameOf(entry)} was committed, but no quorum has it on disk`);
  }

  #check(isHeld: boolean, violation: string): void {
    if (!isHeld) throw new InvariantError(violation);
  }
}

function nameOf(entry: Entry): string {
  return `${entry.index}/${entry.term}`;
}

function contentOf(entry: Entry): string {
  assert(entry.index > 0, "entries begin at 1");
  return `${entry.kind} ${new TextDecoder().decode(entry.data)}`;
}
