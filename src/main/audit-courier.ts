/**
 * Brings the audit trail to a syslog daemon: of each change and each refusal, the member that was asked. A change is read out of what
 * is agreed, from where this member had come: it is sent once it is certain, after a restart too, twice rather than never (its id tells
 * that it is the same). A refusal is known here alone, and waits in memory, so many at most.
 *
 * Nothing waits for it: a daemon that is away is tried again and again, and told of in the log and in the status.
 */
import { existsSync, readFileSync } from "node:fs";
import { Turning } from "../agent/turning.ts";
import { describeChange } from "../api/describe-audit.ts";
import type { AuditRecordDocument } from "../api/documents.ts";
import type { Clock } from "../base/clock.ts";
import type { MemberId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { Consensus, StoredEvent } from "../cluster/consensus.ts";
import type { SyslogStatus } from "../cluster/observation.ts";
import { writeWhole } from "../postgres/durable-file.ts";
import type { SyslogLink } from "./syslog-link.ts";
import { formatLocalSyslog, formatSyslog, type SyslogSeverity, withinLength } from "./syslog-message.ts";
import { type SyslogConfig, syslogTargetName } from "./syslog-target.ts";

export interface AuditCourierOptions {
  readonly config: SyslogConfig;
  /** Rejects with why the daemon cannot be reached. */
  readonly open: () => Promise<SyslogLink>;
  /** Up to which event it was sent, and by which member. */
  readonly sentFile: string;
  readonly hostName: string;
  readonly version: string;
  readonly processId: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** More refusals than that do not wait: the oldest is lost. */
const WAITING_MAX = 1_000;
const EVENTS_AT_ONCE = 500;
/** Where nothing wakes it: something may have been applied in between. */
const LOOK_MS = 30_000;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 15_000;
/** Daemons take at least 2048 bytes, by default 8192 and more. */
const LENGTH_MAX = 7_500;

interface Source {
  readonly consensus: Consensus;
  readonly memberId: MemberId;
}

export class AuditCourier {
  readonly #options: AuditCourierOptions;
  readonly #turning: Turning;
  readonly #target: string;
  readonly #waiting: AuditRecordDocument[] = [];
  #source: Source | null = null;
  #unsubscribe: () => void = () => {};
  #link: SyslogLink | null = null;
  #isStopped = false;
  #problem: string | null = null;
  #retryMs = RETRY_MS_MIN;
  /** Id of the last event that needs not be looked at again; null: not read yet. */
  #sentUpTo: number | null = null;
  #sequence = 0;
  #lost = 0;
  #lostTold = 0;

  constructor(options: AuditCourierOptions) {
    this.#options = options;
    this.#target = syslogTargetName(options.config.target);
    this.#turning = new Turning(options.clock, () => this.#turn());
  }

  get status(): SyslogStatus {
    return {
      target: this.#target,
      problem: this.#problem,
      waiting: this.#waiting.length,
      lost: this.#lost,
    };
  }

  start(): void {
    this.#turning.start();
  }

  /** From here on changes are read, too. */
  attach(consensus: Consensus, memberId: MemberId): void {
    this.#source = { consensus, memberId };
    let appliedIndex = consensus.appliedIndex;
    this.#unsubscribe = consensus.onChange(() => {
      if (consensus.appliedIndex === appliedIndex) return;
      appliedIndex = consensus.appliedIndex;
      if (this.#problem === null) this.#turning.wake();
    });
    this.#turning.wake();
  }

  /** What no other member knows. */
  tell(record: AuditRecordDocument): void {
    this.#waiting.push(record);
    if (this.#waiting.length > WAITING_MAX) {
      this.#waiting.shift();
      this.#lost += 1;
    }
    if (this.#problem === null) this.#turning.wake();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#source = null;
    this.#unsubscribe();
    this.#link?.close();
    await this.#turning.stop();
    this.#link?.close();
  }

  async #turn(): Promise<number> {
    if (this.#isStopped) return LOOK_MS;
    try {
      await this.#sendLost();
      await this.#sendWaiting();
      await this.#sendChanges();
      this.#noteSent();
      return LOOK_MS;
    } catch (error) {
      return this.#noteProblem(error instanceof Error ? error.message : String(error));
    }
  }

  #noteSent(): void {
    if (this.#problem !== null) this.#options.log.info("audit.syslog-back", { target: this.#target });
    this.#problem = null;
    this.#retryMs = RETRY_MS_MIN;
  }

  /** @returns when to try again. */
  #noteProblem(problem: string): number {
    this.#link?.close();
    this.#link = null;
    if (this.#isStopped) return LOOK_MS;
    if (problem !== this.#problem)
      this.#options.log.warn("audit.syslog-away", { target: this.#target, problem });
    this.#problem = problem;
    const retryMs = this.#retryMs;
    this.#retryMs = Math.min(2 * retryMs, RETRY_MS_MAX);
    return retryMs;
  }

  async #sendLost(): Promise<void> {
    const lost = this.#lost;
    if (lost === this.#lostTold) return;
    await this.#send("audit.lost", "error", {
      at: new Date(this.#options.clock.wallMs()).toISOString(),
      lost: lost - this.#lostTold,
    });
    this.#lostTold = lost;
  }

  async #sendWaiting(): Promise<void> {
    while (true) {
      const [record] = this.#waiting;
      if (record === undefined) return;
      const isRead = record.outcome === "read";
      await this.#send(isRead ? "audit.read" : "audit.refused", isRead ? "notice" : "warning", record);
      // It may have been pushed out meanwhile.
      if (this.#waiting[0] === record) this.#waiting.shift();
    }
  }

  async #sendChanges(): Promise<void> {
    const source = this.#source;
    if (source === null) return;
    this.#sentUpTo ??= await this.#readSent(source);
    while (source === this.#source) {
      const before: number = this.#sentUpTo;
      const events = await this.#read(source, before);
      const [first] = events;
      if (first === undefined) return;
      if (before > 0 && first.id > before + 1) {
        // Not all of these were entries of the trail: how many, nobody knows any more.
        this.#lost += first.id - before - 1;
        this.#sentUpTo = first.id - 1;
        await this.#sendLost();
      }
      try {
        for (const event of events) {
          await this.#sendChange(event, source);
          this.#sentUpTo = event.id;
        }
      } finally {
        if (this.#sentUpTo !== before) this.#keepSent(source);
      }
    }
  }

  /** That nothing can be read is no trouble of the daemon's. */
  async #read({ consensus }: Source, afterId: number): Promise<readonly StoredEvent[]> {
    try {
      return await consensus.readEvents(afterId, EVENTS_AT_ONCE);
    } catch (error) {
      this.#options.log.debug("audit.not-read", { error: String(error) });
      return [];
    }
  }

  async #sendChange(event: StoredEvent, { consensus, memberId }: Source): Promise<void> {
    if (event.audit?.member !== memberId) return;
    const record = describeChange(event, consensus.state);
    await this.#send("audit.change", "notice", record);
  }

  async #send(
    messageId: string,
    severity: SyslogSeverity,
    content: AuditRecordDocument | { readonly at: string; readonly lost: number },
  ): Promise<void> {
    const { config, open, hostName, version, processId } = this.#options;
    this.#link ??= await open();
    if (this.#isStopped) throw new Error("the member is being stopped");
    const format = config.target.kind === "unix" ? formatLocalSyslog : formatSyslog;
    const message = format({
      facility: config.facility,
      severity,
      atMs: Date.parse(content.at),
      hostName,
      appName: "guacamole",
      processId,
      messageId,
      version,
      sequence: this.#sequence + 1,
      content: "values" in content ? withinLength(content, LENGTH_MAX) : content,
    });
    await this.#link.send(message);
    this.#sequence += 1;
  }

  /** What another member under this directory had sent says nothing; nor does an event that is not there any more or not yet. */
  async #readSent({ consensus, memberId }: Source): Promise<number> {
    const [id = "", text = ""] = readWords(this.#options.sentFile);
    const upTo = Number(text);
    if (id !== memberId || !Number.isSafeInteger(upTo) || upTo < 1) return 0;
    const next = await consensus.readEvents(upTo - 1, 1);
    return next.length === 0 ? 0 : upTo;
  }

  #keepSent({ memberId }: Source): void {
    try {
      writeWhole(this.#options.sentFile, `${memberId} ${this.#sentUpTo}\n`, 0o600);
    } catch (error) {
      // It is sent once more after a restart.
      this.#options.log.warn("audit.syslog-not-kept", { error: String(error) });
    }
  }
}

function readWords(file: string): readonly string[] {
  return existsSync(file) ? readFileSync(file, "utf8").trim().split(" ") : [];
}
