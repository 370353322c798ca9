/**
 * Why something is done, or not done. A key in code, a sentence here, a field in log and API: no hold without a reason
 * (F10).
 */
export const REASONS = {
  // The leader's side.
  "not-initialized": "PostgreSQL is not initialised; somebody must say what to build.",
  initializing: "PostgreSQL is being initialised.",
  "initialization-given-up":
    "The place for PostgreSQL holds something that is not this cluster's; the initialisation is given up.",
  initialized: "initdb is done; its system identifier is the cluster's from now on.",
  "first-primary": "The freshly initialised member becomes the first primary.",
  steady: "Nothing is to be done.",
  "promotion-under-way": "The appointed member is being promoted.",
  "promotion-stuck": "The appointed member did not leave recovery in time.",
  "promotion-seen": "The appointed member left recovery; its timeline is recorded.",
  "postmaster-died": "The primary's postmaster is gone.",
  "member-lost": "The primary's member is silent and no standby streams from it.",
  "member-gone": "The primary's member is gone: its connections broke and no standby streams from it.",
  "primary-silent": "The primary's member is silent, but not yet for long enough to act.",
  "primary-silent-but-streaming": "The primary's member is silent, but a standby still streams from it.",
  "primary-not-answering": "The primary's PostgreSQL does not answer its own member.",
  "postmaster-frozen": "The primary's postmaster is stopped: it takes nobody in.",
  "not-taking-connections": "The primary takes no new connections.",
  "writes-stalled": "The primary writes nothing any more.",
  "disk-stalled": "The disk under the primary does not answer.",
  "disk-full": "The disk under PostgreSQL is full.",
  "commits-stalled": "Commits on the primary wait for standbys that run, but do not reach it.",
  paused: "Automatic failover is paused.",
  "crash-loop":
    "One primary after the other falls as soon as it serves: another failover would not mend that.",
  "waiting-for-lease-end":
    "The old primary may still hold a lease; nobody else is appointed before it is over.",
  "primary-restarting": "The primary crashed and is given the time to come back: it holds everything.",
  "standbys-pledging": "The standbys that are heard are given the time to pledge: the furthest shall follow.",
  "successor-too-far-behind":
    "Whoever could follow lacks more than `maxLagBytes` of what the primary was seen to have.",
  operator: "A person ended the reign.",
  recovered: "The group was recovered from one survivor.",
  "loss-accepted": "A person took the loss of what the successor lacks.",
  "history-told": "The history of failovers has a line more.",
  "most-members-silent": "Most members are silent at once: this leader suspects itself.",
  "majority-lost": "Too few voters are left to agree on anything.",
  "waiting-for-pledges": "Too few standbys have promised to stop acknowledging for the old primary.",
  "most-advanced-not-eligible": "The member that holds every acknowledged commit may not be promoted.",
  "most-advanced-appointed": "It holds every acknowledged commit.",
  switchover: "A planned switchover.",
  "switchover-stopping": "The old primary is stopping cleanly.",
  "switchover-target-lost": "The switchover's target does not stream any more.",
  "cohort-growing": "A standby streams and joins the synchronous standbys.",
  "cohort-shrinking": "A synchronous standby is lost and leaves the synchronous standbys.",
  "cohort-strengthening": "More standbys must acknowledge a commit, now that there are enough.",
  "cohort-easing": "Fewer standbys must acknowledge a commit, as somebody asked.",
  "cohort-weakening":
    "Standbys were lost; fewer acknowledgements are asked for, as `onQuorumLoss: degrade` says.",
  "cohort-leasing": "Commits are to be acknowledged by the primary alone, under a lease.",
  "cohort-leaving-lease": "Commits are to wait for standbys again, and no lease is needed any more.",
  "cohort-settling": "The primary is moving to the announced synchronous standbys.",
  "cohort-settled": "The announced synchronous standbys are in effect.",
  "quorum-lost": "Too few synchronous standbys are left; commits wait (`onQuorumLoss: block`).",
  "data-ready": "The member streams; its data is complete.",
  "leader-beside-primary":
    "The leader moves off the primary's host, so that one host's death is one detection.",
  "operation-progress": "An operation has advanced.",
  "operation-done": "An operation has reached its goal.",
  "cohort-releasing": "A member is being removed and leaves the synchronous standbys.",
  "removal-would-block":
    "A member is being removed, or shall be no synchronous standby, but without it too few stream: commits would wait.",
  "reign-abandoned":
    "The group was recovered without the primary, or while it was being replaced: nothing is promoted before a person says so ('guacamole recover force-new-group --make-primary').",
  // Who votes.
  "voters-changing": "The group is changing already.",
  "voters-settled": "Everybody has the place in the group that it shall have.",
  "voters-even":
    "An even number of voters survives no more losses than one fewer, and asks one more to agree: one member learns and has no vote until there is another.",
  "voters-catching-up": "A member learns, and will vote once it has caught up.",
  "voters-unheard":
    "Too few of the voters that there would be are heard now; the group stays as it is meanwhile.",
  "voters-growing": "A member has caught up and votes from now on.",
  "voters-shrinking": "A member votes no more, and learns.",
  "voters-replacing": "Another member votes in its place.",
  "voters-removing": "A member is taken out of the group.",
  "learners-growing": "A member is new to the group: it learns first.",
  "leader-leaving": "The leader is being removed; another member leads first.",
  "member-removed": "No rule and no configuration names the member any more: it is forgotten.",
  "feature-level-rising": "Every member understands more than the log may hold so far.",
  // The member's side.
  witness: "This member has no PostgreSQL.",
  "supervisor-unreachable": "The supervisor beside PostgreSQL does not answer.",
  "data-directory-foreign":
    "The data directory holds something that is not this cluster's; it is left alone.",
  "data-directory-missing":
    "The data directory is gone, but this member held data before. Mount it again, or build the member anew with 'guacamole member reinit'.",
  "waiting-for-initialization": "Another member is being initialised first.",
  initdb: "A new PostgreSQL is being initialised here.",
  "initdb-done": "Initialised; waiting to be appointed.",
  "waiting-for-primary": "There is no primary to follow yet.",
  cloning: "The data is being cloned from the primary.",
  recloning: "The data directory cannot follow the primary and is being cloned anew.",
  starting: "PostgreSQL is starting.",
  "not-answering": "PostgreSQL runs but does not answer.",
  pledging: "The old reign is being ended: no WAL is received for it from now on.",
  draining: "The primary is ending; until then everything that it still sends is received.",
  pledged: "Promised to receive nothing from the old primary; waiting for the appointment.",
  superseded: "This PostgreSQL is primary, but not appointed for the present epoch: it is stopped at once.",
  promoting: "Appointed; PostgreSQL is being promoted.",
  "waiting-for-lease": "Appointed under a lease, which has not come yet: nobody reigns without one.",
  "handing-over": "A switchover: PostgreSQL writes a checkpoint and stops cleanly.",
  provisioning: "The roles that members need are being made.",
  configuring: "The configuration is being brought to what is agreed.",
  checkpointing: "A checkpoint records the new timeline, so that others can rewind to it.",
  "cleaning-up": "What was kept aside for a rebuild is removed.",
  connecting: "Configured to follow; the connection to the primary is being made.",
  streaming: "Streaming from the primary.",
  serving: "Primary.",
  rewinding: "The data directory has forked off the present history and is being rewound.",
  leaving: "This member is being removed; PostgreSQL is stopped, and its data is left as it is.",
  "primary-left-behind":
    "The primary is no member of this recovered group: PostgreSQL stays as it is, and nothing is received.",
  "waiting-for-lineage": "The new primary's timeline is not known yet.",
} as const satisfies Readonly<Record<string, string>>;

export type Reason = keyof typeof REASONS;
