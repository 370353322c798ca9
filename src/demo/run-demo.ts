/** `guacamole demo`: a whole cluster on this machine, two failures, and a proof that nothing was lost. */
import { randomBytes, randomInt } from "node:crypto";
import { join } from "node:path";
import type { ClusterDocument } from "../api/documents.ts";
import type { Clock } from "../base/clock.ts";
import type { DemoOptions } from "../cli/ports.ts";
import { renderStatus } from "../cli/render-status.ts";
import type { Terminal } from "../cli/terminal.ts";
import { createLedgerDatabase, LedgerWriter } from "../postgres/ledger-writer.ts";
import { findInstallation, inspectInstallation } from "../postgres/versions.ts";
import { LocalCluster, type LocalMember } from "./local-cluster.ts";
import { Pgbench } from "./pgbench.ts";

export interface DemoPorts {
  readonly selfCommand: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly terminal: Terminal;
  readonly interrupted: AbortSignal;
}

const EXIT_OK = 0;
const EXIT_USAGE = 2;
const EXIT_FAILED = 5;
const MEMBERS = 3;
const WRITERS = 4;
const REDRAW_MS = 250;
const REPORT_MS = 2_000;
const FAILOVER_MS_MAX = 60_000;
const REJOIN_MS_MAX = 120_000;

/** @returns the exit code: 0 only if nothing was lost and all members stream at the end. */
export async function runDemo(options: DemoOptions, ports: DemoPorts): Promise<number> {
  const installation =
    options.binDir === null
      ? findInstallation(ports.environment["PATH"] ?? "")
      : inspectInstallation(options.binDir);
  if (!installation.ok) {
    ports.terminal.err(`guacamole: ${installation.error}\n`);
    return EXIT_USAGE;
  }
  const cluster = new LocalCluster({
    size: MEMBERS,
    command: ports.selfCommand,
    binDirectory: installation.value.binDirectory,
    environment: ports.environment,
    clock: ports.clock,
    integer: (min, max) => randomInt(min, max + 1),
    prefix: "guacamole-demo-",
  });
  const demo = new Demo(cluster, options, ports);
  try {
    demo.say(`PostgreSQL ${installation.value.version}, ${MEMBERS} members in ${cluster.root}`);
    return await demo.play();
  } catch (error) {
    if (ports.interrupted.aborted) demo.say("interrupted");
    else demo.say(`the demo failed: ${error instanceof Error ? error.message : String(error)}`);
    return EXIT_FAILED;
  } finally {
    await demo.close();
    if (!options.isKept || ports.interrupted.aborted) await cluster.remove();
  }
}

interface Failure {
  readonly title: string;
  readonly gapMs: number;
  readonly from: string;
  readonly to: string;
  readonly isRejoined: boolean;
}

class Demo {
  readonly #cluster: LocalCluster;
  readonly #options: DemoOptions;
  readonly #ports: DemoPorts;
  readonly #startedAtMs: number;
  readonly #failures: Failure[] = [];
  #ledger: LedgerWriter | null = null;
  #pgbench: Pgbench | null = null;
  #token = "";
  #headline = "";
  #drawnLines = 0;
  #reportedAtMs = Number.NEGATIVE_INFINITY;

  constructor(cluster: LocalCluster, options: DemoOptions, ports: DemoPorts) {
    this.#cluster = cluster;
    this.#options = options;
    this.#ports = ports;
    this.#startedAtMs = ports.clock.nowMs();
  }

