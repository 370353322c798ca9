/** Ways to break the protocol on purpose: the invariants must notice each. */
export const SABOTAGES = [
  "answer-before-the-pledge",
  "one-pledge-is-enough",
  "promote-the-least-advanced",
  "ignore-the-epoch-of-timelines",
  "give-a-standby-name-twice",
  "settle-without-holding",
  "forget-inherited-rules",
  "count-the-new-rule-alone",
  "forget-pledges-at-a-crash",
  "forget-pledges-at-a-supervisor-restart",
  "take-any-end-for-the-last",
  "take-a-promotion-for-a-fall",
  "forget-whom-a-supervisor-promoted",
  "trust-a-status-of-an-earlier-life",
  "keep-no-leases",
  "count-a-lease-from-its-receipt",
  "count-a-lease-by-the-wall-clock",
  "appoint-before-the-lease-ends",
  "stop-a-primary-without-a-leader",
  "clone-without-a-reason",
  "count-a-cancelled-commit",
  "trust-a-named-outsider",
  "take-a-silence-for-wal-that-is-gone",
] as const;

export type Sabotage = (typeof SABOTAGES)[number];
