/**
 * Bugs that Raft implementations have really had (roadmap and issue trackers of etcd, hashicorp, openraft, canonical and
 * others), each as a change of our source that brings it back. Production code has no hooks for this: a copy of it is
 * changed, and the simulation must notice.
 */

export interface Change {
  readonly file: string;
  /** Found exactly once, or the change has grown old and must be mended. */
  readonly find: string;
  readonly replace: string;
}

export interface KnownBug {
  readonly name: string;
  /** What it was, and whose. */
  readonly was: string;
  readonly changes: readonly Change[];
  /** What is lost by it: a promise is broken, or the group stands still. */
  readonly kind: "safety" | "liveness";
  /** What may be said about it; an assertion of our own code counts, too. */
  readonly expect: RegExp;
}

const ENGINE = "src/raft/engine/engine.ts";
const LOG = "src/raft/engine/log.ts";
const MEMBERSHIP = "src/raft/engine/membership.ts";
const QUORUM = "src/raft/engine/quorum.ts";
const REPLICATION = "src/raft/engine/replication.ts";
const PROGRESS = "src/raft/engine/progress.ts";
const ELECTION = "src/raft/engine/election.ts";
const STATE = "src/raft/engine/state.ts";
const READS = "src/raft/engine/reads.ts";
const RESTORE = "src/raft/engine/restore.ts";
const TRANSFER = "src/raft/engine/transfer.ts";
const CONFIG_CHANGE = "src/raft/engine/config-change.ts";

