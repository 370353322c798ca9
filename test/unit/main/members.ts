import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../../../src/base/clock.ts";
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import type { Log } from "../../../src/base/log.ts";
import { apply } from "../../../src/cluster/apply.ts";
import { encodeCommand } from "../../../src/cluster/command-codec.ts";
import type { Consensus } from "../../../src/cluster/consensus.ts";
import type { MemberStatus } from "../../../src/cluster/observation.ts";
import type { CertificateAuthority } from "../../../src/cluster/state.ts";
import { type ConsensusOptions, startConsensus } from "../../../src/main/consensus-client.ts";
import { createAuthority } from "../../../src/peer/certificates.ts";
import type { EngineLimits } from "../../../src/raft/engine/limits.ts";
import { bootstrapEntries } from "../../../src/raft/node.ts";
import { formStore, joinStore } from "../../../src/store/identity.ts";
import { storePaths } from "../../../src/store/marker.ts";
import { freePort, identityFor } from "../peer/identities.ts";
import { CLUSTER, command, formCommand, M1, member } from "../store/sample.ts";

export const CLOCK: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  sleep: (durationMs) => Bun.sleep(durationMs),
};

const lines: string[] = [];
const write = (event: string, fields = {}) => lines.push(`${event} ${JSON.stringify(fields)}`);
export const LOG: Log = { error: write, warn: write, info: write, debug: write };
/** A log of one member's own, so that a test can look for what it said. */
function logOf(memberId: MemberId, journal: string[]): Log {
  const note = (event: string, fields = {}) => {
    journal.push(`${event} ${JSON.stringify(fields)}`);
    write(`${memberId.slice(-2)} ${event}`, fields);
  };
  return { error: note, warn: note, info: note, debug: note };
}

/** What the members logged, for a test that failed. */
export function logged(): string {
  return lines.join("\n");
}

/** What one member needs to start, on its own port and in its own directory. */
export type Seat = Omit<ConsensusOptions, "clock" | "log" | "onFatal">;

/** A cluster's members on this machine. */
export class Members {
  readonly root = mkdtempSync(join(tmpdir(), "guacamole-members-"));
  readonly running = new Map<MemberId, Consensus>();
  /** What each member logged, over all its lives. */
  readonly journals = new Map<MemberId, string[]>();
  /** Members that had to end: their exit codes and why. */
  readonly fatal = new Map<MemberId, { readonly exitCode: number; readonly message: string }>();
  readonly seats = new Map<MemberId, Seat>();
  readonly #starting = new Map<MemberId, AbortController>();
  readonly #limits: Partial<EngineLimits>;
  readonly #authority: Promise<CertificateAuthority> = createAuthority(CLUSTER, Date.now());
  #next = 1;

  constructor(limits: Partial<EngineLimits> = {}) {
    this.#limits = limits;
  }

