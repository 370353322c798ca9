/** `guacamole recover`: what the offline tools do to a stopped member's data directory. */
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterId, MemberId } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import type {
  Inspection,
  NewGroup,
  NewGroupPlan,
  NewGroupRequest,
  RestoreRequest,
} from "../cli/recover-ports.ts";
import { apply } from "../cluster/apply.ts";
import { encodeCommand } from "../cluster/command-codec.ts";
import { commonNameOf } from "../cluster/common-name.ts";
import { type ClusterState, featureLevelOf, memberById, memberByName, memberName } from "../cluster/state.ts";
import { createKeyAndRequest, signMember } from "../peer/certificates.ts";
import { storePaths } from "../store/marker.ts";
import { type FollowUp, inspectStore, recoverGroup, restoreGroup } from "../store/recover.ts";
import { StoreError } from "../store/store-error.ts";
import { tryLock } from "../supervisor/libc.ts";
import { writeMemberTls } from "./member-files.ts";
import { planOf } from "./recovery-plan.ts";
import { systemClock } from "./system-clock.ts";
import { newId } from "./system-random.ts";

const RULES = { apply };

/** Reads and checks everything, changes nothing. */
export async function inspect(dataDir: string): Promise<Result<Inspection, string>> {
  return attempt(() => {
    const { database } = storePaths(dataDir);
    const { identity, state, hard, last, floor, applied, config, flaws } = inspectStore(database);
    if (identity === null) return err(whyUnreadable(database, flaws));
    const names = (ids: readonly MemberId[]) =>
      ids.map((id) => (state === null ? id : memberName(state, id))).sort();
    const reign = state?.reign ?? null;
    return ok({
      dataDir,
      clusterId: identity.clusterId,
      clusterName: state?.name ?? "",
      recoveryEpoch: identity.recoveryEpoch,
      memberId: identity.memberId,
      memberName: state === null ? identity.memberId : memberName(state, identity.memberId),
      term: hard?.term ?? 0,
      lastTerm: last?.term ?? 0,
      lastIndex: last?.index ?? 0,
      commitIndex: hard?.commit ?? 0,
      appliedIndex: applied ?? 0,
      floorIndex: floor?.index ?? 0,
      voters: names(config?.config.voters ?? []),
      learners: names(config?.config.learners ?? []),
      members: names(state?.members.map(({ id }) => id) ?? []),
      primary: state === null || reign === null ? null : memberName(state, reign.primaryId),
      epoch: reign?.epoch ?? null,
      featureLevel: state === null ? 1 : featureLevelOf(state),
      flaws,
    });
  });
}

function whyUnreadable(database: string, flaws: readonly string[]): string {
  return flaws.length === 0
    ? `${database} belongs to no member: name the data directory of one that has taken part`
    : `${database} cannot be read: ${flaws.join("; ")}`;
}

/** What `forceNewGroup` would make, tried on a copy. */
export async function plan(request: NewGroupRequest): Promise<Result<NewGroupPlan, string>> {
  return attempt(() => {
    const tried = tryRecovery(request, newId() as ClusterId);
    return tried.ok ? ok(tried.value.plan) : tried;
  });
}

/** Makes the stopped member of this directory a group of its own. */
export async function forceNewGroup(request: NewGroupRequest): Promise<Result<NewGroup, string>> {
  return alone(request.dataDir, async () => {
    const clusterId = newId() as ClusterId;
    const tried = tryRecovery(request, clusterId);
    if (!tried.ok) return tried;
    const { plan: planned, state, memberId } = tried.value;
    // Before the identity changes, as when a member joins: whoever is somebody can prove it.
    const certified = await certify(request.dataDir, state, memberId, clusterId);
    if (!certified.ok) return certified;
    recoverGroup({ ...recoveryOf(request, memberId, clusterId), isDryRun: false });
    return ok({ ...planned, newClusterId: clusterId });
  });
}

/** Makes an empty directory a group of its own, from a backup. */
export async function restore(request: RestoreRequest): Promise<Result<NewGroup, string>> {
  return alone(request.dataDir, async () => {
    const { database, marker } = storePaths(request.dataDir);
    if (existsSync(database) || existsSync(marker)) {
      return err(
        `${request.dataDir} has a history already: name an empty directory, or recover from what is there`,
      );
    }
    const backedUp = readBackup(request.file);
    if (backedUp === null) return err(`${request.file} holds no agreed state: name another backup`);
    const member = memberByName(backedUp, request.memberName);
    if (member === undefined) {
      const names = backedUp.members.map(({ name }) => name).join(", ");
      return err(`the backup knows no member '${request.memberName}': its members are ${names}`);
    }
    const clusterId = newId() as ClusterId;
    const followUp = recoveryCommand(member.id, clusterId, request.makePrimary);
    const tried = applied(backedUp, followUp);
    if (!tried.ok) return tried;
    const certified = await certify(request.dataDir, tried.value, member.id, clusterId);
    if (!certified.ok) return certified;
    const restored = restoreGroup({
      snapshotPath: request.file,
      databasePath: database,
      clusterId,
      memberId: member.id,
      followUp: followUp.asEntries,
      rules: RULES,
    });
    const planned = planOf({
      before: backedUp,
      after: tried.value,
      memberId: member.id,
      last: restored.lastBefore,
      adoptedCount: 0,
    });
    return ok({ ...planned, newClusterId: clusterId });
  });
}

