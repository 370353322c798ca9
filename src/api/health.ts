import { isWritable } from "../cluster/writable.ts";
import { isReigning, lagOf, type Sight } from "./sight.ts";

/**
 * What load balancers and orchestrators ask, decided in memory from what this member knows of itself and of what is
 * agreed. Paths and status codes are those that HAProxy configurations in the field use; one difference on purpose:
 * `/primary` says 200 only when PostgreSQL accepts writes.
 */
export interface Verdict {
  readonly isOk: boolean;
  readonly reason: string;
}

export type HealthCheck = (
  sight: Sight | null,
  query: URLSearchParams,
  stalledReason: string | null,
) => Verdict;

/** Lag beyond which a standby is not ready, unless `?lag=` says otherwise. */
const READY_LAG_BYTES = 1024 * 1024;

const yes = (reason: string): Verdict => ({ isOk: true, reason });
const no = (reason: string): Verdict => ({ isOk: false, reason });

const NOT_FORMED = no("this member belongs to no cluster yet");

/**
 * This member is appointed for the epoch that counts, its PostgreSQL is out of recovery, it is not fenced, and enough
 * standbys stream for a commit to be acknowledged.
 */
function primary(sight: Sight | null): Verdict {
  const appointed = leader(sight);
  if (!appointed.isOk || sight === null) return appointed;
  const postgres = sight.selfStatus?.postgres;
  if (postgres?.kind !== "primary") return no("appointed, and PostgreSQL is not out of recovery yet");
  return isWritable(sight.state, sight.selfId, postgres)
    ? yes("PostgreSQL accepts writes")
    : no("out of recovery, and too few standbys stream: a commit would wait");
}

function leader(sight: Sight | null): Verdict {
  if (sight === null) return NOT_FORMED;
  const { selfStatus, state } = sight;
  if (selfStatus === null) return no("this member has not looked at its PostgreSQL yet");
  const { reign } = state;
  if (reign === null) return no("no primary has been appointed");
  if (reign.primaryId !== sight.selfId) return no("another member is the primary");
  if (!isReigning(reign, selfStatus)) return no("fenced: this reign is being ended");
  return yes("appointed for the current epoch");
}

function replica(sight: Sight | null, query: URLSearchParams): Verdict {
  if (sight === null) return NOT_FORMED;
  const { selfStatus, state } = sight;
  if (selfStatus?.postgres.kind !== "standby") return no("no running standby");
  if (state.reign?.primaryId === sight.selfId) return no("appointed primary");
  const standby = selfStatus.postgres;
  const wanted = query.get("replication_state");
  if (wanted !== null && standby.walReceiver?.status !== wanted)
    return no("the replication state is another one");
  const tags = tagVerdict(sight, query);
  if (!tags.isOk) return tags;
  return lagVerdict(sight, query.get("lag"), "received");
}

function lagVerdict(sight: Sight, text: string | null, kind: "received" | "replayed"): Verdict {
  if (text === null) return yes("a running standby");
  const max = parseBytes(text);
  if (max === null) return no("the parameter lag is not a size (1048576, 16kB, 10MB are)");
  const lag = lagOf(sight, sight.selfStatus);
  if (lag === null) return no("the lag is not known now");
  const bytes = kind === "received" ? lag.receivedBytes : lag.replayedBytes;
  return bytes <= max ? yes(`${bytes} bytes behind`) : no(`${bytes} bytes behind, ${max} are allowed`);
}

function tagVerdict(sight: Sight, query: URLSearchParams): Verdict {
  const member = sight.state.members.find(({ id }) => id === sight.selfId);
  const tags: Readonly<Record<string, string | undefined>> = {
    nofailover: String(member?.tags.isNoFailover ?? false),
    "no-failover": String(member?.tags.isNoFailover ?? false),
    failover_priority: String(member?.tags.failoverPriority ?? 0),
    "failover-priority": String(member?.tags.failoverPriority ?? 0),
    nosync: String(member?.tags.isNoSync ?? false),
    "no-sync": String(member?.tags.isNoSync ?? false),
    clonefrom: String(member?.tags.isCloneSource ?? false),
    "clone-source": String(member?.tags.isCloneSource ?? false),
    zone: member?.tags.zone,
    witness: String(member?.kind === "witness"),
  };
  for (const [key, value] of query) {
    if (!key.startsWith("tag_")) continue;
    const name = key.slice(4);
    const tag = Object.hasOwn(tags, name) ? tags[name]?.toLowerCase() : undefined;
    if (tag !== value.toLowerCase()) return no("a tag is another one");
  }
  return yes("tags match");
}

function readOnly(sight: Sight | null, query: URLSearchParams): Verdict {
  const asPrimary = primary(sight);
  return asPrimary.isOk ? asPrimary : replica(sight, query);
}

