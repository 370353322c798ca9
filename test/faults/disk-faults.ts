/** Disks are full, or stand still. */

import { chmodSync, chownSync, cpSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { realClock } from "../support/postgres-clock.ts";
import { fillDisk, freeDisk, TinyDisk } from "../support/small-disk.ts";
import type { Fault, Injected, Scene } from "./fault.ts";
import { ownDirectoryOf, placeOf } from "./setups.ts";

const WAL_MEGABYTES = 200;
/** However long what is frozen stays so: a disk that is frozen for minutes stops whoever touches it. */
const STALL_MS_MAX = 20_000;
const THAWED_BY_ITSELF_S = 60;
/** Long enough for everybody to have noticed. */
const FULL_MS = 6_000;
const PRESSURE_MS_MAX = 8_000;
const SWITCHOVER_MS_MAX = 60_000;

const primary = ({ primary }: Scene): LocalMember => primary;
const leader = ({ leader }: Scene): LocalMember => leader;
const standby = ({ standbys, primary }: Scene): LocalMember => standbys[0] ?? primary;

function fill(who: (scene: Scene) => LocalMember, where: (member: LocalMember) => string): Fault["inject"] {
  return async (scene): Promise<Injected> => {
    const victim = who(scene);
    const disk = { dataDirectory: where(victim) };
    fillDisk(disk);
    // PostgreSQL feels only its own disk: pressed for another's end, it would fill everybody's with WAL.
    if (where === placeOf) await press(scene, victim);
    return {
      what: `the disk of ${victim.name}`,
      lastsMs: FULL_MS,
      mend: () => makeRoom(scene, victim, disk.dataDirectory),
    };
  };
}

/** Writes in bulk until the disk's end is felt, or for a while. */
async function press({ cluster, primary }: Scene, victim: LocalMember): Promise<void> {
  if (victim !== primary) return;
  const untilMs = performance.now() + PRESSURE_MS_MAX;
  while (performance.now() < untilMs && cluster.pids(victim, "postmaster").length > 0) {
    const said = await cluster.sql(
      victim,
      "insert into bulk select repeat(md5(random()::text), 60) from generate_series(1, 5000); truncate bulk",
    );
    if (/No space left|could not connect|connection to server/.test(said)) return;
  }
}

/** Whoever ended because of it is started again, as a service manager does. */
async function makeRoom({ cluster }: Scene, victim: LocalMember, place: string): Promise<void> {
  freeDisk({ dataDirectory: place });
  await cluster.boot(victim);
}

/** A standby whose pg_wal lies on a small disk becomes primary, and then that disk is full. */
async function fillWal(scene: Scene): Promise<Injected> {
  const { cluster } = scene;
  const victim = standby(scene);
  const wal = join(victim.directory, "wal");
  await cluster.killAllOf(victim);
  moveWal(victim, wal);
  await cluster.boot(victim);
  await cluster.untilWhole();
  await cluster.members[0]?.api.post("/v1/switchover", { to: victim.name });
  await cluster.until(`${victim.name} is primary`, SWITCHOVER_MS_MAX, async () => {
    return (await cluster.isWhole()) && (await cluster.primary()) === victim;
  });
  const beganMs = performance.now();
  fillDisk({ dataDirectory: wal });
  await press({ ...scene, primary: victim }, victim);
  return {
    what: `pg_wal of ${victim.name}`,
    beganMs,
    lastsMs: FULL_MS,
    mend: () => makeRoom(scene, victim, wal),
  };
}

function moveWal({ dataDirectory }: LocalMember, wal: string): void {
  const inside = join(dataDirectory, "pg_wal");
  const { uid, gid } = statSync(inside);
  mkdirSync(wal, { recursive: true });
  if (readdirSync(wal).length === 0) {
    rmSync(wal, { recursive: true });
    TinyDisk.mount(wal, WAL_MEGABYTES);
  }
  const target = join(wal, `pg_wal-${Math.round(performance.now())}`);
  cpSync(inside, target, { recursive: true, verbatimSymlinks: true });
  const done = Bun.spawnSync(["chown", "-R", `${uid}:${gid}`, wal]);
  if (!done.success) throw new Error(`${wal} cannot be given to PostgreSQL's user`);
  chownSync(wal, uid, gid);
  chmodSync(target, 0o700);
  rmSync(inside, { recursive: true });
  symlinkSync(target, inside);
}

function stall(who: (scene: Scene) => LocalMember, where: (member: LocalMember) => string): Fault["inject"] {
  return async (scene): Promise<Injected> => {
    const victim = who(scene);
    const place = where(victim);
    // It must not stand still for ever if this process dies.
    const guard = Bun.spawn(["sh", "-c", `sleep ${THAWED_BY_ITSELF_S}; fsfreeze --unfreeze ${place}`], {
      stdio: ["ignore", "ignore", "ignore"],
      detached: true,
    });
    const frozen = Bun.spawn(["fsfreeze", "--freeze", place], { stdio: ["ignore", "ignore", "ignore"] });
    await Promise.race([frozen.exited, realClock.sleep(5_000)]);
    return {
      what: `the disk of ${victim.name}`,
      lastsMs: Math.min(scene.freezeMs, STALL_MS_MAX),
      mend: async () => {
        const thawed = Bun.spawn(["fsfreeze", "--unfreeze", place], {
          stdio: ["ignore", "ignore", "ignore"],
        });
        await thawed.exited;
        process.kill(-guard.pid, "SIGKILL");
        await scene.cluster.boot(victim);
      },
    };
  };
}

const small = "three, small disks";
const stalling = "three, disks that stall";

export const DISK_FAULTS: readonly Fault[] = [
  { name: "data disk of the primary full", setup: small, expects: "writes", inject: fill(primary, placeOf) },
  { name: "data disk of a standby full", setup: small, expects: "writes", inject: fill(standby, placeOf) },
  { name: "pg_wal of the primary full", setup: small, expects: "writes", inject: fillWal },
  {
    name: "own disk full beside the primary",
    setup: small,
    expects: "writes",
    inject: fill(primary, ownDirectoryOf),
  },
  {
    name: "own disk of the leader full",
    setup: small,
    expects: "writes",
    inject: fill(leader, ownDirectoryOf),
  },
  {
    name: "data disk of the primary stalls",
    setup: stalling,
    expects: "failover",
    inject: stall(primary, placeOf),
  },
  {
    name: "data disk of a standby stalls",
    setup: stalling,
    expects: "writes",
    inject: stall(standby, placeOf),
  },
  {
    name: "own disk of the leader stalls",
    setup: stalling,
    expects: "writes",
    inject: stall(leader, ownDirectoryOf),
  },
  {
    name: "own disk stalls beside the primary",
    setup: stalling,
    expects: "writes",
    inject: stall(primary, ownDirectoryOf),
  },
];
