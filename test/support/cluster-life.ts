/**
 * The life of one cluster on this machine, told in tests that follow each other: the compiled binary, real processes, real
 * PostgreSQL, and a writer that remembers every acknowledged row from the beginning to the end.
 *
 * A test that fails prints what the members logged, and those after it say at once that they had no chance.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AuditRecordDocument, ClusterDocument } from "../../src/api/documents.ts";
import { LocalCluster, type LocalMember } from "../../src/demo/local-cluster.ts";
import { createLedgerDatabase, type LedgerServer, LedgerWriter } from "../../src/postgres/ledger-writer.ts";
import type { Installation } from "../../src/postgres/versions.ts";
import { remember, removed } from "./left-behind.ts";
import { nextPort } from "./ports-in-turn.ts";
import { realClock } from "./postgres-clock.ts";
import { postgresMajors } from "./postgres-majors.ts";
import { bareEnvironment, guacamole, type Run, testedBinary } from "./tested-binary.ts";

const HOOK_MS_MAX = 170_000;
/** Far more than anything here takes on a slow machine. */
export const DEADLINE_MS = 90_000;
export const LOGIN = { username: "ledger", password: "kept-nowhere-but-here", database: "ledger" };
const LOG_LINES_SHOWN = 40;

export function newestPostgres(): Installation {
  const newest = postgresMajors().at(-1);
  if (newest === undefined) throw new Error("no complete PostgreSQL is here: 'make test' brings one");
  return newest;
}

export function makeCluster(size: number, installation: Installation = newestPostgres()): LocalCluster {
  return new LocalCluster({
    size,
    command: [testedBinary()],
    binDirectory: installation.binDirectory,
    environment: bareEnvironment(),
    clock: realClock,
    integer: nextPort,
    prefix: "guacamole-e2e-",
  });
}

/** Each member's API gets one port more, by a key of its file. @returns the ports, by the members' names. */
export function addApiPort(cluster: LocalCluster, key: string): ReadonlyMap<string, number> {
  return new Map(
    cluster.members.map(({ name, configPath }) => {
      const port = nextPort(10_000, 30_000);
      const config = readFileSync(configPath, "utf8");
      writeFileSync(configPath, config.replace("[api]\n", `[api]\n${key} = "127.0.0.1:${port}"\n`));
      return [name, port];
    }),
  );
}

export class ClusterLife {
  readonly cluster: LocalCluster;
  token = "";
  #ledger: LedgerWriter | null = null;
  #failedIn: string | null = null;

  constructor(cluster: LocalCluster) {
    this.cluster = cluster;
    remember(cluster);
  }

  get binDirectory(): string {
    return this.cluster.binDirectory;
  }

  /** From nothing to a control plane of all members. PostgreSQL is untouched. */
  async form(name = "e2e"): Promise<void> {
    await Promise.all(this.cluster.members.map((member) => this.cluster.start(member)));
    this.token = await this.cluster.form(name);
  }

  async bringUp(name = "e2e"): Promise<void> {
    await this.form(name);
    await this.cluster.initialize();
    await this.untilWhole();
  }

  /** From now on rows are written, through everything that happens: to the servers, or through what stands before them. */
  async startWriting(balancer: LedgerServer | null = null): Promise<void> {
    const { socketDirectory, postgresPort } = await this.primary();
    await createLedgerDatabase({ ...LOGIN, socketDirectory, port: postgresPort });
    const members = this.cluster.members.map((member) => ({
      name: member.name,
      host: "127.0.0.1",
      port: member.postgresPort,
    }));
    const servers = balancer === null ? members : [balancer];
    this.#ledger = new LedgerWriter({ ...LOGIN, servers, writers: 2, pauseMs: 4, clock: realClock });
    await this.#ledger.prepare();
    this.#ledger.start();
    await this.untilWritesGoOn();
  }

  /** Some rows more are acknowledged from this moment on. */
  async untilWritesGoOn(rows = 20): Promise<void> {
    const ledger = this.ledger;
    const before = ledger.acknowledged.length;
    await this.until("writes go on", async () => ledger.acknowledged.length >= before + rows);
  }

  /** Each row that was ever acknowledged is on the primary. */
  async expectNothingLost(): Promise<void> {
    expect(this.ledger.acknowledged.length).toBeGreaterThan(0);
    expect(await this.ledger.missing()).toEqual([]);
  }

