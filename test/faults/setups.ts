/** The kinds of clusters that faults ask for. */

import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { newestPostgres } from "../support/cluster-life.ts";
import { FreezableDisk, TinyDisk } from "../support/small-disk.ts";
import type { Setup } from "./fault.ts";
import { DIRECTORY_BEGIN, FaultCluster } from "./fault-cluster.ts";

const DATA_MEGABYTES = 700;
/** In memory, and with room for the WAL that is kept (512 MB) on those that are not filled. */
const SMALL_MEGABYTES = 1_500;
const OWN_MEGABYTES = 48;
const AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"];

export function bringUp(setup: Setup): Promise<FaultCluster> {
  switch (setup) {
    case "three":
      return FaultCluster.bringUp({ size: 3 });
    case "five":
      return FaultCluster.bringUp({
        size: 5,
        topology: { durability: { mode: "quorum", synchronousStandbys: 2, onQuorumLoss: "block" } },
      });
    case "three, async":
      return FaultCluster.bringUp({
        size: 3,
        topology: { durability: { mode: "async", maxLagBytes: 64 * 1024 * 1024 } },
        // As PostgreSQL's own user: the supervisor has to start a member again that hangs, and cannot touch root's.
        prepare: (member) => {
          const { uid, gid } = statSync(placeOf(member));
          chownSync(member.directory, uid, gid);
        },
        enter: () => (process.getuid?.() === 0 ? AS_POSTGRES : []),
      });
    case "three, small disks":
      return FaultCluster.bringUp({
        size: 3,
        prepare: (member) => {
          mountInstead(placeOf(member), (place) => TinyDisk.mount(place, SMALL_MEGABYTES));
          TinyDisk.mount(ownDirectoryOf(member), OWN_MEGABYTES);
        },
      });
    case "three, disks that stall":
      return FaultCluster.bringUp({
        size: 3,
        prepare: (member) => {
          mountInstead(placeOf(member), (place) => FreezableDisk.mount(place, DATA_MEGABYTES));
          FreezableDisk.mount(ownDirectoryOf(member), OWN_MEGABYTES);
        },
      });
    case "three, clocks of their own":
      return withClocks();
  }
}

/** Where PostgreSQL's data and the supervisor's files lie. */
export function placeOf(member: LocalMember): string {
  return dirname(member.dataDirectory);
}

/** Where guacamole itself keeps its things. */
export function ownDirectoryOf(member: LocalMember): string {
  return join(member.directory, "member");
}

/** A file system in place of a directory that is empty, with the same owner. */
export function mountInstead(place: string, mount: (place: string) => unknown): void {
  const { uid, gid } = statSync(place);
  rmdirSync(place);
  mount(place);
  chownSync(place, uid, gid);
  chmodSync(place, 0o755);
}

/** By member, the file that says how far its clock is off: `+3600` seconds. */
const clockFiles = new WeakMap<FaultCluster, string>();

/** From now on the clock that a member, its supervisor and its PostgreSQL see is so far off. */
export function setClock(cluster: FaultCluster, member: LocalMember, seconds: number): void {
  const directory = clockFiles.get(cluster);
  if (directory === undefined) throw new Error("this cluster has no clocks of its own");
  writeFileSync(clockOf(directory, member.name), `${seconds < 0 ? "" : "+"}${seconds}\n`);
}

/**
 * Their wall clocks are libfaketime's; what counts durations is left alone. The supervisor hands PostgreSQL nothing of its
 * environment, so PostgreSQL is started by a script in its place.
 */
async function withClocks(): Promise<FaultCluster> {
  const library = findFakeTime();
  // Without it the loader only warns, and every clock would be right.
  if (library === undefined) throw new Error("there is no libfaketime (Debian: apt-get install libfaketime)");
  const fakeTime = (file: string) => fakeTimeOf(library, file);
  const directory = mkdtempSync(join(tmpdir(), `${DIRECTORY_BEGIN}${process.pid}-clocks-`));
  chmodSync(directory, 0o755);
  const { binDirectory } = newestPostgres();
  for (const program of readdirSync(binDirectory)) {
    if (program !== "postgres") symlinkSync(join(binDirectory, program), join(directory, program));
  }
  const wrapper = join(directory, "postgres");
  writeFileSync(
    wrapper,
    `#!/bin/sh
for argument; do
  case $argument in */postgres/data) name=\${argument%/postgres/data}; name=\${name##*/} ;; esac
done
[ -n "$name" ] || exec ${join(binDirectory, "postgres")} "$@"
exec env ${fakeTime(clockOf(directory, "$name")).join(" ")} ${join(binDirectory, "postgres")} "$@"
`,
  );
  chmodSync(wrapper, 0o755);
  for (const name of ["m1", "m2", "m3"]) writeFileSync(clockOf(directory, name), "+0\n");
  const cluster = await FaultCluster.bringUp({
    size: 3,
    binDirectory: directory,
    enter: (name) => ["env", ...fakeTime(clockOf(directory, name))],
    belongings: [directory],
  });
  clockFiles.set(cluster, directory);
  return cluster;
}

function clockOf(directory: string, name: string): string {
  return join(directory, `${name}.clock`);
}

/** Where Debian installs it, whatever the machine. */
function findFakeTime(): string | undefined {
  return ["", ...readdirSync("/usr/lib")]
    .map((architecture) => join("/usr/lib", architecture, "faketime/libfaketime.so.1"))
    .find((path) => existsSync(path));
}

function fakeTimeOf(library: string, file: string): readonly string[] {
  return [
    `LD_PRELOAD=${library}`,
    `FAKETIME_TIMESTAMP_FILE=${file}`,
    "FAKETIME_CACHE_DURATION=1",
    "FAKETIME_DONT_FAKE_MONOTONIC=1",
    "DONT_FAKE_MONOTONIC=1",
  ];
}