  async #seat(memberId: MemberId): Promise<Seat> {
    const authority = await this.#authority;
    const { certificatePem, privateKeyPem, authorityPem } = await identityFor(authority, CLUSTER, memberId);
    return {
      databasePath: storePaths(join(this.root, memberId)).database,
      memberId,
      credentials: { certificatePem, privateKeyPem, authorityPem },
      listen: `127.0.0.1:${freePort()}`,
      seed: 1 + Math.floor(Math.random() * 1e9),
      limits: this.#limits,
    };
  }

  /** The first member. */
  async form(advertise?: string): Promise<Seat> {
    const seat = await this.#seat(M1);
    const form = formCommand(await this.#authority, advertise ?? seat.listen);
    formStore({
      databasePath: seat.databasePath,
      clusterId: CLUSTER,
      memberId: M1,
      entries: bootstrapEntries(M1, encodeCommand(form)),
      rules: { apply },
    });
    return seat;
  }

  /** One more member, admitted by `leader`. */
  async join(leader: Consensus): Promise<Seat> {
    this.#next += 1;
    const number = this.#next;
    const seat = await this.#seat(`00000000-0000-4000-8000-00000000000${number}` as MemberId);
    const token = `join${number}`;
    await leader.propose(
      command(token, { kind: "create-join-token", tokenId: token, secretHash: "00", expiresAtMs: 1e15 }),
      10_000,
    );
    await leader.propose(
      command(`add${number}`, {
        kind: "add-member",
        member: member(seat.memberId, `m${number}`, seat.listen),
        joinTokenId: token,
      }),
      10_000,
    );
    joinStore({
      databasePath: seat.databasePath,
      clusterId: CLUSTER,
      memberId: seat.memberId,
      promotableFrom: leader.raft.lastIndex as LogIndex,
      peers: leader.state.members
        .filter(({ id }) => id !== seat.memberId)
        .map(({ id, peerAddress }) => ({ id, address: peerAddress })),
    });
    const { voters, learners } = leader.raft.config;
    leader.changeConfig({ voters, learners: [...learners, seat.memberId] });
    return seat;
  }

  /** Makes voters of those who learn, once they have caught up. */
  async promote(leader: Consensus, ...ids: readonly MemberId[]): Promise<void> {
    await until(leader, () =>
      ids.every((id) => leader.raft.followers.some((one) => one.id === id && one.isCaughtUp)),
    );
    const { voters, learners } = leader.raft.config;
    leader.changeConfig({
      voters: [...voters, ...ids],
      learners: learners.filter((id) => !ids.includes(id)),
    });
    await until(
      leader,
      () => ids.every((id) => leader.raft.voterIds.includes(id)) && !leader.raft.isConfigPending,
    );
  }

  async start(seat: Seat): Promise<Consensus> {
    const { memberId } = seat;
    this.seats.set(memberId, seat);
    const journal = this.journal(memberId);
    const abort = new AbortController();
    this.#starting.set(memberId, abort);
    const consensus = await startConsensus({
      ...seat,
      signal: abort.signal,
      clock: CLOCK,
      log: logOf(memberId, journal),
      onFatal: (exitCode, message) => {
        this.fatal.set(memberId, { exitCode, message });
        this.running.delete(memberId);
      },
    });
    this.running.set(memberId, consensus);
    return consensus;
  }

  journal(memberId: MemberId): string[] {
    const journal = this.journals.get(memberId) ?? [];
    this.journals.set(memberId, journal);
    return journal;
  }

  /** Ends a start that has not found the agreed state yet. */
  abort(memberId: MemberId): void {
    this.#starting.get(memberId)?.abort(new Error("given up by the test"));
  }

  /** Ends it in order. */
  async stop(memberId: MemberId): Promise<void> {
    const consensus = this.running.get(memberId);
    this.running.delete(memberId);
    await consensus?.close();
  }

  /** Three members that vote. */
  async three(): Promise<readonly [Consensus, Consensus, Consensus]> {
    const first = await this.start(await this.form());
    await until(first, () => first.raft.isReady);
    const others: Consensus[] = [];
    for (let count = 0; count < 2; count += 1) {
      const seat = await this.join(first);
      others.push(await this.start(seat));
      await this.promote(first, seat.memberId);
    }
    const [second, third] = others;
    if (second === undefined || third === undefined) throw new Error("two members joined");
    return [first, second, third];
  }

  async close(): Promise<void> {
    await Promise.all([...this.running.values()].map((consensus) => consensus.close()));
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Resolves once `isTrue`, looking now and then: for what no member tells. */
export async function eventually(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await Bun.sleep(5);
}

/** Resolves once `isTrue`, looking at each change. */
export function until(consensus: Consensus, isTrue: () => boolean): Promise<void> {
  if (isTrue()) return Promise.resolve();
  return new Promise((resolve) => {
    const stop = consensus.onChange(() => {
      if (!isTrue()) return;
      stop();
      resolve();
    });
  });
}

export function status(memberId: MemberId, sequence: number, reason = "idle", bootId = "boot"): MemberStatus {
  return {
    memberId,
    bootId,
    sequence,
    postgres: { kind: "absent" },
    promises: { newestEpoch: 0, pledgedEpoch: 0, walEpoch: 0 },
    work: null,
    reason,
    detail: null,
    leading: null,
    version: "0",
  } as unknown as MemberStatus;
}
