/** The offline tools on real directories: what they refuse, what they make, and that a group can be begun from it. */
import { describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import type { Change } from "../../../src/cluster/command.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { readMemberTls } from "../../../src/main/member-files.ts";
import { forceNewGroup, inspect, plan, restore } from "../../../src/main/recover-command.ts";
import { createAuthority } from "../../../src/peer/certificates.ts";
import { formStore, loadIdentity } from "../../../src/store/identity.ts";
import { storePaths } from "../../../src/store/marker.ts";
import { tryLock } from "../../../src/supervisor/libc.ts";
import {
  CLUSTER,
  command,
  commandEntry,
  configEntry,
  formCommand,
  M1,
  M2,
  member,
  openStore,
  RULES,
  write,
} from "../store/sample.ts";

async function inDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "guacamole-recover-"));
  try {
    await body(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const token: Change = { kind: "create-join-token", tokenId: "j", secretHash: "h", expiresAtMs: 9_999 };
const join2: Change = { kind: "add-member", member: member(M2, "m2"), joinTokenId: "j" };

/** m1, one of two members, stopped with the last entry not known to be agreed. */
async function stoppedMember(directory: string): Promise<string> {
  const { database } = storePaths(directory);
  const authority = await createAuthority(CLUSTER, Date.now());
  const entries = [configEntry(1, 1, [M1]), commandEntry(2, 1, formCommand(authority))];
  formStore({ databasePath: database, clusterId: CLUSTER, memberId: M1, entries, rules: RULES });
  const store = openStore(database);
  const added = [commandEntry(3, 1, command("t", token)), commandEntry(4, 1, command("a", join2))];
  write(store, {
    entries: [...added, configEntry(5, 1, [M1, M2])],
    hard: { term: 2 as Term, vote: M2, commit: 4 as LogIndex },
    committed: added,
  });
  store.close();
  return directory;
}

function stateIn(directory: string): ClusterState | null {
  const store = openStore(storePaths(directory).database);
  try {
    return store.state;
  } finally {
    store.close();
  }
}

const unwrap = <T>(result: { ok: true; value: T } | { ok: false; error: string }): T => {
  if (!result.ok) throw new Error(result.error);
  return result.value;
};

describe("inspect", () => {
  test("says by name what a stopped member knows, and changes nothing", () =>
    inDirectory(async (directory) => {
      await stoppedMember(directory);
      const before = readdirSync(directory);
      expect(unwrap(await inspect(directory))).toMatchObject({
        clusterId: CLUSTER,
        clusterName: "demo",
        memberName: "m1",
        term: 2,
        lastTerm: 1,
        lastIndex: 5,
        commitIndex: 4,
        voters: ["m1", "m2"],
        members: ["m1", "m2"],
        primary: null,
        flaws: [],
      });
      expect(readdirSync(directory)).toEqual(before);
    }));

  test("refuses what was never a member, and what runs", () =>
    inDirectory(async (directory) => {
      expect(await inspect(join(directory, "nowhere"))).toMatchObject({ ok: false });
      const store = openStore(storePaths(await stoppedMember(directory)).database);
      try {
        const running = await inspect(directory);
        expect(running.ok ? "" : running.error).toContain("stop that member first");
      } finally {
        store.close();
      }
    }));
});

describe("force-new-group", () => {
  test("the plan says what is kept, dropped and done elsewhere, and changes nothing", () =>
    inDirectory(async (directory) => {
      await stoppedMember(directory);
      const planned = unwrap(await plan({ dataDir: directory, makePrimary: false }));
      expect(planned).toMatchObject({ memberName: "m1", clusterName: "demo", clusterId: CLUSTER });
      expect(planned.kept[0]).toContain(
        "entry 5 of term 1, of which m1 did not know the last 1 to be agreed",
      );
      expect(planned.dropped[0]).toContain("m2 is a member no more");
      expect(planned.elsewhere[0]).toContain("m2: never start guacamole there");
      expect(loadIdentity(storePaths(directory).database)?.clusterId).toBe(CLUSTER);
      expect(stateIn(directory)?.members).toHaveLength(2);
    }));

  test("makes a group of one, with a certificate of the new cluster by the old authority", () =>
    inDirectory(async (directory) => {
      await stoppedMember(directory);
      const { newClusterId } = unwrap(await forceNewGroup({ dataDir: directory, makePrimary: false }));
      const state = stateIn(directory);
      expect(state?.clusterId as string).toBe(newClusterId);
      expect(state?.members.map(({ name }) => name)).toEqual(["m1"]);
      expect(state?.removed?.map(({ name }) => name)).toEqual(["m2"]);
      const identity = loadIdentity(storePaths(directory).database);
      expect(identity).toMatchObject({ clusterId: newClusterId, memberId: M1, recoveryEpoch: 1 });
      const tls = readMemberTls(directory);
      const certificate = new X509Certificate(tls.certificatePem);
      expect(certificate.subject).toContain(`O=${newClusterId}`);
      expect(certificate.verify(new X509Certificate(tls.caPem).publicKey)).toBe(true);
      // Once more is possible: the day is bad, and tools are run twice.
      const again = unwrap(await forceNewGroup({ dataDir: directory, makePrimary: false }));
      expect(again.newClusterId).not.toBe(newClusterId);
    }));

  test("refuses while a member holds the directory, and where nothing can be primary", () =>
    inDirectory(async (directory) => {
      await stoppedMember(directory);
      const noPostgres = await forceNewGroup({ dataDir: directory, makePrimary: true });
      expect(noPostgres.ok ? "" : noPostgres.error).toContain("cannot be made primary");
      const lock = openSync(join(directory, "lock"), "a");
      expect(tryLock(lock)).toBe(true);
      const held = await forceNewGroup({ dataDir: directory, makePrimary: false });
      expect(held.ok ? "" : held.error).toContain("stop it first");
      expect(stateIn(directory)?.clusterId).toBe(CLUSTER);
    }));
});

describe("restore", () => {
  test("makes an empty directory a group of one from a backup", () =>
    inDirectory(async (directory) => {
      const from = join(directory, "old");
      const to = join(directory, "new");
      mkdirSync(from);
      mkdirSync(to);
      await stoppedMember(from);
      const backup = join(directory, "state.backup");
      const store = openStore(storePaths(from).database);
      store.writeSnapshot(backup);
      store.close();
      const before = readFileSync(backup);
      const request = { file: backup, dataDir: to, makePrimary: false };
      const stranger = await restore({ ...request, memberName: "m9" });
      expect(stranger.ok ? "" : stranger.error).toContain("its members are m1, m2");
      const made = unwrap(await restore({ ...request, memberName: "m2" }));
      expect(made.memberName).toBe("m2");
      expect(stateIn(to)?.members.map(({ name }) => name)).toEqual(["m2"]);
      expect(loadIdentity(storePaths(to).database)).toMatchObject({
        clusterId: made.newClusterId,
        memberId: M2,
      });
      expect(readMemberTls(to).certificatePem).toContain("BEGIN CERTIFICATE");
      // Over a history nothing is restored, and its certificate is left alone.
      const certificate = readMemberTls(to).certificatePem;
      expect((await restore({ ...request, dataDir: to, memberName: "m1" })).ok).toBe(false);
      expect(readMemberTls(to).certificatePem).toBe(certificate);
      expect((await restore({ ...request, dataDir: from, memberName: "m2" })).ok).toBe(false);
      expect(stateIn(from)?.clusterId).toBe(CLUSTER);
      expect(readFileSync(backup)).toEqual(before);
    }));

  test("says what is no backup", () =>
    inDirectory(async (directory) => {
      const request = { file: join(directory, "nothing"), dataDir: directory, memberName: "m1" };
      expect((await restore({ ...request, makePrimary: false })).ok).toBe(false);
    }));
});
