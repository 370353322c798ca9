/**
 * A group of release 0.1.0 is upgraded member by member, each on the data that it has: at every step members of both
 * releases agree on everything, whoever leads. The old release comes out of the repository's own history.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MemberId } from "../../../src/base/ids.ts";
import type { Command } from "../../../src/cluster/command.ts";
import type { Consensus } from "../../../src/cluster/consensus.ts";
import type { CertificateAuthority } from "../../../src/cluster/state.ts";
import { type ConsensusOptions, startConsensus } from "../../../src/main/consensus-client.ts";
import { createAuthority } from "../../../src/peer/certificates.ts";
import { storePaths } from "../../../src/store/marker.ts";
import { freePort, identityFor } from "../peer/identities.ts";
import { CLUSTER, command, formCommand, member, tokenCommand } from "../store/sample.ts";
import { CLOCK, eventually, LOG, logged, status } from "./members.ts";

/** Release 0.1.0. */
const RELEASE = "f58564c";
const REPOSITORY = join(import.meta.dir, "../../..");
const APPLIED = { kind: "applied", outcome: { ok: true } } as const;

/** What this test uses of the old release. */
interface OldCode {
  start(options: ConsensusOptions): Promise<OldConsensus>;
  form(databasePath: string, memberId: MemberId, form: Command): void;
  join(databasePath: string, memberId: MemberId, promotableFrom: number, peers: readonly object[]): void;
}
interface OldConsensus extends Consensus {
  addVoter(id: MemberId): void;
}

const root = mkdtempSync(join(tmpdir(), "guacamole-upgrade-"));
const running = new Map<MemberId, Consensus>();
afterAll(async () => {
  await Promise.all([...running.values()].map((consensus) => consensus.close()));
  rmSync(root, { recursive: true, force: true });
});

/** A copy of the sources without their history cannot be tested against it. */
const hasHistory =
  Bun.which("git") !== null &&
  Bun.spawnSync(["git", "-C", REPOSITORY, "cat-file", "-e", `${RELEASE}^{commit}`]).exitCode === 0;

let old: OldCode;
beforeAll(async () => {
  if (hasHistory) old = await extractRelease();
});

async function extractRelease(): Promise<OldCode> {
  const tree = join(root, "release");
  mkdirSync(tree);
  const archive = Bun.spawnSync(["git", "-C", REPOSITORY, "archive", RELEASE, "src", "migrations"]);
  const unpacked = Bun.spawnSync(["tar", "-x", "-C", tree], { stdin: archive.stdout });
  expect([archive.exitCode, unpacked.exitCode]).toEqual([0, 0]);
  symlinkSync(join(REPOSITORY, "node_modules"), join(tree, "node_modules"));
  const [client, identity, node, codec, rules] = await Promise.all(
    ["main/consensus-client", "store/identity", "raft/node", "cluster/command-codec", "cluster/apply"].map(
      (path) => import(`${tree}/src/${path}.ts`),
    ),
  );
  return {
    start: (options) => client.startConsensus(options),
    form: (databasePath, memberId, form) =>
      identity.formStore({
        databasePath,
        clusterId: CLUSTER,
        memberId,
        entries: node.bootstrapEntries(memberId, codec.encodeCommand(form)),
        rules: { apply: rules.apply, decode: codec.decodeCommand },
      }),
    join: (databasePath, memberId, promotableFrom, peers) =>
      identity.joinStore({ databasePath, clusterId: CLUSTER, memberId, promotableFrom, peers }),
  };
}

const ids = [1, 2, 3].map((number) => `00000000-0000-4000-8000-00000000000${number}` as MemberId);

async function seatOf(authority: CertificateAuthority, memberId: MemberId): Promise<ConsensusOptions> {
  const { certificatePem, privateKeyPem, authorityPem } = await identityFor(authority, CLUSTER, memberId);
  return {
    databasePath: storePaths(join(root, memberId)).database,
    memberId,
    credentials: { certificatePem, privateKeyPem, authorityPem },
    listen: `127.0.0.1:${freePort()}`,
    seed: Number(memberId.slice(-2)) * 7919,
    clock: CLOCK,
    log: LOG,
    onFatal: (exitCode, message) => {
      throw new Error(`${exitCode}: ${message}`);
    },
  };
}

