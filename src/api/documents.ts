import type { Static } from "@sinclair/typebox";
import { t } from "elysia";
import { ZONE } from "../cluster/member.ts";

/**
 * The shapes of what goes in and out, once: the router checks them, OpenAPI shows them, the command line is typed by
 * them. A `title` gives a shape its name in OpenAPI.
 */

export const closed = { additionalProperties: false } as const;
const orNull = <T extends Parameters<typeof t.Union>[0][number]>(schema: T) => t.Union([schema, t.Null()]);
const instant = t.String({ format: "date-time", description: "ISO 8601, UTC" });

export const WorkSchema = t.Object(
  {
    kind: t.String({ description: "initdb, clone, rewind, start or stop" }),
    phase: t.String(),
    doneBytes: orNull(t.Number()),
    totalBytes: orNull(t.Number()),
  },
  { title: "Work", description: "Long work that is under way on a member" },
);

const HookResultSchema = t.Object(
  {
    hook: t.String(),
    isOk: t.Boolean(),
    attempts: t.Integer({ description: "How often it was tried" }),
    detail: t.String({ description: "What it said, or why it failed" }),
    at: instant,
  },
  { title: "HookResult" },
);

export const HooksSchema = t.Array(
  t.Object(
    {
      member: t.String(),
      hook: t.String({
        description: "before-switchover, on-role-change, after-switchover or after-failover",
      }),
      program: t.String({ description: "As guacamole.toml of that host names it" }),
      timeoutMs: t.Number({ description: "For each attempt" }),
      attempts: t.Integer({ description: "How often it is tried at most" }),
      last: orNull(HookResultSchema),
    },
    { title: "Hook" },
  ),
);
export type HooksDocument = Static<typeof HooksSchema>;

export const MemberSchema = t.Object(
  {
    id: t.String(),
    name: t.String(),
    kind: t.Union([t.Literal("data"), t.Literal("witness")]),
    role: t.Union([t.Literal("primary"), t.Literal("standby"), t.Literal("witness"), t.Literal("none")], {
      description: "What is agreed of it. `none`: a data member of a cluster that is not initialized",
    }),
    state: t.String({
      description:
        "What is seen of it: running, streaming, promoting, starting, stopped, empty, foreign-data, unresponsive, superseded, fenced, not-streaming, initializing, cloning, rewinding, stopping, voting, unreachable, unknown",
    }),
    timeline: orNull(t.Number()),
    position: orNull(t.String({ description: "How far its WAL reaches, as timeline:lsn" })),
    lagBytes: orNull(t.Number({ description: "WAL that the primary has and this standby has not received" })),
    replayLagBytes: orNull(
      t.Number({ description: "WAL that the primary has and this standby has not replayed" }),
    ),
    upstream: orNull(t.String({ description: "host:port that it streams from" })),
    reason: orNull(t.String({ description: "What it does or waits for" })),
    detail: orNull(t.String()),
    isLeader: t.Boolean({ description: "It leads the control plane (Raft)" }),
    isVoter: t.Boolean(),
    vote: t.Union([t.Literal("voter"), t.Literal("learner"), t.Literal("none")], {
      description: "Its place in the group that agrees. `none`: it has none yet, or none any more",
    }),
    voting: t.Union([t.Literal("auto"), t.Literal("voter"), t.Literal("learner")], {
      description: "What somebody wants of its vote",
    }),
    isLeaving: t.Boolean({ description: "It is being removed" }),
    isCaughtUp: orNull(
      t.Boolean({
        description: "It has what is agreed, or nearly. Null where the answering member cannot know",
      }),
    ),
    matchLag: orNull(
      t.Number({ description: "Log entries that it lacks, as the leader knows. Null on other members" }),
    ),
    isConnected: orNull(t.Boolean({ description: "Its peer connection to the observer stands" })),
    isInCohort: t.Boolean({ description: "Commits count its acknowledgement" }),
    seenAgoMs: orNull(t.Number({ description: "Age of what is shown" })),
    pledgedEpoch: orNull(t.Number()),
    apiAddress: t.String(),
    peerAddress: t.String(),
    postgresAddress: t.String(),
    tags: t.Object({
      failoverPriority: t.Number(),
      isNoFailover: t.Boolean(),
      isNoSync: t.Boolean(),
      isCloneSource: t.Boolean(),
      zone: orNull(t.String()),
    }),
    data: t.Union([t.Literal("none"), t.Literal("ready"), t.Literal("replace")]),
    hooks: orNull(
      t.Object(
        {
          guardsSwitchover: t.Boolean({ description: "One is asked before this member hands over" }),
          last: orNull(HookResultSchema),
        },
        { description: "Programs of the host's owner that are run at turns; null: there are none" },
      ),
    ),
    work: orNull(WorkSchema),
    pendingRestart: t.Array(t.String(), {
      description: "Parameters of which another value waits for PostgreSQL to be started again",
    }),
    certificates: orNull(
      t.Object(
        {
          memberEndsAt: t.String({
            description: "Of what it shows to other members and PostgreSQL to clients",
          }),
          apiEndsAt: t.String({ description: "Of what its API shows" }),
          authorityEndsAt: t.String(),
          problems: t.Array(t.String(), { description: "What people have to look after" }),
          issuer: orNull(
            t.String({
              description: "SHA-256 of the authority that signed what it shows; null: not known yet",
            }),
          ),
          trusted: t.Array(t.String(), {
            description:
              "SHA-256 of the authorities whose members it lets in: two while one takes another's place",
          }),
        },
        { description: "When its certificates end; null: it does not say so" },
      ),
    ),
    syslog: orNull(
      t.Object(
        {
          target: t.String(),
          problem: orNull(t.String({ description: "Why nothing can be sent now" })),
          waiting: t.Number(),
          lost: t.Number({
            description: "At most so many entries were never sent, since the member started",
          }),
        },
        { description: "How the audit trail gets to the host's syslog daemon; null: none is named" },
      ),
    ),
    version: orNull(t.String()),
  },
  { title: "Member" },
);
export type MemberDocument = Static<typeof MemberSchema>;

