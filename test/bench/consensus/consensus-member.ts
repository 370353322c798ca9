/**
 * One member's consensus in a process of its own, as a member has it: the Raft worker with its SQLite file and its TLS
 * connections, and this thread as its client. No API, no PostgreSQL.
 */
import { randomUUID } from "node:crypto";
import type { ClusterId } from "../../../src/base/ids.ts";
import type { Log } from "../../../src/base/log.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { Change, Command } from "../../../src/cluster/command.ts";
import { encodeCommand } from "../../../src/cluster/command-codec.ts";
import type { Consensus } from "../../../src/cluster/consensus.ts";
import { FEATURE_LEVEL } from "../../../src/cluster/feature-level.ts";
import { DEFAULT_TAGS, type Member } from "../../../src/cluster/member.ts";
import { DEFAULT_SPEC } from "../../../src/cluster/spec.ts";
import type { CertificateAuthority } from "../../../src/cluster/state.ts";
import { startConsensus } from "../../../src/main/consensus-client.ts";
import { systemClock } from "../../../src/main/system-clock.ts";
import { bootstrapEntries } from "../../../src/raft/node.ts";
import { formStore, joinStore } from "../../../src/store/identity.ts";
import { answerQuestions } from "./asked-process.ts";
import { runClosedLoop, type Seen } from "./closed-loop.ts";
import type { Admission, MemberLook, MemberRequest, Seat } from "./member-protocol.ts";

/** As many bytes as etcd gets for a value. */
export const PAYLOAD_BYTES = 256;
export const CLUSTER_ID = "11111111-1111-4111-8111-111111111111" as ClusterId;

const DEADLINE_MS = 20_000;
const FILL_CLIENTS = 256;
const PAYLOAD = "x".repeat(PAYLOAD_BYTES);

const complain = (event: string, fields: object = {}): void => {
  process.stderr.write(`consensus-member ${process.pid}: ${event} ${JSON.stringify(fields)}\n`);
};
const silent = (): void => undefined;
const LOG: Log = { error: complain, warn: silent, info: silent, debug: silent };

let running: Consensus | null = null;

answerQuestions<MemberRequest>(async (request) => {
  switch (request.type) {
    case "form":
      form(request.seat, request.authority);
      return start(request.seat);
    case "join": {
      const { databasePath, memberId } = request.seat;
      joinStore({ databasePath, memberId, clusterId: CLUSTER_ID, ...request.admission });
      return start(request.seat);
    }
    case "start":
      return start(request.seat);
    case "admit":
      return admit(request.seat);
    case "configure":
      return consensus().changeConfig(request.target);
    case "raise-feature-level":
      return agree({ kind: "raise-feature-level", level: FEATURE_LEVEL });
    case "look":
      return { raft: consensus().raft, appliedIndex: consensus().appliedIndex } satisfies MemberLook;
    case "load":
      return load(request);
    case "fill":
      return fill(request.count);
    case "commit":
      return write();
  }
});

function consensus(): Consensus {
  if (running === null) throw new Error("it was not started");
  return running;
}

function form(seat: Seat, authority: CertificateAuthority): void {
  const command = commandOf({
    kind: "form",
    clusterId: CLUSTER_ID,
    name: "bench",
    spec: DEFAULT_SPEC,
    authority,
    member: memberOf(seat),
    token: { id: "token", secretHash: "00", scope: "admin", createdAtMs: 0 },
  });
  const { databasePath, memberId } = seat;
  formStore({
    databasePath,
    clusterId: CLUSTER_ID,
    memberId,
    entries: bootstrapEntries(memberId, encodeCommand(command)),
    rules: { apply },
  });
}

async function start({ name: _name, ...seat }: Seat): Promise<void> {
  running = await startConsensus({
    ...seat,
    clock: systemClock,
    log: LOG,
    onFatal: (exitCode, message) => {
      complain("fatal", { message });
      process.exit(exitCode);
    },
  });
}

async function admit(seat: Pick<Seat, "name" | "memberId" | "listen">): Promise<Admission> {
  const joinTokenId = `join-${seat.name}`;
  await agree({ kind: "create-join-token", tokenId: joinTokenId, secretHash: "00", expiresAtMs: 1e15 });
  await agree({ kind: "add-member", member: memberOf(seat), joinTokenId });
  const { raft, state } = consensus();
  return {
    promotableFrom: raft.lastIndex,
    peers: state.members
      .filter(({ id }) => id !== seat.memberId)
      .map(({ id, peerAddress }) => ({ id, address: peerAddress })),
  };
}

function memberOf({ name, memberId, listen }: Pick<Seat, "name" | "memberId" | "listen">): Member {
  return {
    id: memberId,
    name,
    kind: "data",
    apiAddress: listen,
    peerAddress: listen,
    postgresAddress: listen,
    tags: DEFAULT_TAGS,
    data: "none",
  };
}

async function load({ kind, load: wanted }: MemberRequest & { type: "load" }): Promise<Seen> {
  return runClosedLoop(wanted, kind === "write" ? write : read);
}

async function fill(count: number): Promise<void> {
  let left = count;
  const loop = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await write();
    }
  };
  await Promise.all(Array.from({ length: FILL_CLIENTS }, loop));
}

/**
 * A command of the payload's size that leaves the agreed state as it is: progress of an operation that does not exist. It
 * goes the whole way (log, sync on a quorum, `apply()`, stored answer) and is refused there, alike on each member.
 */
async function write(): Promise<void> {
  const change: Change = {
    kind: "progress-operation",
    operationId: "none",
    phase: "bench",
    message: PAYLOAD,
  };
  const result = await consensus().propose(commandOf(change), DEADLINE_MS);
  if (result.kind !== "applied")
    throw new Error(`a command was not applied: ${result.kind}, ${result.reason}`);
}

async function read(): Promise<void> {
  const result = await consensus().barrier(DEADLINE_MS);
  if (result.kind !== "reached") throw new Error(`a read was not confirmed: ${result.reason}`);
}

async function agree(change: Change): Promise<void> {
  const result = await consensus().propose(commandOf(change), DEADLINE_MS);
  if (result.kind !== "applied" || !result.outcome.ok)
    throw new Error(`${change.kind} was not agreed: ${JSON.stringify(result)}`);
}

function commandOf(change: Change): Command {
  return { id: randomUUID(), atMs: Date.now(), by: "local", change };
}
