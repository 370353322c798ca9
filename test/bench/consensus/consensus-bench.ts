/**
 * How fast commands are agreed and reads confirmed, beside etcd and beside the bare disk, all in turn on one machine; how
 * long a lost leader is missed; whether a busy machine costs an election; what a long log costs; what more members cost.
 */
import { join } from "node:path";
import { ConsensusGroup, loopbackHosts } from "../../support/consensus-group.ts";
import type { CleanUps } from "../clean-ups.ts";
import { type Memory, memoryOf } from "../resources.ts";
import { AskedProcess } from "./asked-process.ts";
import { withBusyCores } from "./busy-machine.ts";
import type { Seen } from "./closed-loop.ts";
import type { ConsensusPart, Effort } from "./effort.ts";
import { type EtcdTiming, EtcdTrio } from "./etcd-trio.ts";
import type { LoadRequest, LoadTarget } from "./load-client.ts";
import { MemberGroup } from "./member-group.ts";
import type { Seat } from "./member-protocol.ts";
import type { Cell, Growth, LongLog, Replacement, Restart, Steady, Subject } from "./report.ts";
import { measureSyncFloor } from "./sync-floor.ts";

export interface ConsensusBenchOptions {
  readonly parts: ReadonlySet<ConsensusPart>;
  readonly effort: Effort;
  /** Null: etcd is not on this machine, and everything is measured without it. */
  readonly etcd: string | null;
  /** On the disk that is measured; removed at the end. */
  readonly directory: string;
  /** Our heartbeat and election time, for an etcd that is as impatient. */
  readonly timing: EtcdTiming;
  readonly cleanUps: CleanUps;
  readonly integer: (min: number, max: number) => number;
  readonly say: (line: string) => void;
}

export interface ConsensusResults {
  readonly floor: readonly Seen[];
  readonly cells: readonly Cell[];
  readonly replacement: Replacement | null;
  readonly steady: Steady | null;
  readonly restart: Restart | null;
  readonly growth: readonly Growth[];
}

const PAYLOAD_BYTES = 256;

/** How many clients each subject is measured with. */
const CLIENTS: Readonly<Record<"write" | "read", Readonly<Record<Subject, readonly number[]>>>> = {
  write: { etcd: [1, 4, 16, 64, 256], inside: [1, 4, 16, 64, 256], api: [1, 4, 16, 64] },
  read: { etcd: [1, 16, 64], inside: [1, 16, 64], api: [1, 16, 64] },
};
const ALL_CLIENTS = [1, 4, 16, 64, 256];

const GROUPS: readonly { readonly voters: number; readonly learners: number }[] = [
  { voters: 3, learners: 0 },
  { voters: 5, learners: 0 },
  { voters: 7, learners: 0 },
  { voters: 3, learners: 20 },
];

type Measure = (kind: "write" | "read", clients: number) => Promise<Seen>;

export class ConsensusBench {
  readonly #options: ConsensusBenchOptions;
  readonly #cells: (Cell & { readonly rounds: Seen[]; readonly clients: number })[] = [];
  readonly #floor: Seen[] = [];
  readonly #growth: Growth[] = [];
  #replacement: Replacement | null = null;
  #steady: Steady | null = null;
  #restart: Restart | null = null;
  #made = 0;

  constructor(options: ConsensusBenchOptions) {
    this.#options = options;
  }

  /** What was measured so far. */
  get results(): ConsensusResults {
    return {
      floor: this.#floor,
      cells: this.#cells,
      replacement: this.#replacement,
      steady: this.#steady,
      restart: this.#restart,
      growth: this.#growth,
    };
  }

  async run(): Promise<void> {
    const { parts } = this.#options;
    if (parts.has("load")) await this.#measureLoad();
    if (parts.has("replacement")) await this.#measureReplacement();
    if (parts.has("steady")) await this.#measureSteady();
    if (parts.has("restart")) await this.#measureRestart();
    if (parts.has("growth")) await this.#measureGrowth();
  }

  // --- Load -------------------------------------------------------------------------------------------------------