const CohortSchema = t.Object(
  { standbys: t.Array(t.String(), { description: "Names of members" }), k: t.Number() },
  { title: "Cohort", description: "The standbys of which k acknowledge each commit" },
);

const FreshnessSchema = t.Object(
  {
    consistency: t.Union([t.Literal("local"), t.Literal("linearizable")]),
    index: t.Number({ description: "The log index that the agreed part belongs to" }),
    answeredBy: t.String({ description: "Name of the member that answered" }),
  },
  { title: "Freshness" },
);

const ReignSchema = t.Object(
  {
    epoch: t.Number(),
    primary: t.String(),
    since: instant,
    reason: t.String(),
    timeline: orNull(t.Number()),
    cohort: CohortSchema,
    pendingCohort: orNull(CohortSchema),
    fence: orNull(t.Object({ reason: t.String(), since: instant })),
  },
  { title: "Reign", description: "One reign of one primary" },
);

const quorumFields = {
  synchronousStandbys: t.Integer({
    minimum: 1,
    maximum: 20,
    description: "How many standbys must have flushed a commit before it is acknowledged",
  }),
  onQuorumLoss: t.Union([t.Literal("block"), t.Literal("degrade")], {
    description: "With too few standbys left: let commits wait, or ask for fewer and say so",
  }),
  staleReads: t.Optional(
    t.Union([t.Literal("allow"), t.Literal("refuse")], {
      description:
        "Whether a primary that is cut off may answer reads until it learns that another reigns. 'refuse': it ends first, and a failover waits for that",
    }),
  ),
};

const asyncFields = {
  maxLagBytes: t.Integer({
    minimum: 0,
    maximum: Number.MAX_SAFE_INTEGER,
    description: "A standby that lacks more than this is not appointed by itself",
  }),
};

const ofQuorum = { title: "QuorumDurability", description: "No acknowledged commit is ever lost" };
const ofAsync = {
  title: "AsyncDurability",
  description: "The primary acknowledges alone, under a lease: a failover may lose what was not replicated",
};

export const DurabilitySchema = t.Union(
  [
    t.Object({ mode: t.Literal("quorum"), ...quorumFields }, { ...closed, ...ofQuorum }),
    t.Object({ mode: t.Literal("async"), ...asyncFields }, { ...closed, ...ofAsync }),
  ],
  { title: "Durability" },
);

/** The mode, and of the rest what shall change. */
const DurabilityChangeSchema = t.Union(
  [
    t.Object(
      { mode: t.Literal("quorum"), ...t.Partial(t.Object(quorumFields)).properties },
      { ...closed, ...ofQuorum, title: "QuorumDurabilityChange" },
    ),
    t.Object(
      { mode: t.Literal("async"), ...t.Partial(t.Object(asyncFields)).properties },
      { ...closed, ...ofAsync, title: "AsyncDurabilityChange" },
    ),
  ],
  { title: "DurabilityChange" },
);

