import type { Reason } from "./reasons.ts";

/** What can be done about a hold: no dead end without a named way out (F10). */
export const WAYS_OUT: Partial<Readonly<Record<Reason, string>>> = {
  "not-initialized": "'guacamole init' builds the PostgreSQL cluster.",
  initializing: "It goes on by itself; 'guacamole operation list' shows how far it is.",
  "promotion-under-way": "It goes on by itself; a promotion that hangs is given up after 30 s.",
  "primary-started-again": "It goes on by itself, or is given up after 30 s: then the failover rules decide.",
  "restart-waiting": "It goes on by itself; 'guacamole operation pause|cancel' holds or ends it.",
  "restart-under-way": "It goes on by itself, or is given up by itself.",
  "primary-silent": "The next look decides, in less than a second.",
  "primary-silent-but-streaming":
    "Look at the primary's member: is it frozen, or cut off from the leader? 'guacamole failover' ends the reign by hand.",
  "primary-not-answering": "Look at the primary's host. 'guacamole failover' ends the reign by hand.",
  "postmaster-frozen":
    "Bring a standby back that can follow: 'guacamole status' says what each of them waits for.",
  "not-taking-connections": "Bring a standby back that can follow, or mend the primary: its log says why.",
  "writes-stalled": "Bring a standby back that can follow, or mend the disk under the primary's WAL.",
  "disk-stalled": "Bring a standby back that can follow, or mend the disk.",
  "disk-full": "Make room on the disk, or bring a standby back whose disk has room.",
  "commits-stalled": "Mend the network between the primary and its standbys.",
  "most-members-silent": "Mend the leader's network: it hears hardly anybody.",
  "majority-lost":
    "Bring members back until most voters are up: the rest happens by itself. If they are gone for good, 'guacamole recover force-new-group' goes on from one that is left.",
  paused: "'guacamole resume' ends the pause; 'guacamole failover' acts all the same.",
  "crash-loop":
    "Find out what makes each primary fall (its log's last lines). It is tried again by itself; 'guacamole failover' does it now.",
  "waiting-for-pledges":
    "Bring one of the missing members back: its supervisor is enough. If they are gone for good, 'guacamole failover --accept-loss' shows what would be lost, and takes it.",
  "waiting-for-lease":
    "Bring members back until most of them agree again: without them nobody can promise the primary that it alone reigns.",
  "waiting-for-lease-end": "It goes on by itself when the lease is over.",
  "primary-restarting": "It goes on by itself: the primary comes back, or another is appointed.",
  "standbys-pledging": "It goes on by itself in a moment.",
  "most-advanced-not-eligible":
    "Take the tag no-failover off that member ('guacamole member set'), or take the loss: 'guacamole failover --accept-loss'.",
  "successor-too-far-behind":
    "Bring the old primary back, raise maxLagBytes ('guacamole topology set --max-lag'), or take the loss: 'guacamole failover --accept-loss'.",
  "switchover-stopping": "It goes on by itself, or is given up by itself.",
  "switchover-due":
    "It begins within seconds, or is given up; 'guacamole switchover --cancel' takes it back.",
  "switchover-asking": "It goes on by itself once the hook before-switchover has ended.",
  "cohort-settling": "It goes on by itself once enough standbys hold everything.",
  "quorum-lost":
    "Bring a standby back, or let commits go on with fewer copies: 'guacamole topology set --on-quorum-loss degrade'.",
  "removal-would-block":
    "Bring another standby back first, or ask for fewer: 'guacamole topology set --synchronous-standbys'.",
  "reign-abandoned": "'guacamole recover force-new-group --make-primary' says that this member shall reign.",
};