export const KNOWN_BUGS: readonly KnownBug[] = [
  // --- What is durable ----------------------------------------------------------------------------------------------
  {
    name: "commit-before-own-sync",
    was: "a group of one tells its learners what is committed before its own disk has it (etcd #14370)",
    changes: [
      {
        file: ENGINE,
        find: "    replicate(state, role);\n    beatForReads(state, role);",
        replace:
          "    advanceCommit(state, role);\n    replicate(state, role);\n    beatForReads(state, role);",
      },
      { file: REPLICATION, find: "? state.log.stableIndex :", replace: "? state.log.last.index :" },
    ],
    kind: "safety",
    expect: /no quorum|state machine safety|certainly|does not hold|committed/,
  },
  {
    name: "entries-not-synced",
    was: "appended entries are acknowledged without waiting for the disk (Raft §5)",
    changes: [
      {
        file: ENGINE,
        find: "mustSync: entries.length > 0 || state.staged !== null || isNewPromise,",
        replace: "mustSync: state.staged !== null || isNewPromise,",
      },
    ],
    kind: "safety",
    expect: /acknowledges|no quorum/,
  },
  {
    name: "vote-not-synced",
    was: "a vote is given before it is durable: a power failure, and it is given twice",
    changes: [
      {
        file: ENGINE,
        find: "saved.term !== state.term || saved.vote !== state.vote;",
        replace: "saved.term !== state.term && saved.vote === state.vote;",
      },
    ],
    kind: "safety",
    expect: /is not on its disk/,
  },
  {
    name: "vote-forgotten-at-restart",
    was: "term and vote are kept in memory only (liferaft)",
    changes: [{ file: STATE, find: "this.vote = start.hard.vote;", replace: "this.vote = null;" }],
    kind: "safety",
    expect: /voted twice|changed its vote|election safety/,
  },
  // --- Elections ----------------------------------------------------------------------------------------------------
  {
    name: "second-vote-in-a-term",
    was: "a member that has voted votes again",
    changes: [
      {
        file: ELECTION,
        find: "(state.vote === null && state.leaderId === null) ||",
        replace: "state.leaderId === null ||",
      },
    ],
    kind: "safety",
    expect: /voted twice|changed its vote|election safety/,
  },
  {
    name: "log-length-alone-decides",
    was: "logs are not compared lexicographically, so a stale candidate wins (openraft a48a3282, liferaft)",
    changes: [
      {
        file: LOG,
        find: "other.term > this.#last.term || (other.term === this.#last.term && other.index >= this.#last.index)",
        replace: "other.index >= this.#last.index",
      },
    ],
    kind: "safety",
    expect: /leader completeness|overwrote|is committed|broken promise/,
  },
  {
    name: "pre-vote-answer-in-own-term",
    was: "a yes to a pre-vote carries the voter's term and is dropped as old: no leader ever (etcd-io/raft d4471b2)",
    changes: [
      {
        file: ELECTION,
        find: "const term: Term = isGranted ? message.term : state.term;",
        replace: "const term: Term = state.term;",
      },
    ],
    kind: "liveness",
    expect: /does not get so far/,
  },
  {
    name: "learner-refuses-to-vote",
    was: "whoever believes to be a learner does not vote, though it may have been promoted (etcd PR 10998)",
    changes: [
      {
        file: ELECTION,
        find: "const isGranted = isFree && state.log.isUpToDate(message.last);",
        replace:
          "const isGranted = isFree && state.log.isUpToDate(message.last) && votersOf(state.membership.latest.config).includes(state.id);",
      },
    ],
    kind: "liveness",
    expect: /does not get so far|does not get rid/,
  },
  {
    name: "learner-campaigns",
    was: "a learner stands for election (etcd-io/raft db54973)",
    changes: [
      {
        file: STATE,
        find: "return this.membership.countsAsVoter(this.id) && ",
        replace: "return ",
      },
    ],
    kind: "safety",
    expect: /is no voter/,
  },
  {
    name: "removed-member-does-not-campaign",
    was: "only who votes in the latest configuration campaigns, committed or not (thesis, figure 4.6; found here)",
    changes: [
      {
        file: MEMBERSHIP,
        find: "return this.#placed.some(({ config }) => votersOf(config).includes(id));",
        replace: "return votersOf(this.latest.config).includes(id);",
      },
    ],
    kind: "liveness",
    expect: /does not get so far/,
  },
  {
    name: "no-loyalty",
    was: "a voter that hears its leader grants another one its vote (thesis 4.2.3)",
    changes: [
      {
        file: ELECTION,
        find: 'return state.role.kind === "leader" || state.quietTicks < state.timing.electionTicksMin;',
        replace: 'return state.role.kind === "leader";',
      },
    ],
    kind: "liveness",
    expect: /was deposed/,
  },
  {
    name: "no-loyalty-after-restart",
    was: "a member that has just started owes nobody anything (braft's lease, etcd's hole)",
    changes: [{ file: STATE, find: "quietTicks = 0;", replace: "quietTicks = 1_000;" }],
    kind: "liveness",
    expect: /was deposed/,
  },
  {
    name: "no-check-quorum",
    was: "a leader that hears nobody goes on, and everybody who hears it waits for it (thesis 6.2)",
    changes: [
      {
        file: REPLICATION,
        find: "if (!hearsQuorum(state, leader)) {",
        replace: "if (!hearsQuorum(state, leader) && trueTicks < 0) {",
      },
    ],
    kind: "liveness",
    expect: /nobody takes over/,
  },
  {
    name: "silence-to-old-leaders",
    was: "whoever is in a later term does not say so, and is stuck there (etcd-io/raft, free stuck candidate)",
    changes: [
      {
        file: ENGINE,
        find: 'state.send(message.from, { type: "heartbeat-response", round: 0 });',
        replace: "",
      },
    ],
    kind: "liveness",
    expect: /does not get so far|does not catch up|nobody follows/,
  },
  // --- Replication --------------------------------------------------------------------------------------------------
  {
    name: "commit-of-older-terms",
    was: "a leader counts copies of entries of earlier terms (Raft figure 8)",
    changes: [
      {
        file: REPLICATION,
        find: " || state.log.termAt(index) !== state.term) return;",
        replace: ") return;",
      },
    ],
    kind: "safety",
    expect: /without an entry of its own term|leader completeness|is committed/,
  },
  {
    name: "stale-message-truncates",
    was: "an old, shorter append cuts off what was acknowledged since (openraft 9540c904's family)",
    changes: [
      {
        file: REPLICATION,
        find: "if (news < message.entries.length) state.append(message.entries.slice(news));",
        replace: "if (message.entries.length > 0 && news >= 0) state.append(message.entries);",
      },
    ],
    kind: "safety",
    expect: /dropped what it acknowledged|certainly holds only|believes its log ends|broken promise/,
  },
  {
    name: "compacted-previous-is-a-conflict",
    was: "what comes from before the floor is taken for a conflict, and what is behind it deleted (openraft 71a290cd)",
    changes: [
      {
        file: REPLICATION,
        find: "  if (message.previous.index < log.commitIndex) {\n    respond(log.commitIndex);\n    return;\n  }",
        replace:
          "  if (message.previous.index < log.commitIndex) {\n    const above = message.entries.filter(({ index }) => index > log.commitIndex);\n    if (log.termAt(message.previous.index) === null && above.length > 0) state.append(above);\n    respond(log.commitIndex);\n    return;\n  }",
      },
    ],
    kind: "safety",
    expect: /dropped what it acknowledged|believes its log ends|broken promise/,
  },
  {
    name: "heartbeat-commit-beyond-match",
    was: "a heartbeat tells a follower to commit what it is not known to hold",
    changes: [
      {
        file: REPLICATION,
        find: "const commit = Math.min(state.log.commitIndex, progress.matchIndex) as LogIndex;",
        replace: "const commit = state.log.commitIndex;",
      },
    ],
    kind: "safety",
    expect: /is committed|state machine safety|broken promise/,
  },
  {
    name: "previous-not-compared",
    was: "an append is taken whatever lies before it (Raft §5.3)",
    changes: [
      {
        file: REPLICATION,
        find: "if (!log.holds(message.previous)) {",
        replace: "if (message.previous.index > log.last.index) {",
      },
    ],
    kind: "safety",
    expect: /log matching|is committed|broken promise/,
  },
  {
    name: "term-zero-for-compacted",
    was: "the term of a compacted entry reads as 0, and a slow follower panics (etcd-io/raft 76f1249)",
    changes: [
      {
        file: LOG,
        find: "if (index < this.#floor.index || index > this.#last.index) return null;",
        replace: "if (index < this.#floor.index || index > this.#last.index) return 0 as Term;",
      },
    ],
    kind: "safety",
    expect: /broken promise/,
  },
  {
    name: "window-bytes-leak",
    was: "the bytes under way outlive their window, and the stream stops (etcd-io/raft e419ba5)",
    changes: [
      {
        file: PROGRESS,
        find: "    this.#inflight = [];\n    this.#inflightBytes = 0;",
        replace: "    this.#inflight = [];",
      },
    ],
    kind: "liveness",
    expect: /does not get so far|does not catch up|does not become/,
  },
  {
    name: "full-window-lost",
    was: "a full window of which everything was lost is waited for for ever (etcd PR 14633)",
    changes: [
      {
        file: REPLICATION,
        find: '(isPaused && !(progress.mustAsk && progress.state === "replicate"))',
        replace: "isPaused",
      },
    ],
    kind: "liveness",
    expect: /does not get so far|does not catch up|does not become/,
  },
  {
    name: "probing-for-ever",
    was: "a follower that has everything already stays in probe (etcd PR 10308, etcd-io/raft 85e68cf)",
    changes: [
      {
        file: PROGRESS,
        find: 'else if (this.state === "probe" || index >= floor)',
        replace: 'else if (isNews && (this.state === "probe" || index >= floor))',
      },
    ],
    kind: "liveness",
    expect: /does not stream|does not get so far|does not catch up|does not become/,
  },
  {
    name: "no-step-back",
    was: "a leader tries the same entry again and again with a follower whose log differs (openraft 6d53aa12)",
    changes: [
      {
        file: PROGRESS,
        find: "const candidate = Math.min(rejected, agreement + 1);",
        replace: "const candidate = Math.max(rejected + 1, agreement + 1);",
      },
    ],
    kind: "liveness",
    expect: /does not get so far|does not catch up|does not become/,
  },
  {
    name: "uncommitted-size-leak",
    was: "what is committed still counts as uncommitted, until every proposal is refused (etcd-io/raft a370b6f)",
    changes: [
      {
        file: REPLICATION,
        find: "    leader.uncommittedBytes -= leader.uncommitted[0].bytes;\n",
        replace: "",
      },
    ],
    kind: "liveness",
    expect: /does not get so far/,
  },
  // --- Snapshots ----------------------------------------------------------------------------------------------------
  {
    name: "conflicting-log-survives-snapshot",
    was: "a snapshot is installed and the log behind it stays, though it conflicts (openraft 674e78aa)",
    changes: [
      {
        file: LOG,
        find: "    this.#last = this.#floor;\n    this.#tail = [];\n    this.#tailFirst = next(index);\n    this.#stable = index;",
        replace:
          "    if (this.#last.index <= index) this.#last = this.#floor;\n    this.#tail = [];\n    this.#tailFirst = next(this.#last.index);\n    this.#stable = this.#last.index;",
      },
    ],
    kind: "safety",
    expect: /believes its log ends|log matching|broken promise/,
  },
  {
    name: "snapshot-takes-back",
    was: "a late snapshot replaces what is newer: applied goes back (openraft eed681d5, etcd PR 13933)",
    changes: [
      {
        file: RESTORE,
        find: "if (meta.index <= log.commitIndex) {",
        replace: "if (meta.index < log.floor.index) {",
      },
      {
        file: RESTORE,
        find: "  if (log.holds(meta)) {\n    state.commitTo(meta.index);",
        replace: "  if (log.holds(meta) && meta.index > log.commitIndex) {\n    state.commitTo(meta.index);",
      },
      {
        file: LOG,
        find: '    assert(index > this.#commit, "a snapshot never takes back what is committed");\n',
        replace: "",
      },
    ],
    kind: "safety",
    expect: /takes back|went back|broken promise/,
  },
  {
    name: "snapshot-without-configuration",
    was: "whoever gets a snapshot keeps the configuration that it had (etcd-io/raft e515a67)",
    changes: [{ file: RESTORE, find: "  membership.restore(meta.config);\n", replace: "" }],
    kind: "safety",
    expect: /acts upon a configuration|broken promise/,
  },
  {
    name: "stuck-after-failed-snapshot",
    was: "after a snapshot that did not arrive nothing is sent any more (etcd-io/raft, snapshot failure)",
    changes: [
      {
        file: PROGRESS,
        find: 'if (this.state !== "snapshot") return;',
        replace: "if (nextIndex > 0) return;",
      },
    ],
    kind: "liveness",
    expect: /does not get so far|does not catch up|does not become/,
  },
  // --- Membership ---------------------------------------------------------------------------------------------------
  {
    name: "commit-by-one-half",
    was: "a joint configuration commits with the new voters alone (openraft 6c0ccaf3)",
    changes: [
      {
        file: QUORUM,
        find: "const indexes = halves(config).map(",
        replace: "const indexes = [config.voters].map(",
      },
    ],
    kind: "safety",
    expect: /no quorum|leader completeness|is committed/,
  },
  {
    name: "elected-by-one-half",
    was: "a joint configuration elects with the new voters alone",
    changes: [
      {
        file: QUORUM,
        find: "return halves(config).every(",
        replace: "return [config.voters].every(",
      },
    ],
    kind: "safety",
    expect:
      /leader completeness|election safety|log matching|is committed|no quorum|stale read|broken promise/,
  },
  {
    name: "even-quorum-off-by-one",
    was: "half of an even number of voters counts as a majority (hashicorp 163a55f)",
    changes: [
      { file: QUORUM, find: "return Math.floor(count / 2) + 1;", replace: "return Math.ceil(count / 2);" },
    ],
    kind: "safety",
    expect: /no quorum|leader completeness|election safety|is committed/,
  },
  {
    name: "configuration-not-rolled-back",
    was: "a configuration counts on although its entry was truncated (canonical/raft, recvRollbackConfiguration)",
    changes: [
      {
        file: MEMBERSHIP,
        find: "    this.#placed = this.#placed.filter(({ index }) => index < first.index);\n",
        replace: "",
      },
    ],
    kind: "safety",
    expect: /acts upon a configuration|broken promise/,
  },
  {
    name: "configuration-before-own-term",
    was: "a new leader changes the group before it has committed anything (Ongaro on raft-dev, 2015)",
    changes: [
      {
        file: CONFIG_CHANGE,
        find: 'if (!hasCommittedOwnTerm(state)) return refuse("not-ready");',
        replace: "",
      },
    ],
    kind: "safety",
    expect: /before anything of its own term/,
  },
  {
    name: "all-at-once",
    was: "more than one voter changes without a joint configuration (Raft §6)",
    changes: [
      {
        file: CONFIG_CHANGE,
        find: "if (added.length + removed.length <= 1) return",
        replace: "if (added.length + removed.length <= 7) return",
      },
    ],
    kind: "safety",
    expect: /quorums need not meet/,
  },
  {
    name: "joint-never-left",
    was: "a joint configuration is left by the leader that began it, or never (etcd #12136, openraft)",
    changes: [
      {
        file: CONFIG_CHANGE,
        find: "if (!isJoint(config) || leader.transfer !== null) return",
        replace:
          "if (!isJoint(config) || leader.transfer !== null || state.membership.latest.index < leader.termStart) return",
      },
    ],
    kind: "liveness",
    expect: /does not get so far/,
  },
  {
    name: "removed-leader-leads-on",
    was: "a leader that is not in the group any more keeps leading it (etcd, confchange_v1_remove_leader)",
    changes: [
      {
        file: TRANSFER,
        find: "if (leader.transfer !== null) return;",
        replace: "if (state.term >= 0) return;",
      },
    ],
    kind: "liveness",
    expect: /does not get so far/,
  },
  {
    name: "transfer-never-given-up",
    was: "a leader that hands on to somebody who is gone refuses proposals for ever (hashicorp #570)",
    changes: [
      {
        file: TRANSFER,
        find: "if (leader.transfer.elapsedTicks >= state.timing.electionTicksMin) leader.transfer = null;",
        replace: "",
      },
    ],
    kind: "liveness",
    expect: /does not get so far/,
  },
  // --- Reads --------------------------------------------------------------------------------------------------------
  {
    name: "read-by-an-older-round",
    was: "an answer that was under way before a read began confirms it (etcd #20418)",
    changes: [{ file: READS, find: "round: leader.round + 1 };", replace: "round: leader.round };" }],
    kind: "safety",
    expect: /stale read|not linearizable/,
  },
  {
    name: "read-before-own-term",
    was: "a leader reads before it has committed anything itself (dqlite #258, canonical 29bb302)",
    changes: [
      {
        file: READS,
        find: "if (reads.length === 0 || state.log.commitIndex < leader.termStart) return false;",
        replace: "if (reads.length === 0) return false;",
      },
    ],
    kind: "safety",
    expect: /stale read|not linearizable/,
  },
  {
    name: "read-without-asking",
    was: "a leader that may have been deposed serves reads (Jepsen's classic)",
    changes: [{ file: READS, find: "if (!isConfirmed) return;", replace: "" }],
    kind: "safety",
    expect: /stale read|not linearizable/,
  },
];