const WarningSchema = t.Object(
  {
    code: t.Union([
      t.Literal("commits-unguarded"),
      t.Literal("declared-otherwise"),
      t.Literal("passwords-overlap"),
      t.Literal("certificate"),
      t.Literal("audit-syslog"),
      t.Literal("authority-changing"),
      t.Literal("break-glass-open"),
      t.Literal("break-glass-waiting"),
    ]),
    text: t.String(),
    hint: t.String({ description: "What to do about it" }),
  },
  { title: "Warning" },
);
export const ScheduledSwitchoverSchema = t.Object(
  {
    id: t.String({ description: "Of the operation that it becomes" }),
    at: t.String({ format: "date-time", description: "When, by the leader's clock" }),
    from: t.String({ description: "The primary that is to hand over" }),
    to: orNull(t.String({ description: "Null: to whoever is best then" })),
    by: t.String({ description: "Who asked for it" }),
    askedAt: instant,
  },
  { title: "ScheduledSwitchover", description: "Done once, or given up with a reason; never tried for ever" },
);
export type ScheduledSwitchoverDocument = Static<typeof ScheduledSwitchoverSchema>;

export const ClusterSchema = t.Object(
  {
    clusterId: t.String(),
    name: t.String(),
    generation: t.Number(),
    isInitialized: t.Boolean(),
    systemIdentifier: orNull(t.String()),
    isWritable: t.Boolean({
      description: "The primary is out of recovery, not fenced, and k standbys stream",
    }),
    writableReason: t.String({ description: "Why it is or is not" }),
    reign: orNull(ReignSchema),
    durability: DurabilitySchema,
    raft: t.Object(
      {
        leader: orNull(t.String()),
        role: t.String(),
        term: t.Number(),
        commitIndex: t.Number(),
        voters: t.Array(t.String()),
        learners: t.Array(t.String()),
      },
      { title: "Raft" },
    ),
    decision: orNull(
      t.Object(
        {
          by: t.String(),
          reason: t.String(),
          text: t.String(),
          wayOut: orNull(t.String({ description: "What can be done about it; null: nothing needs to be" })),
          voters: t.Optional(t.Object({ reason: t.String(), text: t.String() })),
        },
        { title: "Decision", description: "What the leader does or waits for, and why" },
      ),
    ),
    members: t.Array(MemberSchema),
    switchover: orNull(t.Object({ operationId: t.String(), to: t.String(), phase: t.String() })),
    scheduledSwitchover: orNull(ScheduledSwitchoverSchema),
    pauses: t.Array(t.String(), { description: "Why no failover happens by itself; empty: it does" }),
    warnings: t.Array(WarningSchema, { description: "What is not as safe as it could be" }),
    runningOperations: t.Array(t.String()),
    failoverCount: t.Number(),
    switchoverCount: t.Number(),
    freshness: FreshnessSchema,
  },
  { title: "Cluster" },
);
export type ClusterDocument = Static<typeof ClusterSchema>;

export const OperationSchema = t.Object(
  {
    id: t.String(),
    kind: t.String(),
    member: t.String({ description: "The member it is about" }),
    status: t.Union([t.Literal("running"), t.Literal("succeeded"), t.Literal("failed")]),
    phase: t.String(),
    by: t.String(),
    startedAt: instant,
    finishedAt: orNull(instant),
    log: t.Array(t.Object({ at: instant, message: t.String() })),
    restart: t.Optional(
      t.Object(
        {
          strategy: t.String(),
          isPaused: t.Boolean(),
          members: t.Array(
            t.Object({
              member: t.String(),
              state: t.Union([t.Literal("waiting"), t.Literal("restarting"), t.Literal("restarted")]),
            }),
          ),
        },
        { description: "Of a planned restart that goes on: how far each member is" },
      ),
    ),
    work: t.Array(t.Object({ member: t.String(), work: WorkSchema }), {
      description: "What members are doing for it at this moment",
    }),
  },
  { title: "Operation" },
);
export type OperationDocument = Static<typeof OperationSchema>;

