import { createApi } from "../../../src/api/create-api.ts";
import { certificateFingerprint, hashSecret } from "../../../src/api/credential.ts";
import type { ApiPorts } from "../../../src/api/ports.ts";
import type { Clock } from "../../../src/base/clock.ts";
import type {
  ClusterId,
  Epoch,
  Generation,
  LogIndex,
  MemberId,
  Term,
  TimelineId,
} from "../../../src/base/ids.ts";
import type { Log } from "../../../src/base/log.ts";
import type { Lsn } from "../../../src/base/lsn.ts";
import { err, ok, type Result } from "../../../src/base/result.ts";
import type { AccessTrial } from "../../../src/cluster/access-trial.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { DeclaredReport } from "../../../src/cluster/catalog.ts";
import type { Command, Outcome } from "../../../src/cluster/command.ts";
import type { BarrierResult, Consensus, ProposeResult, StoredEvent } from "../../../src/cluster/consensus.ts";
import type { Fork } from "../../../src/cluster/fork.ts";
import type { MachineFacts } from "../../../src/cluster/machine-facts.ts";
import type { AccessLines } from "../../../src/cluster/managed-settings.ts";
import { DEFAULT_TAGS, type Member } from "../../../src/cluster/member.ts";
import type { MemberStatus, Observation, PostgresStatus } from "../../../src/cluster/observation.ts";
import type { ServerSetting } from "../../../src/cluster/server-settings.ts";
import { DEFAULT_SPEC } from "../../../src/cluster/spec.ts";
import type { ClusterState, Reign } from "../../../src/cluster/state.ts";
import { explain, reasonOf } from "../../../src/main/explain.ts";

/** A member and a cluster as the API sees them, without anything real behind them. */

export const M1 = "00000000-0000-4000-8000-000000000001" as MemberId;
export const M2 = "00000000-0000-4000-8000-000000000002" as MemberId;
export const M3 = "00000000-0000-4000-8000-000000000003" as MemberId;

export const SECRET = "secret-secret-secret";
export const ADMIN = `gcm_admin-1_${SECRET}`;
export const OPERATOR = `gcm_operator-1_${SECRET}`;
export const VIEWER = `gcm_viewer-1_${SECRET}`;

export const SCOPES = ["health", "viewer", "operator", "access", "admin"] as const;

export function memberOf(id: MemberId, name: string, over: Partial<Member> = {}): Member {
  return {
    id,
    name,
    kind: "data",
    apiAddress: `${name}.test:8008`,
    peerAddress: `${name}.test:8009`,
    postgresAddress: `${name}.test:5432`,
    tags: DEFAULT_TAGS,
    data: "ready",
    ...over,
  };
}

const AUTHORITY_PEM = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";
/** Its SHA-256. */
export const AUTHORITY = certificateFingerprint(AUTHORITY_PEM);

export function stateOf(over: Partial<ClusterState> = {}): ClusterState {
  return {
    clusterId: "00000000-0000-4000-8000-0000000000aa" as ClusterId,
    name: "orders",
    generation: 1 as Generation,
    spec: DEFAULT_SPEC,
    authority: {
      certificatePem: AUTHORITY_PEM,
      privateKeyPem: "PRIVATE-KEY-NEVER-SHOWN",
    },
    members: [memberOf(M1, "m1"), memberOf(M2, "m2"), memberOf(M3, "m3")],
    tokens: SCOPES.map((scope) => ({
      id: `${scope}-1`,
      secretHash: hashSecret(SECRET),
      scope,
      createdAtMs: 0,
    })),
    joinTokens: [{ id: "join-1", secretHash: hashSecret(SECRET), expiresAtMs: 10_000, usedBy: null }],
    initialization: { memberId: M1, operationId: "op-1", options: { encoding: "UTF8", locale: "C.UTF-8" } },
    systemIdentifier: "7000000000000000001",
    reign: reignOf(),
    switchover: null,
    operations: [],
    failoverCount: 2,
    switchoverCount: 1,
    ...over,
  };
}