interface Tried {
  readonly plan: NewGroupPlan;
  readonly state: ClusterState;
  readonly memberId: MemberId;
}

function tryRecovery(request: NewGroupRequest, clusterId: ClusterId): Result<Tried, string> {
  const { database } = storePaths(request.dataDir);
  const { identity, flaws } = inspectStore(database);
  if (identity === null || flaws.length > 0) return err(whyUnreadable(database, flaws));
  const { memberId } = identity;
  let before: ClusterState | null = null;
  const recovery = recoveryOf(request, memberId, clusterId);
  const { state, lastBefore, adoptedCount } = recoverGroup({
    ...recovery,
    followUp: (agreed) => {
      before = agreed;
      return recovery.followUp(agreed);
    },
    isDryRun: true,
  });
  const known = before as ClusterState | null;
  if (state === null || known === null) return err(`${database} holds no agreed state to go on with`);
  const tried = applied(known, recoveryCommand(memberId, clusterId, request.makePrimary));
  if (!tried.ok) return tried;
  const planned = planOf({ before: known, after: state, memberId, last: lastBefore, adoptedCount });
  return ok({ plan: planned, state, memberId });
}

function recoveryOf({ dataDir, makePrimary }: NewGroupRequest, memberId: MemberId, clusterId: ClusterId) {
  return {
    databasePath: storePaths(dataDir).database,
    clusterId,
    followUp: recoveryCommand(memberId, clusterId, makePrimary).asEntries,
    rules: RULES,
  };
}

function recoveryCommand(memberId: MemberId, clusterId: ClusterId, makePrimary: boolean) {
  const command = {
    id: newId(),
    atMs: systemClock.wallMs(),
    by: "offline",
    change: { kind: "recover-group", clusterId, memberId, makePrimary },
  } as const;
  const asEntries: FollowUp = () => [encodeCommand(command)];
  return { command, asEntries };
}

/** What the recovery comes to. A refusal is found out before anything is written. */
function applied(
  state: ClusterState,
  { command }: ReturnType<typeof recoveryCommand>,
): Result<ClusterState, string> {
  const { state: after, outcome } = apply(state, command);
  if (!outcome.ok || after === null) {
    return err(
      outcome.ok
        ? "the recovery leaves nothing"
        : "this member cannot be made primary: it has no PostgreSQL, or there never was one",
    );
  }
  return ok(after);
}

/** What a backup holds, read through a store of its own that is gone afterwards. */
function readBackup(file: string): ClusterState | null {
  const directory = mkdtempSync(join(tmpdir(), "guacamole-restore-"));
  try {
    const { state } = restoreGroup({
      snapshotPath: file,
      databasePath: storePaths(directory).database,
      clusterId: newId() as ClusterId,
      memberId: newId() as MemberId,
      followUp: () => [],
      rules: RULES,
    });
    return state;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A certificate of the new cluster, by the authority that is part of what is agreed. */
async function certify(
  dataDir: string,
  state: ClusterState,
  memberId: MemberId,
  clusterId: ClusterId,
): Promise<Result<null, string>> {
  const member = memberById(state, memberId);
  if (member === undefined) return err("this member is not part of what it knows to be agreed");
  const key = await createKeyAndRequest(commonNameOf(memberId));
  const hosts = [member.apiAddress, member.peerAddress, member.postgresAddress].map((address) =>
    address.slice(0, address.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1"),
  );
  const subject = { memberId, name: member.name, hosts: [...new Set(hosts)], clusterId };
  const signed = await signMember(state.authority, key.csrPem, subject, systemClock.wallMs());
  if (!signed.ok) return signed;
  writeMemberTls(dataDir, {
    caPem: state.authority.certificatePem,
    certificatePem: signed.value,
    privateKeyPem: key.privateKeyPem,
  });
  return ok(null);
}

/** Holds the lock that a running member holds, so that none starts meanwhile. */
async function alone<T>(dataDir: string, body: () => Promise<Result<T, string>>): Promise<Result<T, string>> {
  if (!existsSync(dataDir))
    return err(`there is no ${dataDir}: name the member's data-dir, or make it first`);
  return attempt(async () => {
    const lock = openSync(join(dataDir, "lock"), "a", 0o600);
    try {
      if (!tryLock(lock)) return err(`guacamole runs on ${dataDir}: stop it first`);
      return await body();
    } finally {
      closeSync(lock);
    }
  });
}

/** What the directory lacks or refuses is an answer; a fault of ours is none. */
async function attempt<T>(
  body: () => Promise<Result<T, string>> | Result<T, string>,
): Promise<Result<T, string>> {
  try {
    return await body();
  } catch (error) {
    const isExpected = error instanceof StoreError || (error instanceof Error && "code" in error);
    if (isExpected) return err(error.message);
    throw error;
  }
}