/** What is done about a primary in trouble. */
export const FailoverPolicySchema = t.Object(
  {
    onCrash: t.Union([t.Literal("auto"), t.Literal("failover"), t.Literal("restart")], {
      description:
        "When the postmaster ends by itself: appoint another member, or let it come back first. `auto`: `failover` in quorum mode, `restart` in async mode",
    }),
    restartMsMax: t.Integer({
      minimum: 0,
      maximum: 3_600_000,
      description: "How long a crashed primary is waited for, where it is to come back",
    }),
    calmMs: t.Integer({
      minimum: 0,
      maximum: 3_600_000,
      description: "For so long after an automatic failover silence must last twice as long to count",
    }),
    crashLoopCount: t.Integer({
      minimum: 2,
      maximum: 100,
      description: "So many primaries in a row that fall at once are a loop, and the next failover is held",
    }),
    crashLoopMs: t.Integer({
      minimum: 0,
      maximum: 3_600_000,
      description: "A primary that falls within this time of its appointment fell at once",
    }),
    diskStallMs: t.Integer({
      minimum: 500,
      maximum: 600_000,
      description: "A sync of a small file that takes longer than this: the disk has stalled",
    }),
  },
  { ...closed, title: "FailoverPolicy" },
);

export const TimingSchema = t.Object(
  {
    heartbeatMs: t.Integer({ minimum: 10, maximum: 60_000 }),
    electionMsMin: t.Integer({ minimum: 50, maximum: 600_000 }),
    electionMsMax: t.Integer({ minimum: 60, maximum: 600_000 }),
    suspectMs: t.Integer({ minimum: 100, maximum: 600_000, description: "Silence that is suspicious" }),
    leaseMs: t.Integer({
      minimum: 500,
      maximum: 3_600_000,
      description: "How long a primary may reign without hearing from the leader, in async mode",
    }),
  },
  { ...closed, title: "Timing" },
);

export const TopologySchema = t.Object(
  {
    generation: t.Number({ description: "Send it as If-Match to change just this version" }),
    durability: DurabilitySchema,
    failover: FailoverPolicySchema,
    timing: TimingSchema,
    notice: orNull(t.String({ description: "What these settings cost, where they cost something" })),
    primary: orNull(t.String()),
    cohort: orNull(CohortSchema),
    members: t.Array(
      t.Object({
        name: t.String(),
        role: t.String(),
        upstream: orNull(t.String({ description: "host:port that it streams from now" })),
        isInCohort: t.Boolean(),
        failoverPriority: t.Number(),
        isNoFailover: t.Boolean(),
        isNoSync: t.Boolean(),
        isCloneSource: t.Boolean(),
        zone: orNull(t.String()),
      }),
    ),
  },
  { title: "Topology" },
);
export type TopologyDocument = Static<typeof TopologySchema>;

export const TopologyChangeSchema = t.Object(
  {
    durability: t.Optional(DurabilityChangeSchema),
    failover: t.Optional(t.Partial(FailoverPolicySchema, { ...closed, minProperties: 1 })),
    timing: t.Optional(
      t.Union([
        t.Object(
          {
            profile: t.Union([t.Literal("lan-fast"), t.Literal("lan"), t.Literal("wan")], {
              description: "All times together, in proportion",
            }),
          },
          closed,
        ),
        t.Partial(TimingSchema, { ...closed, minProperties: 1 }),
      ]),
    ),
  },
  {
    ...closed,
    minProperties: 1,
    title: "TopologyChange",
    examples: [
      { durability: { mode: "quorum", synchronousStandbys: 2, onQuorumLoss: "degrade" } },
      { durability: { mode: "async" }, timing: { profile: "lan-fast" } },
      { durability: { mode: "async", maxLagBytes: 16_777_216 } },
    ],
  },
);
export type TopologyChange = Static<typeof TopologyChangeSchema>;

const reasonText = t.String({
  minLength: 1,
  maxLength: 200,
  pattern: "^[^\\x00-\\x1f]+$",
  description: "Why, for people; the same words end it",
});

export const PauseRequestSchema = t.Object(
  { reason: reasonText },
  { ...closed, title: "PauseRequest", examples: [{ reason: "moving the storage of m2" }] },
);

export const PausesSchema = t.Array(
  t.Object({ reason: t.String(), by: t.String(), since: instant }, { title: "Pause" }),
);
export type PausesDocument = Static<typeof PausesSchema>;