/** In the cohort: commits count this standby's acknowledgement. `all`: each commit waits for it. */
function synchronous(kind: "all" | "some" | "none"): HealthCheck {
  return (sight, query) => {
    const asReplica = replica(sight, query);
    if (!asReplica.isOk || sight === null) return asReplica;
    const cohort = sight.state.reign?.cohort;
    const isIn = cohort?.standbyIds.includes(sight.selfId) ?? false;
    const isAll = cohort !== undefined && cohort.k >= cohort.standbyIds.length;
    const found = !isIn ? "none" : isAll ? "all" : "some";
    if (found === kind) return asReplica;
    return no(
      { all: "every commit waits for it", some: "it is one of a quorum", none: "no commit waits for it" }[
        found
      ],
    );
  };
}

function orPrimary(check: HealthCheck): HealthCheck {
  return (sight, query, stalledReason) => {
    const asPrimary = primary(sight);
    return asPrimary.isOk ? asPrimary : check(sight, query, stalledReason);
  };
}

function running(sight: Sight | null): Verdict {
  if (sight === null) return NOT_FORMED;
  const kind = sight.selfStatus?.postgres.kind;
  return kind === "primary" || kind === "standby"
    ? yes("PostgreSQL runs")
    : no("PostgreSQL does not take connections");
}

function ready(sight: Sight | null, query: URLSearchParams): Verdict {
  const asPrimary = primary(sight);
  if (asPrimary.isOk || sight === null) return asPrimary;
  if (sight.selfStatus?.postgres.kind !== "standby") return no("no running standby");
  if (sight.selfStatus.postgres.walReceiver?.status !== "streaming") return no("the standby does not stream");
  const kind = query.get("mode") === "apply" ? "replayed" : "received";
  return lagVerdict(sight, query.get("lag") ?? String(READY_LAG_BYTES), kind);
}

function live(_sight: Sight | null, _query: URLSearchParams, stalledReason: string | null): Verdict {
  return stalledReason === null ? yes("the member's loops turn") : no(stalledReason);
}

const syncCheck = synchronous("all");
const quorumCheck = synchronous("some");
const asyncCheck = synchronous("none");

export const HEALTH_CHECKS: Readonly<Record<string, HealthCheck>> = {
  "/": primary,
  "/primary": primary,
  "/read-write": primary,
  "/leader": leader,
  "/standby-leader": () => no("this is no standby cluster"),
  "/standby_leader": () => no("this is no standby cluster"),
  "/replica": replica,
  "/read-only": readOnly,
  "/sync": syncCheck,
  "/synchronous": syncCheck,
  "/read-only-sync": orPrimary(syncCheck),
  "/quorum": quorumCheck,
  "/read-only-quorum": orPrimary(quorumCheck),
  "/async": asyncCheck,
  "/asynchronous": asyncCheck,
  "/health": running,
  "/liveness": live,
  "/readiness": ready,
};

/** What a 200 says, for people who read the API's document. */
export const HEALTH_MEANINGS: Readonly<Record<string, string>> = {
  "/": "200: PostgreSQL here accepts writes",
  "/primary": "200: PostgreSQL here accepts writes",
  "/read-write": "200: PostgreSQL here accepts writes",
  "/leader": "200: this member is appointed primary (it may not accept writes yet)",
  "/standby-leader": "200 in a standby cluster only, so never here",
  "/standby_leader": "Another spelling of /standby-leader",
  "/replica": "200: a running standby (?lag=10MB: not further behind)",
  "/read-only": "200: reads are answered, by a standby or the primary",
  "/sync": "200: a standby without which no commit is acknowledged",
  "/synchronous": "Another spelling of /sync",
  "/read-only-sync": "200: as /sync, or the primary",
  "/quorum": "200: a standby among those of which some must acknowledge a commit",
  "/read-only-quorum": "200: as /quorum, or the primary",
  "/async": "200: a standby that no commit waits for",
  "/asynchronous": "Another spelling of /async",
  "/health": "200: PostgreSQL here runs and answers",
  "/liveness": "200: this member's own loops turn; 503: restart it",
  "/readiness": "200: the primary, or a standby that streams and is not far behind",
};

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 2 ** 10,
  mb: 2 ** 20,
  gb: 2 ** 30,
  tb: 2 ** 40,
};

/** PostgreSQL's way to write sizes: `16kB`, `10MB`, plain bytes. Null if it is none. */
export function parseBytes(text: string): number | null {
  const match = /^([0-9]{1,15})\s*([A-Za-z]{0,2})$/.exec(text.trim());
  const unit = UNITS[(match?.[2] ?? "").toLowerCase()];
  return match === null || unit === undefined ? null : Number(match[1]) * unit;
}