  get ledger(): LedgerWriter {
    if (this.#ledger === null) throw new Error("nothing was written yet");
    return this.#ledger;
  }

  until(what: string, condition: () => Promise<boolean>): Promise<void> {
    return this.cluster.until(what, DEADLINE_MS, condition);
  }

  /** Waits until what a member that answers says of the cluster is as wanted. */
  async seen(what: string, isWanted: (seen: ClusterDocument) => boolean): Promise<ClusterDocument> {
    let found: ClusterDocument | null = null;
    await this.until(what, async () => {
      found = await this.cluster.anyCluster();
      return found !== null && isWanted(found);
    });
    if (found === null) throw new Error(`never seen: ${what}`);
    return found;
  }

  async now(): Promise<ClusterDocument> {
    return this.seen("a member answers", () => true);
  }

  async untilWhole(): Promise<void> {
    await this.until("the primary takes writes and everybody else streams", () => this.cluster.isWhole());
  }

  /** Another member than `former` is primary and takes writes. */
  async successorOf(former: LocalMember): Promise<LocalMember> {
    const { reign } = await this.seen(
      `another member than ${former.name} takes writes`,
      (seen) => seen.reign !== null && seen.reign.primary !== former.name && seen.isWritable,
    );
    return this.cluster.member(reign?.primary ?? "");
  }

  async primary(): Promise<LocalMember> {
    const { reign } = await this.seen("there is a primary", (seen) => seen.reign !== null);
    return this.cluster.member(reign?.primary ?? "");
  }

  /** The members that are not the primary. */
  async standbys(): Promise<readonly LocalMember[]> {
    const primary = await this.primary();
    return this.cluster.members.filter((member) => member !== primary);
  }

  /** The binary's command line, asked through one member's own socket. */
  ask(member: LocalMember, ...args: readonly string[]): Promise<Run> {
    return guacamole(...args, "--socket", socketOf(member));
  }

  /** The audit trail as one member has it; `args` select from it. */
  async trail(member: LocalMember, ...args: readonly string[]): Promise<readonly AuditRecordDocument[]> {
    const { stdout } = await this.ask(member, "audit", "--output", "jsonl", ...args);
    return stdout
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as AuditRecordDocument);
  }

  /** SQL as the superuser over a member's Unix socket; output and errors as text. */
  async sql(member: LocalMember, text: string): Promise<string> {
    const { socketDirectory, postgresPort } = member;
    const place = `host=${socketDirectory} port=${postgresPort} user=postgres dbname=postgres`;
    const run = Bun.spawn([join(this.cluster.binDirectory, "psql"), "-XAtqc", text, place], {
      env: bareEnvironment(),
      stdout: "pipe",
      stderr: "pipe",
    });
    const [output, errors] = await Promise.all([run.stdout.text(), run.stderr.text()]);
    return `${output}${errors}`.trim();
  }

  /** How often a member's supervisor logged an event. */
  countEvents(member: LocalMember, event: string): number {
    const log = supervisorLogOf(member);
    return existsSync(log) ? readFileSync(log, "utf8").split(`"${event}"`).length - 1 : 0;
  }

  /** Runs one part of the story. */
  async play(part: string, body: () => Promise<void>): Promise<void> {
    if (this.#failedIn !== null)
      throw new Error(`not played: this cluster was left half way by '${this.#failedIn}'`);
    try {
      await body();
    } catch (error) {
      this.#failedIn = part;
      await this.#printLogs(part);
      throw error;
    }
  }

  async remove(): Promise<void> {
    await this.#ledger?.stop();
    await this.#ledger?.close();
    await this.cluster.remove();
    removed(this.cluster);
  }

  async #printLogs(part: string): Promise<void> {
    for (const member of this.cluster.members) {
      for (const file of [member.logPath, supervisorLogOf(member), postgresLogOf(member)]) {
        if (!existsSync(file)) continue;
        const lines = readFileSync(file, "utf8").trimEnd().split("\n").slice(-LOG_LINES_SHOWN);
        process.stdout.write(`\n'${part}' failed; the end of ${file}:\n${lines.join("\n")}\n`);
      }
    }
    process.stdout.write(`\n${JSON.stringify(await this.cluster.anyCluster(), null, 1)}\n`);
  }
}

export function socketOf(member: LocalMember): string {
  return join(member.directory, "member", "api.sock");
}

/** The supervisor's own files, beside the data directory. */
export function stateDirectoryOf(member: LocalMember): string {
  return `${member.dataDirectory}.guacamole`;
}

function supervisorLogOf(member: LocalMember): string {
  return join(stateDirectoryOf(member), "supervisor.log");
}

function postgresLogOf(member: LocalMember): string {
  return join(stateDirectoryOf(member), "postgresql.log");
}

type Part = (sentence: string, body: (life: ClusterLife) => Promise<void>) => void;

/**
 * A cluster that the parts share, in their order. It is made before the first and removed after the last.
 *
 * @param refusal why it cannot be played here; null: it can.
 */
export function describeLife(
  title: string,
  make: () => LocalCluster,
  tell: (part: Part) => void,
  refusal: string | null = null,
): void {
  describe.skipIf(refusal !== null)(refusal === null ? title : `${title} (${refusal})`, () => {
    let life: ClusterLife | null = null;
    beforeAll(() => {
      life = new ClusterLife(make());
    });
    afterAll(async () => {
      await life?.remove();
    }, HOOK_MS_MAX);
    tell((sentence, body) => {
      test(sentence, async () => {
        if (life === null) throw new Error("the cluster could not be made");
        const lived = life;
        await lived.play(sentence, () => body(lived));
      });
    });
  });
}