export const FailoverSchema = t.Object(
  {
    number: t.Number(),
    kind: t.Union([t.Literal("automatic"), t.Literal("switchover"), t.Literal("manual")]),
    epoch: t.Number({ description: "The reign that ended" }),
    nextEpoch: orNull(t.Number()),
    from: t.String(),
    to: orNull(t.String()),
    at: instant,
    by: t.String({ description: "Who asked; `leader`: nobody" }),
    reason: t.String(),
    reasonText: t.String(),
    evidence: t.Array(t.String(), { description: "What was seen, a sentence each" }),
    detectionMs: orNull(t.Number({ description: "From the first sign to the decision" })),
    phases: t.Array(
      t.Object({
        phase: t.String({ description: "revoked, promoted, writable, rejoined" }),
        afterMs: t.Number({ description: "Since the decision" }),
      }),
    ),
    positions: t.Array(
      t.Object({ member: t.String(), position: orNull(t.String()), hasPledged: t.Boolean() }),
      { description: "How far everybody was when the successor was chosen" },
    ),
    passedOver: t.Array(t.Object({ member: t.String(), reason: t.String() })),
    loss: orNull(
      t.String({ description: "What may have been lost of what was acknowledged; null: nothing" }),
    ),
  },
  { title: "Failover", description: "One change of the primary" },
);
export type FailoverDocument = Static<typeof FailoverSchema>;

export const LossOfferSchema = t.Object(
  {
    token: t.String({ description: "Send it as acceptLoss to take the loss" }),
    epoch: t.Number({ description: "The reign that it was shown for" }),
    member: t.String(),
    position: t.String({ description: "How far that member is: it counts no less than this" }),
    wouldLose: t.String(),
    expiresAt: instant,
  },
  { title: "LossOffer", description: "Whom a person can have appointed all the same" },
);

export type LossOfferDocument = Static<typeof LossOfferSchema>;

export const ExplanationSchema = t.Object(
  {
    lost: t.Array(t.String(), {
      description: "The members whose loss is asked about; none: how things stand",
    }),
    outcome: t.Union([
      t.Literal("no-primary"),
      t.Literal("goes-on"),
      t.Literal("commits-wait"),
      t.Literal("commits-weaker"),
      t.Literal("failover"),
      t.Literal("held"),
    ]),
    sentence: t.String(),
    reason: orNull(t.String()),
    reasonText: orNull(t.String()),
    wayOut: orNull(t.String({ description: "What can be done about it" })),
    isMajorityLeft: t.Boolean({ description: "Enough voters are left to agree" }),
    primary: orNull(t.String()),
    successor: orNull(t.String()),
    cohort: orNull(CohortSchema),
    passedOver: t.Array(t.Object({ member: t.String(), reason: t.String() })),
    detectionMs: orNull(t.Number()),
    writableAfterMs: orNull(t.Number({ description: "From the loss to the first acknowledged commit" })),
    loss: orNull(t.String({ description: "What may be lost of what was acknowledged; null: nothing" })),
    lossOffer: orNull(LossOfferSchema),
    leader: orNull(
      t.Object({ by: t.String(), reason: t.String(), text: t.String(), wayOut: orNull(t.String()) }),
    ),
    ifLost: t.Array(t.Object({ member: t.String(), outcome: t.String(), sentence: t.String() }), {
      description: "The same for each member alone, where nothing is asked about",
    }),
    seenAgoMs: t.Record(t.String(), t.Number(), { description: "How old what is known of each member is" }),
  },
  { title: "Explanation" },
);
export type ExplanationDocument = Static<typeof ExplanationSchema>;

export const FailoverRequestSchema = t.Object(
  {
    to: t.Optional(t.String({ maxLength: 60, description: "Wins among those that hold everything" })),
    acceptLoss: t.Optional(
      t.String({ maxLength: 400, description: "The token of a `lossOffer` that was shown" }),
    ),
  },
  { ...closed, title: "FailoverRequest", examples: [{ to: "m2" }] },
);

export const EventSchema = t.Object(
  {
    id: t.Number(),
    name: t.String(),
    at: instant,
    message: t.String(),
    fields: t.Record(t.String(), t.Union([t.String(), t.Number(), t.Boolean(), t.Null()])),
  },
  { title: "Event" },
);
export type EventDocument = Static<typeof EventSchema>;

export const EventPageSchema = t.Object(
  { events: t.Array(EventSchema), next: t.Number({ description: "Send it as ?after= for the next page" }) },
  { title: "EventPage" },
);
export type EventPageDocument = Static<typeof EventPageSchema>;

export const memberName = t.String({ pattern: "^[a-z][a-z0-9_-]{0,39}$", description: "Name of a member" });

/** What `initdb --wal-segsize` takes. */
const WAL_SEGMENT_SIZES_MB = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] as const;
/** A quarter of PostgreSQL's own: what a failover waits for most is one WAL file being copied and sent again. */
export const DEFAULT_WAL_SEGMENT_MB = 4;

