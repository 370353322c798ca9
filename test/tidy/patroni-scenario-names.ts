/**
 * The scenarios that Patroni is accepted with (`features/*.feature`, and its Jepsen tests), by feature. Each has a row in
 * roadmap/tables/patroni-scenarios.md that says which test here is its equal, or why there is none.
 */

import type { ScenarioGroup } from "./raft-scenario-names.ts";

export const PATRONI_SCENARIOS: readonly ScenarioGroup[] = [
  {
    source: "basic replication",
    names: [
      "check replication of a single table",
      "check restart of sync replica",
      "check stuck sync replica",
      "check multi sync replication",
      "check the basic failover in synchronous mode",
      "check rejoin of the former primary with pg_rewind",
      "check graceful rejection when two nodes have the same name",
      "check that synchronous_mode_strict forces primary to keep old synchronous_standby_names",
    ],
  },
  {
    source: "bootstrap labels",
    names: [
      "check label for cluster bootstrap",
      "check label for replica bootstrap",
      "check bootstrap label is removed",
    ],
  },
  {
    source: "cascading replication",
    names: ["check a base backup and streaming replication from a replica"],
  },
  {
    source: "citus",
    names: [
      "check that worker cluster is registered in the coordinator",
      "coordinator failover updates pg_dist_node",
      "worker switchover doesn't break client queries on the coordinator",
      "worker primary restart doesn't break client queries on the coordinator",
      "check that in-flight transaction is rolled back after timeout when other workers need to change pg_dist_node",
    ],
  },
  {
    source: "custom bootstrap",
    names: [
      "clone existing cluster using pg_basebackup",
      "make a backup and do a restore into a new cluster",
    ],
  },
  {
    source: "dcs failsafe mode",
    names: [
      "check failsafe mode can be successfully enabled",
      "check one-node cluster is functioning while DCS is down",
      "check new replica isn't promoted when leader is down and DCS is up",
      "check leader and replica are both in /failsafe key after leader is back",
      "check leader and replica are functioning while DCS is down",
      "check primary is demoted when one replica is shut down and DCS is down",
      "check known replica is promoted when leader is down and DCS is up",
      "scale to three-node cluster",
      "make sure permanent slots exist on replicas",
      "check three-node cluster is functioning while DCS is down",
      "check that permanent slots are in sync between nodes while DCS is down",
    ],
  },
  {
    source: "frozen patroni",
    names: [
      "watchdog is opened and pinged",
      "watchdog is reconfigured after global ttl changed",
      "watchdog is disabled during pause",
      "watchdog is opened and pinged after resume",
      "watchdog is disabled when shutting down",
      "prepare two nodes cluster",
      "watchdog is triggered if patroni primary stops responding",
      "check primary race backoff",
    ],
  },
  {
    source: "ignored slots",
    names: [
      "check ignored slots aren't removed on failover/switchover",
      "check that logical slots with failover are not removed by Patroni",
      "check that logical slots with failover is dropped, recreated and synced after switchover",
    ],
  },
  {
    source: "nostream node",
    names: [
      "check nostream node is recovering from archive",
      "check permanent logical replication slots are not copied",
      "check that slots are written to the /status key",
    ],
  },
  {
    source: "patroni api",
    names: [
      "check API requests on a stand-alone server",
      "check local configuration reload",
      "check dynamic configuration change via DCS",
      "check the scheduled restart",
      "check API requests for the primary-replica pair in the pause mode",
      "check the switchover via the API in the pause mode",
      "check the scheduled switchover",
    ],
  },
  {
    source: "permanent slots",
    names: [
      "check that physical permanent slots are created",
      "check that logical permanent slots are created",
      "check that permanent slots are created on replicas",
      "check permanent physical slots that match with member names",
      "check that permanent slots are advanced on replicas",
      "check that permanent slots and member slots are written to the /status key",
      "check that only non-permanent member slots are written to the retain_slots in /status key",
      "check permanent physical replication slot after failover",
      "check permanent physical replication slot on replica after failover",
    ],
  },
  {
    source: "priority replication",
    names: [
      "check failover priority 0 prevents leaderships",
      "check higher failover priority is respected",
      "check conflicting configuration handling",
    ],
  },
  {
    source: "synchronous replicas priority",
    names: [
      "check replica with sync_priority=0 does not become a synchronous replica",
      "check higher synchronous replicas priority is respected",
      "check conflicting configuration handling",
    ],
  },
  {
    source: "quorum commit",
    names: [
      "check enable quorum commit and that the only leader promotes after restart",
      "check that synchronous_mode_strict forces primary to keep old synchronous_standby_names",
      "check behavior with three nodes and different replication factor",
      "switch from quorum replication to good old multisync and back",
      "REST API and patronictl",
      "nosync node is removed from voters and synchronous_standby_names",
    ],
  },
  {
    source: "recovery",
    names: [
      "check that timeline is not incremented when primary is started after crash",
      "check immediate failover when master_start_timeout=0",
      "check crashed primary demotes after failed attempt to start",
    ],
  },
  {
    source: "standby cluster",
    names: [
      "prepare the cluster with logical slots",
      "check permanent logical slots are synced to the replica",
      "Detach exiting node from the cluster",
      "check replication of a single table in a standby cluster",
      "check switchover",
      "check failover",
      "demote cluster",
      "promote cluster",
    ],
  },
  {
    source: "Jepsen",
    names: [
      "partition random halves",
      "partition majorities ring",
      "partition random node",
      "kill postgres",
      "kill patroni",
      "switchover",
    ],
  },
];