export function reignOf(over: Partial<Reign> = {}): Reign {
  return {
    epoch: 3 as Epoch,
    primaryId: M1,
    appointedAt: null,
    appointedAtWallMs: 1_000,
    reason: "initialized",
    cohort: { standbyIds: [M2, M3], k: 1 },
    pendingCohort: null,
    inheritedRules: [],
    timelines: [],
    lineage: null,
    fence: null,
    ...over,
  };
}

export const NEXT_AUTHORITY = {
  certificatePem: "-----BEGIN CERTIFICATE-----\nAwQF\n-----END CERTIFICATE-----\n",
  privateKeyPem: "NEXT-PRIVATE-KEY-NEVER-SHOWN",
};

export const MACHINE: MachineFacts = {
  memoryBytes: 16 * 1024 ** 3,
  isMemoryLimited: false,
  cores: 8,
  disk: "ssd",
  diskBytes: 500 * 1024 ** 3,
};

export const PRIMARY: PostgresStatus = {
  kind: "primary",
  systemIdentifier: "7000000000000000001",
  timeline: 3 as TimelineId,
  writtenLsn: 5_000_000 as Lsn,
  ancestors: [],
  checkpointTimeline: 3 as TimelineId,
  synchronous: { names: "ANY 1 (m2, m3)", sinceLsn: 1 as Lsn },
  standbys: ["m2", "m3"].map((name) => ({
    name,
    state: "streaming",
    flushedLsn: 4_999_000 as Lsn,
    replayedLsn: 4_998_000 as Lsn,
    syncState: "quorum",
  })),
  isProvisioned: true,
};

export const STANDBY: PostgresStatus = {
  kind: "standby",
  systemIdentifier: "7000000000000000001",
  timeline: 3 as TimelineId,
  receivedLsn: 4_999_000 as Lsn,
  replayedLsn: 4_998_000 as Lsn,
  walReceiver: { upstream: "m1.test:5432", status: "streaming" },
};

export function statusOf(
  memberId: MemberId,
  postgres: PostgresStatus,
  over: Partial<MemberStatus> = {},
): MemberStatus {
  return {
    memberId,
    bootId: "boot",
    sequence: 1,
    postgres,
    promises: { newestEpoch: 3 as Epoch, pledgedEpoch: 2 as Epoch, walEpoch: 3 as Epoch, timelines: [] },
    work: null,
    reason: "steady",
    detail: null,
    leading: null,
    isRebuilt: false,
    version: "0.1.0",
    ...over,
  };
}

export function observed(status: MemberStatus, over: Partial<Observation> = {}): Observation {
  return { status, statusAtMs: 90, heardAtMs: 95, isConnected: true, ...over };
}

export interface Fake {
  readonly ports: ApiPorts;
  state: ClusterState | null;
  selfId: MemberId;
  local: MemberStatus | null;
  observations: Map<MemberId, Observation>;
  /** What `propose` answers; by default every command is accepted and `onCommand` may change the state. */
  answer: ProposeResult;
  onCommand: (command: Command) => void;
  /** How long it takes until a command is applied: others may be faster. */
  beforeApply: (command: Command) => Promise<void>;
  /** What `onCommand` made of the last command; null: `answer` stands. */
  next: ProposeResult | null;
  /** What waiting for everything that is agreed comes to. */
  barrier: BarrierResult;
  /** A file that `backup` hands out; null: the disk is full. */
  backupPath: string | null;
  readonly commands: Command[];
  /** By command id: what was answered. */
  readonly outcomes: Map<string, Outcome>;
  readonly events: StoredEvent[];
  appliedIndex: number;
  /** As after an applied entry. */
  changed(): void;
  readonly listenerCount: () => number;
  /** What members m1 and m2 keep; m3 does not say. */
  forks: readonly Fork[];
  /** What a member's PostgreSQL makes of rules. */
  tryAccess: (memberId: MemberId, lines: AccessLines) => Result<AccessTrial, string>;
  /** What a member found of what is declared. */
  declaredReport: (memberId: MemberId) => Result<DeclaredReport, string>;
  readonly logged: string[];
}

const POLL_MS_MAX = 100;

/** Time passes for whoever polls; deadlines, which are longer, are never reached. `wake`: after each poll. */
export function pollingClock(wake: () => void = () => {}): Clock {
  let nowMs = 100;
  return {
    nowMs: () => nowMs,
    wallMs: () => 5_000,
    sleep(durationMs, signal) {
      if (durationMs > POLL_MS_MAX)
        return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
      nowMs += durationMs;
      wake();
      return Promise.resolve();
    },
  };
}