export const InitializeRequestSchema = t.Object(
  {
    method: t.Optional(t.Literal("new", { description: "initdb on one member, clones on the others" })),
    primary: t.Optional(memberName),
    encoding: t.Optional(t.String({ pattern: "^[A-Za-z0-9_-]{1,32}$", default: "UTF8" })),
    locale: t.Optional(t.String({ pattern: "^[A-Za-z0-9_.@-]{1,64}$", default: "C.UTF-8" })),
    walSegmentMb: t.Optional(
      t.Union(
        WAL_SEGMENT_SIZES_MB.map((size) => t.Literal(size)),
        {
          default: DEFAULT_WAL_SEGMENT_MB,
          description:
            "Size of a WAL file in MB. A promotion copies one, and standbys receive it again: smaller ones make a failover faster, larger ones are fewer to archive",
        },
      ),
    ),
  },
  { ...closed, title: "InitializeRequest" },
);

export const SwitchoverRequestSchema = t.Object(
  {
    to: t.Optional(memberName),
    at: t.Optional(
      t.String({
        maxLength: 60,
        description: "When, as in RFC 3339 with a zone; left out: now",
      }),
    ),
  },
  {
    ...closed,
    title: "SwitchoverRequest",
    examples: [{ to: "m2" }, { to: "m2", at: "2027-01-31T03:00:00+01:00" }],
  },
);

export const MemberChangeSchema = t.Object(
  {
    failoverPriority: t.Optional(
      t.Integer({
        minimum: -1_000_000,
        maximum: 1_000_000,
        description: "Among equally advanced candidates the higher one is promoted",
      }),
    ),
    isNoFailover: t.Optional(t.Boolean({ description: "Never promoted" })),
    isNoSync: t.Optional(t.Boolean({ description: "Never one of the synchronous standbys" })),
    isCloneSource: t.Optional(
      t.Boolean({ description: "Others are cloned from here rather than from the primary" }),
    ),
    zone: t.Optional(
      orNull(
        t.String({
          pattern: ZONE.source,
          description: "What fails together: a rack, a data centre; null: none",
        }),
      ),
    ),
    voting: t.Optional(
      t.Union([t.Literal("auto"), t.Literal("voter"), t.Literal("learner")], {
        description: "What is wanted of its vote",
      }),
    ),
  },
  { ...closed, minProperties: 1, title: "MemberChange", examples: [{ zone: "a", isNoSync: true }] },
);

export const ForkSchema = t.Object(
  {
    timeline: t.Number(),
    forkedAt: t.String({ description: "Where the history that counts turned off" }),
    keptAt: instant,
    bytes: t.Number({ description: "Of WAL that was kept" }),
    transactionCount: t.Number(),
    transactions: t.Array(
      t.Object({
        transactionId: t.Number(),
        kind: t.Union([t.Literal("commit"), t.Literal("prepare")]),
        at: t.String({ description: "When it was committed, as PostgreSQL wrote it" }),
        lsn: t.String(),
      }),
      { description: "In doubt: committed on this member only. The first thousand" },
    ),
    problem: orNull(t.String({ description: "Why the WAL could not be read to its end" })),
  },
  { title: "Fork", description: "What a member wrote after a successor had turned off" },
);
export type ForkDocument = Static<typeof ForkSchema>;

export const VotingRequestSchema = t.Object(
  {
    voting: t.Union([t.Literal("auto"), t.Literal("voter"), t.Literal("learner")], {
      description: "`auto`: where that makes the group safer",
    }),
  },
  { ...closed, title: "VotingRequest" },
);

const GroupSchema = t.Object(
  {
    voters: t.Array(t.String()),
    outgoing: t.Array(t.String(), {
      description: "While the group changes: the voters before, of whom a majority must agree as well",
    }),
    learners: t.Array(t.String()),
    learnersNext: t.Array(t.String(), { description: "Voters that will learn once the change is through" }),
  },
  { title: "Group", description: "Names of members" },
);

