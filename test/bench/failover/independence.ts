/** Whether a failover takes longer with a large database, or with many clients. Ours alone, one cluster, in turn. */
import { statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import postgres from "postgres";
import type { Clock } from "../../../src/base/clock.ts";
import { postmasterPid, signal } from "./bench-hosts.ts";
import type { Arena, Contest } from "./contest.ts";
import type { Condition } from "./report.ts";
import type { RivalServer } from "./rival.ts";
import { connect } from "./writers.ts";

export interface IndependenceOptions {
  readonly contest: Contest;
  readonly runs: number;
  readonly clock: Clock;
  readonly say: (line: string) => void;
}

const IDLE_CLIENTS = 200;
const CONNECTIONS_MAX = 300;
const SCENARIOS = ["crash", "host-death"] as const;
/** A row of a kilobyte, so often. */
const GIGABYTE_ROWS = 1_000_000;
const ROWS_AT_ONCE = 100_000;
const SIZES = [
  { gigabytes: 2, condition: "2 GB database" },
  { gigabytes: 10, condition: "10 GB database" },
] as const;
/** Three servers on one disk, each with its WAL, and with room for a clone: so many times the database. */
const ROOM_FACTOR = 6;
const WAIT_MS_MAX = 300_000;

export async function measureIndependence(options: IndependenceOptions): Promise<void> {
  const { contest, say } = options;
  const arena = await contest.enter({ system: "guacamole", tuning: "default" }, "sync");
  if (arena === null) return;
  await allowManyConnections(arena, options);
  await failRepeatedly(arena, "before", options, async () => undefined);
  let idle: readonly postgres.Sql[] = [];
  await failRepeatedly(arena, "200 idle clients", options, async () => {
    await closeAll(idle);
    idle = await connectIdly(await primaryOf(arena), arena.password);
  });
  await closeAll(idle);
  let filled = 0;
  for (const { gigabytes, condition } of SIZES) {
    if (!(await hasRoom(gigabytes - filled))) {
      say(`bench: the disk has no room for a database of ${gigabytes} GB on each of three servers`);
      return;
    }
    say(`bench: a database of ${gigabytes} GB is being filled`);
    await fill(await primaryOf(arena), arena.password, { from: filled, to: gigabytes });
    filled = gigabytes;
    await waitUntil(options, "the standbys have it", () => hasCaughtUp(arena));
    await settle(arena);
    await failRepeatedly(arena, condition, options, async () => undefined);
  }
}

async function hasRoom(gigabytes: number): Promise<boolean> {
  const { bavail, bsize } = await statfs(tmpdir());
  return bavail * bsize > gigabytes * ROOM_FACTOR * 1e9;
}

async function failRepeatedly(
  arena: Arena,
  condition: Condition,
  { contest, runs }: IndependenceOptions,
  prepare: () => Promise<void>,
): Promise<void> {
  for (const scenario of SCENARIOS) {
    for (let run = 0; run < runs; run += 1) {
      await prepare();
      const { problem } = await contest.fail(arena, scenario, condition);
      if (problem !== null) throw new Error(problem);
    }
  }
}

/** PostgreSQL's own limit; it takes a restart of each, standbys first, as it wants it. */
async function allowManyConnections(arena: Arena, options: IndependenceOptions): Promise<void> {
  const primary = await primaryOf(arena);
  const standbys = arena.rival.servers.filter((server) => server !== primary);
  for (const server of [...standbys, primary]) {
    const sql = superuser(server);
    try {
      await sql.unsafe(`alter system set max_connections = ${CONNECTIONS_MAX}`);
    } finally {
      await sql.end({ timeout: 1 });
    }
    const pid = postmasterPid(server.dataDirectory);
    if (pid !== null) signal(pid, "SIGKILL");
    await waitUntil(options, `${server.name} is back`, async () => {
      const now = postmasterPid(server.dataDirectory);
      return now !== null && now !== pid && (await arena.servers.areWhole("sync"));
    });
  }
}

async function connectIdly(server: RivalServer, password: string): Promise<readonly postgres.Sql[]> {
  const clients = Array.from({ length: IDLE_CLIENTS }, () => connect(server, password));
  // A few at a time: a backlog that overflows is not what is measured.
  for (let at = 0; at < clients.length; at += 10)
    await Promise.all(clients.slice(at, at + 10).map((sql) => sql`select 1`));
  return clients;
}

async function closeAll(clients: readonly postgres.Sql[]): Promise<void> {
  await Promise.all(clients.map((sql) => sql.end({ timeout: 0 })));
}

interface Gigabytes {
  readonly from: number;
  readonly to: number;
}

async function fill(server: RivalServer, password: string, { from, to }: Gigabytes): Promise<void> {
  const sql = connect(server, password);
  try {
    await sql`create table if not exists large (row bigint, filling text)`;
    await sql`alter table large alter column filling set storage plain`;
    for (let row = from * GIGABYTE_ROWS; row < to * GIGABYTE_ROWS; row += ROWS_AT_ONCE) {
      await sql`insert into large select n, rpad(n::text, 1000, 'x')
        from generate_series(${row}::bigint, ${row + ROWS_AT_ONCE - 1}::bigint) n`;
    }
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function hasCaughtUp(arena: Arena): Promise<boolean> {
  const sql = connect(await primaryOf(arena), arena.password);
  try {
    const [row] = await sql<{ caught: boolean }[]>`
      select count(*) = 2 as caught from pg_stat_replication
      where state = 'streaming' and pg_current_wal_lsn() - replay_lsn < 16777216`;
    return row?.caught === true;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** What is asked is what a large database costs, not what it costs to write one: all of it is on the disk first. */
async function settle({ rival }: Arena): Promise<void> {
  for (const server of rival.servers) {
    const sql = superuser(server);
    try {
      await sql`checkpoint`;
    } finally {
      await sql.end({ timeout: 1 });
    }
  }
  Bun.spawnSync(["sync"]);
}

async function primaryOf({ rival, servers }: Arena): Promise<RivalServer> {
  const primary = rival.servers[(await servers.primary()) ?? -1];
  if (primary === undefined) throw new Error("no server takes writes");
  return primary;
}

function superuser(server: RivalServer): postgres.Sql {
  return postgres({
    host: server.socketDirectory,
    port: server.port,
    username: "postgres",
    database: "postgres",
    max: 1,
  });
}

async function waitUntil(
  { clock }: IndependenceOptions,
  what: string,
  condition: () => Promise<boolean>,
): Promise<void> {
  const untilMs = clock.nowMs() + WAIT_MS_MAX;
  while (!(await condition())) {
    if (clock.nowMs() > untilMs) throw new Error(`not in ${WAIT_MS_MAX / 1000} s: ${what}`);
    await clock.sleep(50);
  }
}