export function createFake(over: Partial<ApiPorts> = {}): Fake {
  const listeners = new Set<() => void>();
  const applied: Outcome = { ok: true };
  let ids = 0;
  const logged: string[] = [];
  const note = (event: string) => void logged.push(event);
  const log: Log = { error: note, warn: note, info: note, debug: note };
  const clock: Clock = {
    nowMs: () => 100,
    wallMs: () => 5_000,
    sleep: (_durationMs, signal) =>
      new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(signal.reason))),
  };
  const fake: Fake = {
    state: stateOf(),
    selfId: M1,
    local: statusOf(M1, PRIMARY),
    observations: new Map([
      [M2, observed(statusOf(M2, STANDBY))],
      [M3, observed(statusOf(M3, STANDBY))],
    ]),
    answer: { kind: "applied", outcome: applied },
    onCommand: () => {},
    beforeApply: async () => {},
    next: null,
    barrier: { kind: "reached", index: 41 as LogIndex },
    backupPath: null,
    forks: [],
    tryAccess: () => ok({ kind: "good", version: "15.18" }),
    declaredReport: () => ok({ revision: null, problems: [], corrected: [] }),
    commands: [],
    outcomes: new Map(),
    events: [],
    appliedIndex: 41,
    changed() {
      fake.appliedIndex += 1;
      for (const listener of listeners) listener();
    },
    listenerCount: () => listeners.size,
    logged,
    ports: {
      name: "m1",
      version: "0.1.0",
      clock,
      log,
      memberId: () => (fake.state === null ? null : fake.selfId),
      consensus: () => (fake.state === null ? null : consensus),
      localStatus: () => fake.local,
      stalledReason: () => null,
      explain: (lost) => (fake.state === null ? null : explain(consensus, fake.selfId, clock, lost)),
      reasonOf,
      mayHandOver: async (_primaryId, to) => (to === "m3" ? err("the batch run is not over") : ok(null)),
      tryAccess: async (memberId, lines) => fake.tryAccess(memberId, lines),
      machine: async (memberId) => (memberId === M3 ? err("m3 does not answer") : ok(MACHINE)),
      reload: async (memberId) => (memberId === M3 ? err("m3 does not answer") : ok(null)),
      forks: async (memberId) => (memberId === M3 ? err("m3 does not answer") : ok(fake.forks)),
      serverSettings: async () => err("no server here"),
      tryParameters: async () => ({ kind: "unknown", why: "no server here" }),
      form: async () => ok({ clusterId: "c" as ClusterId, memberId: M1, token: ADMIN, caPem: "PEM" }),
      join: async () => ok({ clusterId: "c" as ClusterId, clusterName: "orders", memberId: M1 }),
      admit: async () =>
        ok({
          clusterId: "c" as ClusterId,
          clusterName: "orders",
          memberId: M3,
          caPem: "CA",
          trustedPem: "CA",
          certificatePem: "CERT",
          peers: [{ id: M1, name: "m1", address: "m1.test:8009" }],
          promotableFrom: 7 as LogIndex,
          recoveryEpoch: 0,
        }),
      succeedAuthority: async () => NEXT_AUTHORITY,
      certificateListener: () => ({ port: null, problem: null }),
      signRole: async ({ csrPem, role, expiresAtMs }) =>
        csrPem === "CSR"
          ? ok({ certificatePem: `CERT ${role}`, serial: "4d", authority: AUTHORITY, expiresAtMs })
          : err("it cannot be read"),
      newId: () => `00000000-0000-4000-9000-${String(++ids).padStart(12, "0")}`,
      declaredReport: async (memberId) => fake.declaredReport(memberId),
      newSalt: (bytes) => new Uint8Array(bytes),
      newSecret: () => "s".repeat(32),
      ...over,
    },
  };
  const consensus: Consensus = {
    get state() {
      if (fake.state === null) throw new Error("not formed");
      return fake.state;
    },
    get appliedIndex() {
      return fake.appliedIndex as LogIndex;
    },
    raft: {
      role: "leader",
      term: 4 as Term,
      leaderId: M1,
      leadingSinceMs: 1,
      isReady: true,
      commitIndex: 41 as LogIndex,
      lastIndex: 41 as LogIndex,
      floorIndex: 0 as LogIndex,
      voterIds: [M1, M2, M3],
      config: { voters: [M1, M2, M3], outgoing: [], learners: [], learnersNext: [] },
      isConfigPending: false,
      configRefusal: null,
      followers: [M2, M3].map((id) => ({
        id,
        matchIndex: 41 as LogIndex,
        isActive: true,
        isCaughtUp: true,
      })),
      stateHash: null,
    },
    get observations() {
      return fake.observations;
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async propose(command) {
      fake.commands.push(command);
      await fake.beforeApply(command);
      if (fake.answer.kind === "applied" && fake.answer.outcome.ok) fake.onCommand(command);
      const { next } = fake;
      fake.next = null;
      const result = next ?? fake.answer;
      if (result.kind === "applied") fake.outcomes.set(command.id, result.outcome);
      return result;
    },
    publish() {},
    async call() {
      throw new Error("nobody to call");
    },
    onCall() {},
    changeConfig() {},
    async barrier() {
      return fake.barrier;
    },
    async backup() {
      if (fake.backupPath === null) throw new Error("no space left on the device");
      return { path: fake.backupPath, term: 4 as Term, index: 41 as LogIndex };
    },
    transferLeadership() {},
    async readEvents(afterId, countMax) {
      return fake.events.filter(({ id }) => id > afterId).slice(0, countMax);
    },
    async outcomeOf(commandId) {
      return fake.outcomes.get(commandId) ?? null;
    },
    async close() {},
  };
  return fake;
}