export const ConsensusSchema = t.Object(
  {
    leader: orNull(t.String()),
    role: t.String({ description: "Of the member that answers" }),
    term: t.Number(),
    commitIndex: t.Number(),
    appliedIndex: t.Number(),
    lastIndex: t.Number(),
    floorIndex: t.Number({
      description: "The log begins after this entry; what came before is in the state",
    }),
    group: GroupSchema,
    isChanging: t.Boolean({ description: "A change of the group is under way" }),
    refusal: orNull(t.String({ description: "Why a wanted change of the group is not in effect yet" })),
    reason: orNull(t.String({ description: "Why the group is as it is, in the leader's words" })),
    followers: t.Array(
      t.Object({
        name: t.String(),
        matchIndex: t.Number(),
        lag: t.Number({ description: "Log entries that it lacks" }),
        isActive: t.Boolean(),
        isCaughtUp: t.Boolean(),
      }),
      { description: "As the leader knows them; empty on other members" },
    ),
    featureLevel: t.Number({ description: "What may stand in the log" }),
    stateHash: orNull(
      t.Object(
        { index: t.Number(), hash: t.String() },
        { description: "Equal on all members at an equal index" },
      ),
    ),
    removed: t.Array(t.Object({ name: t.String(), id: t.String(), at: instant }), {
      description: "Who was a member; none of these ids ever takes part again",
    }),
    freshness: FreshnessSchema,
  },
  { title: "Consensus" },
);
export type ConsensusDocument = Static<typeof ConsensusSchema>;

export const EmptyRequestSchema = t.Object({}, { ...closed, title: "EmptyRequest" });

export const JoinTokenRequestSchema = t.Object(
  {
    ttlSeconds: t.Optional(
      t.Integer({
        minimum: 60,
        maximum: 7 * 24 * 3600,
        default: 3600,
        description: "How long it may be used",
      }),
    ),
    replaces: t.Optional(
      t.String({
        maxLength: 60,
        description:
          "Name of a member. Whoever uses the token takes this name under a new id, and the removal of the old one begins",
      }),
    ),
  },
  { ...closed, title: "JoinTokenRequest" },
);

export const JoinTokenSchema = t.Object(
  {
    id: t.String(),
    token: t.String({ description: "Shown once, kept nowhere" }),
    expiresAt: instant,
    command: t.String({ description: "What to run on the new member's host" }),
  },
  { title: "JoinToken" },
);
export type JoinTokenDocument = Static<typeof JoinTokenSchema>;

export const ScopeSchema = t.Union(
  [t.Literal("health"), t.Literal("viewer"), t.Literal("operator"), t.Literal("access"), t.Literal("admin")],
  {
    description:
      "health: metrics; viewer: every read but secrets and who may do what; operator: the cluster; access: who may connect to PostgreSQL; admin: everything",
  },
);

const SECONDS_PER_YEAR = 366 * 24 * 3600;

export const TokenRequestSchema = t.Object(
  {
    scope: ScopeSchema,
    name: t.Optional(
      t.String({
        pattern: "^[A-Za-z0-9][A-Za-z0-9@._-]{0,62}$",
        description: "Who or what uses it, for people; unique among those that have not expired",
      }),
    ),
    expiresIn: t.Optional(
      t.Integer({
        minimum: 60,
        maximum: 10 * SECONDS_PER_YEAR,
        description: "Seconds from now. Without this and without expiresAt it does not expire",
      }),
    ),
    expiresAt: t.Optional(instant),
  },
  {
    ...closed,
    title: "TokenRequest",
    examples: [
      { name: "grafana", scope: "health" },
      { name: "ann", scope: "operator", expiresIn: 2_592_000 },
    ],
  },
);

const tokenFields = {
  id: t.String(),
  name: orNull(t.String()),
  scope: ScopeSchema,
  createdAt: instant,
  by: orNull(t.String({ description: "Who made it: a token's id, or `local`. Null: it is not known" })),
  expiresAt: orNull(instant),
};

export const TokenSchema = t.Object(
  {
    ...tokenFields,
    isExpired: t.Boolean(),
    lastUsedAt: orNull(
      t.String({
        format: "date-time",
        description:
          "To the hour where another member was asked, exact where this one was. Null: never, as far as is known",
      }),
    ),
  },
  { title: "Token" },
);
export type TokenDocument = Static<typeof TokenSchema>;

export const NewTokenSchema = t.Object(
  { ...tokenFields, token: t.String({ description: "Shown once, kept nowhere" }) },
  { title: "NewToken" },
);
export type NewTokenDocument = Static<typeof NewTokenSchema>;