  async play(): Promise<number> {
    await this.#build();
    await this.#load();
    await this.#watch(this.#options.seconds * 1000, "writing");
    await this.#fail("the primary's postmaster is killed (SIGKILL)", async (primary) => {
      this.#cluster.killPostmaster(primary);
    });
    await this.#watch(this.#options.seconds * 1000, "writing");
    await this.#fail("the primary's whole member is killed, all its processes (SIGKILL)", (primary) =>
      this.#cluster.killEverything(primary),
    );
    await this.#watch(this.#options.seconds * 1000, "writing");
    return this.#conclude();
  }

  async close(): Promise<void> {
    await this.#pgbench?.stop();
    await this.#ledger?.stop();
    await this.#ledger?.close();
  }

  /** A line of the story, with the seconds since the beginning. */
  say(text: string): void {
    const seconds = ((this.#ports.clock.nowMs() - this.#startedAtMs) / 1000).toFixed(1);
    this.#erase();
    this.#ports.terminal.out(`${seconds.padStart(6)} s  ${text}\n`);
  }

  async #build(): Promise<void> {
    const begunAtMs = this.#ports.clock.nowMs();
    await Promise.all(this.#cluster.members.map((member) => this.#cluster.start(member)));
    this.say("three members run; PostgreSQL is untouched until somebody says what to build");
    this.#token = await this.#cluster.form("demo");
    this.say("m1 formed a control plane, m2 and m3 joined it");
    let phase = "";
    await this.#cluster.initialize((operation) => {
      this.#stopIfInterrupted();
      if (operation.phase !== phase) this.say(operation.log.at(-1)?.message ?? operation.phase);
      phase = operation.phase;
    });
    await this.#waitUntilWhole("every member streams");
    this.say(
      `nothing to a healthy cluster in ${((this.#ports.clock.nowMs() - begunAtMs) / 1000).toFixed(1)} s`,
    );
  }

  async #load(): Promise<void> {
    const { clock } = this.#ports;
    const primary = await this.#primary();
    const password = randomBytes(18).toString("hex");
    const place = { socketDirectory: primary.socketDirectory, port: primary.postgresPort };
    await createLedgerDatabase({ ...place, username: "demo", password });
    const servers = this.#cluster.members.map(({ name, postgresPort }) => ({
      name,
      host: "127.0.0.1",
      port: postgresPort,
    }));
    const login = { username: "demo", password, database: "demo" };
    this.#ledger = new LedgerWriter({ servers, ...login, writers: WRITERS, pauseMs: 2, clock });
    await this.#ledger.prepare();
    this.#pgbench = new Pgbench({
      program: join(this.#cluster.binDirectory, "pgbench"),
      servers,
      ...login,
      environment: this.#ports.environment,
      clock,
    });
    await this.#pgbench.prepare();
    this.#pgbench.start();
    this.#ledger.start();
    this.say(`pgbench runs, and ${WRITERS} writers insert rows and remember each one that was acknowledged`);
  }

  /** Kills, waits for another primary, for the writers to go on, and for all to stream again. */
  async #fail(title: string, kill: (primary: LocalMember) => Promise<void>): Promise<void> {
    const { clock } = this.#ports;
    const primary = await this.#primary();
    this.say(`${primary.name}: ${title}`);
    const killedAtMs = clock.nowMs();
    await kill(primary);
    this.#headline = `${primary.name} was killed`;
    let successor = "";
    await this.#until("another member takes writes", FAILOVER_MS_MAX, (seen) => {
      successor = seen.reign?.primary ?? "";
      return successor !== primary.name && seen.isWritable && this.#hasWrittenSince(killedAtMs + 1);
    });
    await clock.sleep(200);
    const gapMs = Math.round(this.#ledger?.longestSilenceMs(killedAtMs - 20, clock.nowMs()) ?? 0);
    this.say(`${successor} is the primary; writes stood still for ${gapMs} ms`);
    if (primary.process === null) {
      this.say(`${primary.name} is started again, as after a reboot`);
      await this.#cluster.start(primary);
    }
    await this.#waitUntilWhole(`${primary.name} streams again`);
    this.say(`${primary.name} has rejoined by itself`);
    this.#failures.push({ title, gapMs, from: primary.name, to: successor, isRejoined: true });
  }

  #hasWrittenSince(sinceMs: number): boolean {
    const last = this.#ledger?.acknowledged.at(-1);
    return last !== undefined && last.atMs > sinceMs;
  }

  async #waitUntilWhole(what: string): Promise<void> {
    await this.#until(what, REJOIN_MS_MAX, (seen) => {
      return (
        seen.isWritable &&
        seen.members.every(({ role, state }) => role === "primary" || state === "streaming")
      );
    });
  }

  async #until(
    what: string,
    deadlineMs: number,
    condition: (seen: ClusterDocument) => boolean,
  ): Promise<void> {
    await this.#cluster.until(what, deadlineMs, async () => {
      this.#stopIfInterrupted();
      const seen = await this.#cluster.anyCluster();
      if (seen !== null) this.#draw(seen, `waiting until ${what}`);
      return seen !== null && condition(seen);
    });
  }

  async #watch(durationMs: number, headline: string): Promise<void> {
    const untilMs = this.#ports.clock.nowMs() + durationMs;
    this.#headline = headline;
    while (this.#ports.clock.nowMs() < untilMs) {
      this.#stopIfInterrupted();
      const seen = await this.#cluster.anyCluster();
      if (seen !== null) this.#draw(seen, headline);
      await this.#ports.clock.sleep(REDRAW_MS);
    }
  }

  async #primary(): Promise<LocalMember> {
    const seen = await this.#cluster.anyCluster();
    if (seen?.reign == null) throw new Error("the cluster has no primary");
    return this.#cluster.member(seen.reign.primary);
  }

  async #conclude(): Promise<number> {
    const ledger = this.#ledger;
    if (ledger === null) throw new Error("the ledger was opened");
    await this.#pgbench?.stop();
    await ledger.stop();
    const lost = await ledger.missing();
    const acknowledged = ledger.acknowledged.length;
    const isWhole = await this.#cluster.isWhole();
    const rejoined = this.#failures.filter(({ isRejoined }) => isRejoined).length;
    const final = await this.#cluster.anyCluster();
    this.say("the end");
    if (final !== null) this.#ports.terminal.out(`\n${renderStatus(final)}\n`);
    this.#ports.terminal.out(`${this.#summary(acknowledged, lost.length, isWhole)}\n`);
    if (this.#options.isKept) this.#ports.terminal.out(this.#invitation(final));
    const gaps = this.#failures.map(({ gapMs }) => gapMs).join(",");
    this.#ports.terminal.out(
      `demo: failovers=${final?.failoverCount ?? 0} gap_ms=${gaps} acknowledged=${acknowledged} lost=${lost.length} rejoined=${rejoined}\n`,
    );
    return lost.length === 0 && isWhole && rejoined === this.#failures.length ? EXIT_OK : EXIT_FAILED;
  }

  #summary(acknowledged: number, lost: number, isWhole: boolean): string {
    const stories = this.#failures.map(
      ({ title, from, to, gapMs }) =>
        `  ${from}: ${title}\n      ${to} took over; writes stood still for ${gapMs} ms; ${from} rejoined by itself`,
    );
    const unknown = this.#ledger?.unknownCount ?? 0;
    return [
      ...stories,
      `  ${acknowledged} rows were acknowledged; ${lost === 0 ? "every one of them is" : `${lost} ARE NOT`} on the primary`,
      `  ${unknown} rows were under way when a server died; nobody was promised anything about them`,
      `  ${isWhole ? "all members stream" : "NOT all members stream"}`,
      "",
    ].join("\n");
  }

  #invitation(seen: ClusterDocument | null): string {
    const primary =
      this.#cluster.members.find(({ name }) => name === seen?.reign?.primary) ?? this.#cluster.members[0];
    if (primary === undefined) return "";
    const user = process.getuid?.() === 0 ? "" : " (as this user)";
    const pids = this.#cluster.members.flatMap((member) => [
      member.process?.pid,
      this.#cluster.supervisorPid(member),
      this.#cluster.postmasterPid(member),
    ]);
    const socket = join(primary.directory, "member", "api.sock");
    return [
      "The cluster is left running:",
      `  psql       ${join(this.#cluster.binDirectory, "psql")} -h ${primary.socketDirectory} -p ${primary.postgresPort} -U postgres${user}`,
      `  API        https://127.0.0.1:${primary.apiPort}/v1/cluster`,
      `  Swagger    https://127.0.0.1:${primary.apiPort}/swagger (the certificate is the cluster's own)`,
      `  CA         ${join(primary.directory, "member", "tls", "ca.crt")}`,
      `  token      ${this.#token}`,
      `  status     ${this.#ports.selfCommand.join(" ")} status --socket ${socket} --watch`,
      `  stop it    kill -9 ${pids.filter((pid) => pid !== null && pid !== undefined).join(" ")}; sleep 1; rm -r ${this.#cluster.root}`,
      "",
    ].join("\n");
  }

  #stopIfInterrupted(): void {
    if (this.#ports.interrupted.aborted) throw new Error("interrupted");
  }

  /** On a terminal a table that is drawn again and again; elsewhere a line now and then. */
  #draw(seen: ClusterDocument, what: string): void {
    const { terminal, clock } = this.#ports;
    const rate = this.#rate();
    if (terminal.isInteractive && !this.#options.isPlain) {
      const text = `\n${renderStatus(seen)}\n${this.#headline} · ${rate} acknowledged rows/s · pgbench ${this.#pgbench?.describe() ?? "-"}\n`;
      this.#erase();
      terminal.out(text);
      this.#drawnLines = text.split("\n").length - 1;
      return;
    }
    if (clock.nowMs() - this.#reportedAtMs < REPORT_MS) return;
    this.#reportedAtMs = clock.nowMs();
    const members = seen.members.map(
      ({ name, role, state, timeline }) => `${name}=${role}/${state}/tl${timeline ?? "-"}`,
    );
    this.say(`${what}: ${members.join(" ")} ${rate} rows/s`);
  }

  #erase(): void {
    if (this.#drawnLines === 0) return;
    this.#ports.terminal.out(`\u001b[${this.#drawnLines}A\u001b[0J`);
    this.#drawnLines = 0;
  }

  /** Acknowledged rows in the last second. */
  #rate(): number {
    const sinceMs = this.#ports.clock.nowMs() - 1000;
    const rows = this.#ledger?.acknowledged ?? [];
    let count = 0;
    for (let index = rows.length - 1; index >= 0 && (rows[index]?.atMs ?? 0) > sinceMs; index -= 1)
      count += 1;
    return count;
  }
}