  async #measureLoad(): Promise<void> {
    const { effort, say } = this.#options;
    const subjects: readonly (readonly [Subject, Measure])[] = [
      ...(await this.#etcdSubject()),
      ["inside", await this.#insideSubject()],
      ["api", await this.#apiSubject()],
    ];
    for (let round = 1; round <= effort.rounds; round += 1) {
      this.#floor.push(measureSyncFloor(this.#options.directory, PAYLOAD_BYTES));
      for (const kind of ["write", "read"] as const) {
        for (const clients of ALL_CLIENTS) {
          for (const [subject, measure] of subjects) {
            if (!CLIENTS[kind][subject].includes(clients)) continue;
            const seen = await measure(kind, clients);
            this.#cell(subject, kind, clients).push(seen);
            say(`bench: round ${round}, ${subject}, ${kind}, ${describe(seen)}`);
          }
        }
      }
    }
    await this.#options.cleanUps.run();
  }

  async #etcdSubject(): Promise<readonly (readonly [Subject, Measure])[]> {
    const trio = await this.#newEtcd(null);
    if (trio === null) return [];
    const port = await trio.leaderPort();
    const client = await this.#newLoadClient({ kind: "etcd", port, payloadBytes: PAYLOAD_BYTES });
    return [["etcd", this.#measureOf(client)]];
  }

  async #insideSubject(): Promise<Measure> {
    const group = await this.#newGroup(3, 0);
    const { warmUpMs, measureMs } = this.#options.effort;
    return (kind, clients) => group.load(kind, { clients, warmUpMs, measureMs });
  }

  async #apiSubject(): Promise<Measure> {
    const group = new ConsensusGroup(loopbackHosts(3));
    this.#options.cleanUps.add(() => group.remove());
    await group.form();
    const { leader } = await group.agreedLeader();
    const { token, caPem } = group.access;
    const origin = `https://${leader.apiAddress}`;
    return this.#measureOf(
      await this.#newLoadClient({ kind: "api", origin, token, caPem, memberName: leader.name }),
    );
  }