export const AuditRecordSchema = t.Object(
  {
    id: t.String({ description: "Of this entry alone, wherever it is read" }),
    at: instant,
    outcome: t.Union([t.Literal("changed"), t.Literal("refused"), t.Literal("read")], {
      description:
        "`changed`: known on every member. `refused`, and `read` (a backup, which holds secrets): known on the member that was asked",
    }),
    by: orNull(
      t.String({
        description:
          "A token's id, `issuer#subject` of an identity provider, `local` for a Unix socket, or null: nobody knows",
      }),
    ),
    byName: orNull(t.String({ description: "Name of the token, or as the identity provider says it" })),
    address: orNull(t.String({ description: "IP address; null over a Unix socket" })),
    member: orNull(t.String({ description: "Name of the member that was asked; null: not known" })),
    request: t.String({ description: "Method and path" }),
    reason: orNull(t.String({ description: "As whoever changed it said (header `X-Reason`)" })),
    status: orNull(t.Number({ description: "Of the answer, where it was refused" })),
    code: orNull(t.String({ description: "Why it was refused" })),
    why: orNull(t.String({ description: "More than whoever asked was told" })),
    kind: orNull(t.String({ description: "What kind of change it was" })),
    values: t.Array(
      t.Object({
        path: t.String(),
        before: orNull(t.String({ description: "JSON; null: it was not there" })),
        after: orNull(t.String({ description: "JSON; null: it is not there" })),
      }),
      { description: "What is agreed before and after. Secrets are masked, long values are cut" },
    ),
    untold: t.Number({ description: "So many more values changed" }),
  },
  { title: "AuditRecord" },
);
export type AuditRecordDocument = Static<typeof AuditRecordSchema>;

export const AuditPageSchema = t.Object(
  {
    records: t.Array(AuditRecordSchema),
    next: t.String({ description: "Send it as ?after= for the next page" }),
    answeredBy: t.String({ description: "Name of the member whose refusals these are" }),
  },
  { title: "AuditPage" },
);
export type AuditPageDocument = Static<typeof AuditPageSchema>;

export const FormRequestSchema = t.Object(
  {
    name: t.Optional(
      t.String({
        pattern: "^[A-Za-z][A-Za-z0-9_.-]{0,62}$",
        description: "Name of the cluster",
        default: "main",
      }),
    ),
  },
  { ...closed, title: "FormRequest" },
);

export const FormedSchema = t.Object(
  {
    clusterId: t.String(),
    memberId: t.String(),
    token: t.String({ description: "The first admin token. Shown once, kept nowhere" }),
    caPem: t.String(),
  },
  { title: "Formed" },
);
export type FormedDocument = Static<typeof FormedSchema>;

const address = t.String({
  pattern: "^(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9._-]+):[0-9]{1,5}$",
  maxLength: 300,
  description: "host:port",
});

export const JoinRequestSchema = t.Object(
  {
    address,
    token: t.String({ maxLength: 400, description: "The join token" }),
    expectedName: t.Optional(
      t.String({ maxLength: 63, description: "If given, the cluster must have this name" }),
    ),
  },
  { ...closed, title: "JoinRequest" },
);

export const JoinedSchema = t.Object(
  { clusterId: t.String(), clusterName: t.String(), memberId: t.String() },
  { title: "Joined" },
);
export type JoinedDocument = Static<typeof JoinedSchema>;

export const AdmitRequestSchema = t.Object(
  {
    tokenId: t.String({ maxLength: 64 }),
    secret: t.String({ maxLength: 128 }),
    csrPem: t.String({ maxLength: 20_000 }),
    name: memberName,
    hosts: t.Array(t.String({ pattern: "^[A-Za-z0-9.:_-]{1,255}$" }), { maxItems: 32 }),
    addresses: t.Object({ api: address, peer: address, postgres: t.Union([address, t.Literal("")]) }, closed),
    kind: t.Union([t.Literal("data"), t.Literal("witness")]),
    tags: t.Object(
      {
        failoverPriority: t.Integer(),
        isNoFailover: t.Boolean(),
        isNoSync: t.Optional(t.Boolean()),
        isCloneSource: t.Optional(t.Boolean()),
        zone: t.Optional(t.String({ pattern: ZONE.source })),
      },
      closed,
    ),
  },
  { ...closed, title: "AdmitRequest" },
);
export type AdmitRequestDocument = Static<typeof AdmitRequestSchema>;

export const AdmissionSchema = t.Object(
  {
    clusterId: t.String(),
    clusterName: t.String(),
    memberId: t.String(),
    caPem: t.String(),
    trustedPem: t.Optional(
      t.String({ description: "Of every authority whose members it is to let in. Absent: `caPem` alone" }),
    ),
    certificatePem: t.String(),
    peers: t.Array(t.Object({ id: t.String(), name: t.String(), address: t.String() })),
    promotableFrom: t.Number(),
    recoveryEpoch: t.Optional(
      t.Number({ description: "How often the group was recovered from one survivor. Absent: never" }),
    ),
  },
  { title: "Admission" },
);
export type AdmissionDocument = Static<typeof AdmissionSchema>;