async function formOldGroup(seats: readonly ConsensusOptions[]): Promise<void> {
  const [first, ...others] = seats as readonly [ConsensusOptions, ...ConsensusOptions[]];
  old.form(first.databasePath, first.memberId, formCommand(await authority, first.listen));
  const leader = await old.start(first);
  running.set(first.memberId, leader);
  await eventually(() => leader.raft.isReady);
  for (const { databasePath, memberId, listen } of others) {
    const token = {
      kind: "create-join-token",
      tokenId: memberId,
      secretHash: "00",
      expiresAtMs: 1e15,
    } as const;
    await leader.propose(command(`token ${memberId}`, token), 10_000);
    const newcomer = member(memberId, `m${memberId.slice(-1)}`, listen);
    const add = { kind: "add-member", member: newcomer, joinTokenId: memberId } as const;
    expect(await leader.propose(command(`add ${memberId}`, add), 10_000)).toEqual(APPLIED);
    const peers = [{ id: first.memberId, address: first.listen }];
    old.join(databasePath, memberId, leader.raft.lastIndex, peers);
    leader.addVoter(memberId);
    const seat = seats.find((one) => one.memberId === memberId) as ConsensusOptions;
    running.set(memberId, await old.start(seat));
    await eventually(() => leader.raft.voterIds.includes(memberId) && !leader.raft.isConfigPending);
  }
}

const authority = createAuthority(CLUSTER, Date.now());
let count = 0;

/** Through each member, with each of them leading once. */
async function everybodyAgrees(): Promise<void> {
  for (const leaderId of ids) {
    await eventually(() => {
      const leader = [...running.values()].find(({ raft }) => raft.role === "leader");
      if (running.get(leaderId)?.raft.role === "leader") return true;
      leader?.transferLeadership(leaderId);
      return false;
    });
    for (const consensus of running.values()) {
      count += 1;
      expect(await consensus.propose(tokenCommand(`t${count}`), 20_000)).toEqual(APPLIED);
    }
  }
  const states = () => [...running.values()].map(({ state }) => JSON.stringify(state.tokens));
  await eventually(() => new Set(states()).size === 1);
  expect([...running.values()][0]?.state.tokens).toHaveLength(count + 1);
  // What members say of themselves is understood across releases too.
  const one = running.get(ids[0] as MemberId) as Consensus;
  for (const [id, consensus] of running) consensus.publish(status(id, 1, `said at ${count}`, `boot${count}`));
  await eventually(() => ids.every((id) => one.observations.get(id)?.status.reason === `said at ${count}`));
}

test.skipIf(!hasHistory)(
  "members of release 0.1.0 are replaced one by one on their own data, and the new things begin after the last",
  async () => {
    const seats = await Promise.all(ids.map(async (id) => seatOf(await authority, id)));
    await formOldGroup(seats);
    await everybodyAgrees();
    for (const seat of seats) {
      await running.get(seat.memberId)?.close();
      running.set(seat.memberId, await startConsensus(seat));
      await everybodyAgrees();
    }
    const one = running.get(ids[0] as MemberId) as Consensus;
    const level = { kind: "raise-feature-level", level: 2 } as const;
    expect(await one.propose(command("level", level), 10_000)).toEqual(APPLIED);
    await everybodyAgrees();
    for (const consensus of running.values()) {
      expect(await consensus.barrier(10_000)).toMatchObject({ kind: "reached" });
    }
    await eventually(() => {
      const hashes = [...running.values()].map(({ raft }) => raft.stateHash?.hash ?? null);
      return hashes[0] !== null && new Set(hashes).size === 1;
    });
  },
  90_000,
);

process.on("exit", (code) => {
  if (code !== 0) process.stderr.write(`${logged()}\n`);
});
