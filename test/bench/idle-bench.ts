/** What a healthy cluster costs its hosts while nothing happens. */
import { LocalCluster } from "../../src/demo/local-cluster.ts";
import { systemClock } from "../../src/main/system-clock.ts";
import type { CleanUps } from "./clean-ups.ts";
import { formatTable } from "./measured.ts";
import { memoryOf, processorSeconds } from "./resources.ts";

export interface IdleOptions {
  readonly binary: string;
  readonly binDirectory: string;
  readonly cleanUps: CleanUps;
  readonly integer: (min: number, max: number) => number;
  readonly say: (line: string) => void;
}

export interface IdleProcess {
  readonly member: string;
  readonly isLeader: boolean;
  readonly isPrimary: boolean;
  readonly process: "member" | "supervisor";
  readonly rssMb: number;
  readonly pssMb: number;
  readonly anonymousMb: number;
  readonly processorPercent: number;
}

type Cost = Pick<IdleProcess, "rssMb" | "pssMb" | "anonymousMb" | "processorPercent">;

const WARM_UP_MS = 10_000;
const IDLE_MS = 30_000;
const WHOLE_MS_MAX = 60_000;

export async function measureIdle(options: IdleOptions): Promise<readonly IdleProcess[]> {
  const { binary, binDirectory, integer, cleanUps, say } = options;
  const cluster = new LocalCluster({
    size: 3,
    command: [binary],
    binDirectory,
    environment: process.env,
    clock: systemClock,
    integer,
    prefix: "guacamole-bench-",
  });
  cleanUps.add(() => cluster.remove());
  await Promise.all(cluster.members.map((member) => cluster.start(member)));
  await cluster.form("bench");
  await cluster.initialize();
  await cluster.until("every member streams", WHOLE_MS_MAX, () => cluster.isWhole());
  say(`bench: idle for ${(WARM_UP_MS + IDLE_MS) / 1000} s`);
  await systemClock.sleep(WARM_UP_MS);
  const seen = await cluster.anyCluster();
  const watched = cluster.members.flatMap((member) => [
    { member, process: "member" as const, pid: member.process?.pid ?? 0 },
    { member, process: "supervisor" as const, pid: cluster.supervisorPid(member) ?? 0 },
  ]);
  const before = watched.map(({ pid }) => processorSeconds(pid));
  const fromMs = systemClock.nowMs();
  await systemClock.sleep(IDLE_MS);
  const seconds = (systemClock.nowMs() - fromMs) / 1000;
  return watched.map(({ member: { name }, process: kind, pid }, index) => ({
    member: name,
    isLeader: name === seen?.raft.leader,
    isPrimary: name === seen?.reign?.primary,
    process: kind,
    ...memoryOf(pid),
    processorPercent: ((processorSeconds(pid) - (before[index] ?? 0)) / seconds) * 100,
  }));
}

export function idleTable(idle: readonly IdleProcess[]): string {
  const rows = idle.map(({ member, isLeader, isPrimary, process: kind, ...cost }) => [
    `${member} ${kind}${isLeader ? ", leader" : ""}${isPrimary ? ", primary" : ""}`,
    ...costCells(cost),
  ]);
  const names = [...new Set(idle.map(({ member }) => member))];
  const sums = names.map((name) => {
    const own = idle.filter(({ member }) => member === name);
    const sum = (key: keyof Cost): number => own.reduce((total, each) => total + each[key], 0);
    return [
      `${name} together${own[0]?.isLeader ? ", leader" : ""}`,
      ...costCells({
        rssMb: sum("rssMb"),
        pssMb: sum("pssMb"),
        anonymousMb: sum("anonymousMb"),
        processorPercent: sum("processorPercent"),
      }),
    ];
  });
  return formatTable([["idle", "RSS MB", "PSS MB", "own MB", "CPU %"], ...rows, ...sums]);
}

function costCells({ rssMb, pssMb, anonymousMb, processorPercent }: Cost): string[] {
  return [rssMb, pssMb, anonymousMb].map((value) => value.toFixed(1)).concat(processorPercent.toFixed(2));
}
