import { readFileSync, readlinkSync, statSync } from "node:fs";
import { userInfo } from "node:os";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { isSameProcess, killProcess } from "./process-table.ts";

/** Who a member is: with its start it is one process for ever. */
export interface MemberProcessId {
  readonly pid: number;
  readonly startTicks: number;
}

export interface MemberGuardOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Starts a member that ended; it lives on by itself. */
  readonly start: (member: StartedMember) => void;
}

/** In the environment of a member that a supervisor started: it gives way to one that a service manager or a person starts. */
export const STAND_IN_VARIABLE = "GUACAMOLE_STAND_IN";

/** How a member was started, as the kernel tells it: the next one is started the same way. */
export interface StartedMember extends MemberProcessId {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly directory: string;
  /** The file its output goes to. Null: it is no file. */
  readonly outputFile: string | null;
}

/** A member is silent for too long after this share of a lease: the rest must do for its successor to renew it. */
const SILENCE_SHARE = 1 / 5;
/** Considered less often than this, nothing can be said of who was silent. */
const OWN_PAUSE_MS = 200;
/** How long a service manager is given to start the next member. */
const OTHERS_START_SHARE = 1 / 16;
const OTHERS_START_MS_MAX = 500;

/**
 * While PostgreSQL reigns under a lease, its member must go on asking for more. One that is frozen or gone is replaced before
 * the lease ends. Only on a host: in a pod the member's process is not to be seen from here.
 */
export class MemberGuard {
  readonly #options: MemberGuardOptions;
  #member: StartedMember | null = null;
  #heardAtMs = Number.NEGATIVE_INFINITY;
  /** The member is to be replaced since then. */
  #goneAtMs: number | null = null;
  #isGivenUp = false;
  #consideredAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: MemberGuardOptions) {
    this.#options = options;
  }

  /** A member said who it is. One that is not ours to look into is only listened to. */
  introduce({ pid, startTicks }: MemberProcessId): void {
    if (this.#member?.pid === pid && this.#member.startTicks === startTicks) return;
    this.#isGivenUp = false;
    try {
      if (!isSameProcess(pid, startTicks)) throw new Error("no such process is to be seen from here");
      if (statSync(`/proc/${pid}`).uid !== userInfo().uid) throw new Error("it runs as another system user");
      this.#member = readHowStarted(pid, startTicks);
    } catch (error) {
      this.#member = null;
      // Its service manager is who can start it again.
      this.#options.log.info("supervisor.member.not-ours", { pid, why: String(error) });
    }
  }

  /** Anything came from a member. */
  heard(): void {
    this.#heardAtMs = this.#options.clock.nowMs();
    this.#goneAtMs = null;
  }

  /** Called often while a lease of this length is held: kills a member that is silent, and starts the next. */
  consider(leaseMs: number): void {
    const { clock, log } = this.#options;
    const member = this.#member;
    if (member === null || this.#isGivenUp) return;
    const nowMs = clock.nowMs();
    // It was this process that stood still: what the member said meanwhile has not been read yet.
    if (nowMs - this.#consideredAtMs > OWN_PAUSE_MS) this.#heardAtMs = nowMs;
    this.#consideredAtMs = nowMs;
    const silentMs = nowMs - this.#heardAtMs;
    const { pid, startTicks } = member;
    if (isSameProcess(pid, startTicks)) {
      if (silentMs < leaseMs * SILENCE_SHARE) return;
      this.#isGivenUp = !killProcess(pid);
      log.warn("supervisor.member.hung", { pid, silentMs: Math.round(silentMs), killed: !this.#isGivenUp });
      return;
    }
    this.#goneAtMs ??= nowMs;
    const graceMs = Math.min(OTHERS_START_MS_MAX, leaseMs * OTHERS_START_SHARE);
    if (nowMs - this.#goneAtMs < graceMs) return;
    // Once: whoever comes next says who it is. One that cannot even do that is no use a second time.
    this.#isGivenUp = true;
    log.warn("supervisor.member.started", { after: pid, command: member.command.join(" ") });
    try {
      this.#options.start(member);
    } catch (error) {
      // PostgreSQL's lease still has to be kept: that is what matters now.
      log.error("supervisor.member.not-started", { command: member.command.join(" "), error: String(error) });
    }
  }
}

function readHowStarted(pid: number, startTicks: number): StartedMember {
  const parts = (name: string): readonly string[] =>
    readFileSync(`/proc/${pid}/${name}`, "utf8")
      .split("\0")
      .filter((part) => part !== "");
  const [, ...parameters] = readFileSync(`/proc/${pid}/cmdline`, "utf8").replace(/\0$/, "").split("\0");
  const environment = parts("environ").map((part) => {
    const at = part.indexOf("=");
    return [part.slice(0, at), part.slice(at + 1)] as const;
  });
  // After an upgrade the program lies where the old one lay, and the kernel says that the old one was deleted.
  const program = readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, "");
  return {
    pid,
    startTicks,
    command: [program, ...parameters],
    environment: Object.fromEntries(environment),
    directory: readlinkSync(`/proc/${pid}/cwd`),
    outputFile: readOutputFile(pid),
  };
}

function readOutputFile(pid: number): string | null {
  const target = readlinkSync(`/proc/${pid}/fd/1`);
  const isFile = target.startsWith("/") && statSync(target, { throwIfNoEntry: false })?.isFile() === true;
  return isFile ? target : null;
}