  #measureOf(client: AskedProcess<LoadRequest>): Measure {
    const { warmUpMs, measureMs } = this.#options.effort;
    return (kind, clients) =>
      client.ask<Seen>({ type: "load", kind, load: { clients, warmUpMs, measureMs } });
  }

  #cell(subject: Subject, kind: "write" | "read", clients: number): Seen[] {
    const found = this.#cells.find(
      (cell) => cell.subject === subject && cell.kind === kind && cell.clients === clients,
    );
    if (found !== undefined) return found.rounds;
    const rounds: Seen[] = [];
    this.#cells.push({ subject, kind, clients, rounds });
    return rounds;
  }

  // --- Failures ---------------------------------------------------------------------------------------------------

  async #measureReplacement(): Promise<void> {
    const { effort, timing, say, cleanUps } = this.#options;
    const group = await this.#newGroup(3, 0);
    const etcd = await this.#newEtcd(null);
    const impatient = await this.#newEtcd(timing);
    const found = { oursMs: [] as number[], etcdMs: [] as number[], etcdSameTimingMs: [] as number[] };
    this.#replacement = found;
    for (let kill = 1; kill <= effort.kills; kill += 1) {
      found.oursMs.push(await group.replaceLeader());
      if (etcd !== null) found.etcdMs.push(await etcd.replaceLeader());
      if (impatient !== null) found.etcdSameTimingMs.push(await impatient.replaceLeader());
      const last = [found.oursMs, found.etcdMs, found.etcdSameTimingMs].map((each) => whole(each.at(-1)));
      say(
        `bench: leader ${kill} of ${effort.kills} replaced: ours ${last[0]}, etcd ${last[1]}, etcd as impatient ${last[2]}`,
      );
    }
    await cleanUps.run();
  }

  async #measureSteady(): Promise<void> {
    const { effort, say, cleanUps } = this.#options;
    const group = await this.#newGroup(3, 0);
    say(`bench: every core busy for ${effort.steadyMs / 1000} s`);
    const before = await group.term();
    const [commits, busyProcesses] = await withBusyCores(cleanUps, async (count) => {
      const load = { clients: 1, warmUpMs: effort.warmUpMs, measureMs: effort.steadyMs };
      return [await group.load("write", load), count] as const;
    });
    const elections = (await group.term()) - before;
    this.#steady = { lastedMs: effort.steadyMs, busyProcesses, elections, commits };
    say(`bench: elections: ${elections}`);
    await cleanUps.run();
  }

  // --- A long log -------------------------------------------------------------------------------------------------

  async #measureRestart(): Promise<void> {
    const { effort, say } = this.#options;
    const { entries } = effort;
    const tell = (who: string, found: LongLog): LongLog => {
      const { catchUpMs, restartMs, memory } = found;
      say(
        `bench: ${entries} entries, ${who}: caught up in ${whole(catchUpMs)}, restarted in ${whole(restartMs)}, ${Math.round(memory.pssMb)} MB`,
      );
      return found;
    };
    const kept = tell("nothing compacted", await this.#longLog({ trailingEntries: 10 * entries }));
    const compacted = tell("as it comes", await this.#longLog({}));
    const etcd = await this.#longLogOfEtcd();
    if (etcd !== null) tell("etcd", etcd);
    this.#restart = { entries, etcd, whole: kept, compacted };
  }

  async #longLog(limits: Seat["limits"]): Promise<LongLog> {
    const group = await this.#newGroup(3, 0, limits);
    const catchUpMs = await group.catchUp(() => group.fill(this.#options.effort.entries));
    const restartMs = await group.catchUp(nothing);
    const { floor, last } = await group.logBounds();
    const memory = largest(group.pids);
    await this.#options.cleanUps.run();
    return { catchUpMs, restartMs, memory, logEntries: last - floor };
  }

  async #longLogOfEtcd(): Promise<LongLog | null> {
    const etcd = await this.#newEtcd(null);
    if (etcd === null) return null;
    const port = await etcd.leaderPort();
    const client = await this.#newLoadClient({ kind: "etcd", port, payloadBytes: PAYLOAD_BYTES });
    const catchUpMs = await etcd.catchUp(async () => {
      await client.ask({ type: "fill", count: this.#options.effort.entries });
    });
    const restartMs = await etcd.catchUp(nothing);
    const memory = largest(etcd.pids);
    await this.#options.cleanUps.run();
    return { catchUpMs, restartMs, memory, logEntries: null };
  }

  // --- More members -----------------------------------------------------------------------------------------------

  async #measureGrowth(): Promise<void> {
    const { effort, say, cleanUps } = this.#options;
    const { warmUpMs, measureMs } = effort;
    for (const { voters, learners } of GROUPS) {
      const group = await this.#newGroup(voters, learners);
      const oneClient = await group.load("write", { clients: 1, warmUpMs, measureMs: 2 * measureMs });
      const manyClients = await group.load("write", { clients: 64, warmUpMs, measureMs: 2 * measureMs });
      this.#growth.push({ voters, learners, oneClient, manyClients });
      say(`bench: ${voters} voters, ${learners} learners: ${describe(oneClient)}; ${describe(manyClients)}`);
      await cleanUps.run();
    }
  }

  // --- Who is measured --------------------------------------------------------------------------------------------

  async #newGroup(voters: number, learners: number, limits: Seat["limits"] = {}): Promise<MemberGroup> {
    const { integer, cleanUps } = this.#options;
    const directory = this.#newDirectory("members");
    const group = new MemberGroup({ voters, learners, limits, integer, directory });
    cleanUps.add(() => group.remove());
    await group.start();
    return group;
  }

  async #newEtcd(timing: EtcdTiming | null): Promise<EtcdTrio | null> {
    const { etcd, integer, cleanUps } = this.#options;
    if (etcd === null) return null;
    const trio = new EtcdTrio({ program: etcd, directory: this.#newDirectory("etcd"), timing, integer });
    cleanUps.add(() => trio.remove());
    await trio.start();
    return trio;
  }

  async #newLoadClient(target: LoadTarget): Promise<AskedProcess<LoadRequest>> {
    const client = new AskedProcess<LoadRequest>({
      name: `clients of ${target.kind}`,
      command: [process.execPath, join(import.meta.dir, "load-client.ts")],
    });
    this.#options.cleanUps.add(() => client.end("SIGKILL"));
    await client.ask({ type: "target", target });
    return client;
  }

  #newDirectory(prefix: string): string {
    this.#made += 1;
    return join(this.#options.directory, `${prefix}-${this.#made}`);
  }
}

async function nothing(): Promise<void> {}

/** Of the processes the one that takes most. */
function largest(pids: readonly number[]): Memory {
  const [first, ...others] = pids.map(memoryOf);
  if (first === undefined) throw new Error("there is a process to look at");
  return others.reduce((most, each) => (each.pssMb > most.pssMb ? each : most), first);
}

function describe({ clients, perSecond, p50Ms, p99Ms, clientProcessors }: Seen): string {
  return `${clients} clients: ${Math.round(perSecond)}/s, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms, clients' processors ${clientProcessors.toFixed(2)}`;
}

function whole(milliseconds: number | undefined): string {
  return milliseconds === undefined ? "-" : `${Math.round(milliseconds)} ms`;
}