/** From now on commands do what they would do in a real cluster, the same one once. */
export function applyCommands(fake: Fake): void {
  const seen = new Map<string, ProposeResult>();
  fake.onCommand = (command) => {
    const before = seen.get(command.id);
    const { state, outcome } =
      before === undefined ? apply(fake.state, command) : { state: fake.state, outcome: null };
    fake.state = state;
    const result: ProposeResult = before ?? { kind: "applied", outcome: outcome ?? { ok: true } };
    seen.set(command.id, result);
    fake.next = result;
  };
}

/** Adds the operation that a command would begin. */
export function beginOperation(fake: Fake, command: Command): void {
  const { change } = command;
  if (!("operationId" in change) || fake.state === null) return;
  const kinds = {
    initialize: "initialize",
    "begin-switchover": "switchover",
    "reinitialize-member": "reinitialize",
  } as const;
  if (!(change.kind in kinds)) return;
  const kind = kinds[change.kind as keyof typeof kinds];
  fake.state = {
    ...fake.state,
    operations: [
      ...fake.state.operations,
      {
        id: change.operationId,
        kind,
        memberId: M2,
        by: command.by,
        startedAtMs: command.atMs,
        finishedAtMs: null,
        status: "running",
        phase: "begun",
        log: [],
      },
    ],
  };
}

/** A cluster in which every command that is not refused takes effect. */
export function living(over: Parameters<typeof stateOf>[0] = {}): Fake {
  const fake = createFake();
  fake.state = stateOf(over);
  applyCommands(fake);
  return fake;
}

/** Asks over the network, as a program does; a text is sent as it is. */
export async function request(
  fake: Fake,
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
  token = ADMIN,
): Promise<Response> {
  const asked = new Request(`http://member.test${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  return createApi(fake.ports).handle(asked, "network");
}

export const read = async <T>(response: Response): Promise<T> => (await response.json()) as T;

/** As `pg_settings` shows them. */
export const WORK_MEM: ServerSetting = {
  name: "work_mem",
  setting: "4096",
  unit: "kB",
  type: "integer",
  context: "user",
  min: "64",
  max: "2147483647",
  choices: null,
  source: "default",
  sourceFile: null,
  pendingRestart: false,
  description: "Sets the maximum memory to be used for query workspaces.",
};
export const CONNECTIONS: ServerSetting = {
  ...WORK_MEM,
  name: "max_connections",
  setting: "100",
  unit: null,
  context: "postmaster",
  min: "1",
  max: "262143",
  source: "configuration file",
  sourceFile: "/data/postgresql.conf",
};
