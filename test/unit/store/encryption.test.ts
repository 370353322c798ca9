/** What may hold secrets is not readable from a member's files without its key. */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import {
  chmodSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { formStore } from "../../../src/store/identity.ts";
import { storePaths } from "../../../src/store/marker.ts";
import { inspectStore } from "../../../src/store/recover.ts";
import { RowCipher } from "../../../src/store/row-cipher.ts";
import { storeKeyPathOf } from "../../../src/store/store-key.ts";
import {
  CLUSTER,
  commandEntry,
  configEntry,
  formCommand,
  inDirectory,
  M1,
  openStore,
  RULES,
} from "./sample.ts";

const PLACE = "raft_log 7 1 command";
const KEY = new Uint8Array(32).fill(7);
const SECRET = "MIGHAgEAMBMGByqGSM49AgEG";

/** The database of a member whose authority has a recognisable key. */
function formIn(directory: string): string {
  const databasePath = storePaths(directory).database;
  const command = formCommand({ certificatePem: "certificate", privateKeyPem: SECRET });
  const entries = [configEntry(1, 1, [M1]), commandEntry(2, 1, command)];
  formStore({ databasePath, clusterId: CLUSTER, memberId: M1, entries, rules: RULES });
  return databasePath;
}

function holding(directory: string, text: string): readonly string[] {
  return readdirSync(directory).filter((name) => readFileSync(join(directory, name)).includes(text));
}

const keyOf = (state: ClusterState | null) => state?.authority.privateKeyPem;

describe("a value", () => {
  const cipher = new RowCipher(KEY);

  test("comes back as it was, at its own place and with its own key only", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (value) => {
        const sealed = cipher.encrypt(PLACE, value);
        expect(Buffer.from(cipher.decrypt(PLACE, sealed) ?? []).equals(value)).toBe(true);
        expect(cipher.decrypt(PLACE, sealed)?.byteLength).toBe(value.byteLength);
        expect(cipher.decrypt("raft_log 8 1 command", sealed)).toBeNull();
        const other = new RowCipher(new Uint8Array(32));
        expect(other.decrypt(PLACE, sealed)).toBeNull();
        expect([other.isOfOtherKey(sealed), cipher.isOfOtherKey(sealed)]).toEqual([true, false]);
      }),
    );
  });

  test("is refused with any bit changed, cut short, or in clear", () => {
    const sealed = cipher.encrypt(PLACE, new TextEncoder().encode("a value"));
    for (let bit = 0; bit < sealed.byteLength * 8; bit += 1) {
      const changed = sealed.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(cipher.decrypt(PLACE, changed)).toBeNull();
    }
    for (let length = 0; length < sealed.byteLength; length += 1)
      expect(cipher.decrypt(PLACE, sealed.subarray(0, length))).toBeNull();
    expect(cipher.decrypt(PLACE, '{"kind":"form"}')).toBeNull();
  });

  test("is never encrypted the same way twice", () => {
    const value = new Uint8Array(64);
    const seen = new Set(
      Array.from({ length: 100 }, () => Buffer.from(cipher.encrypt(PLACE, value)).toString("hex", 29)),
    );
    expect(seen.size).toBe(100);
  });

  test("is AES-256-GCM by another implementation, too", async () => {
    const sealed = Buffer.from(cipher.encrypt(PLACE, new TextEncoder().encode("a value")));
    const derived = createHmac("sha256", KEY).update(sealed.subarray(5, 29)).digest();
    const key = await crypto.subtle.importKey("raw", new Uint8Array(derived), "AES-GCM", false, ["decrypt"]);
    const algorithm = {
      name: "AES-GCM",
      iv: new Uint8Array(12),
      additionalData: new TextEncoder().encode(PLACE),
    };
    const clear = await crypto.subtle.decrypt(algorithm, key, new Uint8Array(sealed.subarray(29)));
    expect(new TextDecoder().decode(clear)).toBe("a value");
  });
});

describe("a member's files", () => {
  test("hold no secret in clear, and the member reads it all the same", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      const store = openStore(path);
      expect(keyOf(store.state)).toBe(SECRET);
      expect(holding(directory, SECRET)).toEqual([]);
      // Were the snapshot not whole, there would be nothing to find.
      store.writeSnapshot(join(directory, "snapshot"));
      expect(holding(directory, SECRET)).toEqual(["snapshot"]);
      store.close();
      expect(keyOf(inspectStore(path).state)).toBe(SECRET);
    }));

  test("of an earlier release are encrypted, whatever they hold", () =>
    inDirectory((directory) => {
      const { database } = storePaths(directory);
      const fixture = join(import.meta.dir, "../../fixtures/release-0.1.0/guacamole.db.gz");
      writeFileSync(database, Bun.gunzipSync(readFileSync(fixture)));
      const clear = `"privateKeyPem"`;
      expect(holding(directory, clear)).toEqual(["guacamole.db"]);
      const flaws = inspectStore(database);
      expect(flaws.state?.authority).toBeDefined();
      // A look changes nothing.
      expect(readdirSync(directory)).toEqual(["guacamole.db"]);
      const store = openStore(database);
      expect(keyOf(store.state)).toBeDefined();
      expect(holding(directory, clear)).toEqual([]);
      store.close();
      expect(holding(directory, clear)).toEqual([]);
    }));
});

describe("a key", () => {
  test("that is gone is not made anew, and is named", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      const key = storeKeyPathOf(path);
      renameSync(key, `${key}.away`);
      expect(() => openStore(path)).toThrow(`${key} is gone, and without it ${path} cannot be read`);
      expect(inspectStore(path).flaws.join()).toContain("is gone");
      expect(readdirSync(directory)).not.toContain("store.key");
      renameSync(`${key}.away`, key);
      openStore(path).close();
    }));

  test("is made for a database that holds nothing yet", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      const raw = new Database(path);
      raw.run("DELETE FROM raft_log");
      raw.run("DELETE FROM sm_state");
      raw.close();
      rmSync(storeKeyPathOf(path));
      expect(() => openStore(path)).toThrow("is damaged");
      expect(readdirSync(directory)).toContain("store.key");
    }));

  test.each([
    ["of another member", `${"ab".repeat(32)}\n`, 0o600, "was written with another key"],
    ["that is none", "secret\n", 0o600, "is not a key that guacamole made"],
    [
      "that others may read",
      `${"ab".repeat(32)}\n`,
      0o640,
      "can be read by other users of this host: chmod 600",
    ],
  ])("%s is refused in plain words", (_, text, mode, message) =>
    inDirectory((directory) => {
      const path = formIn(directory);
      const key = storeKeyPathOf(path);
      writeFileSync(key, text);
      chmodSync(key, mode);
      expect(() => openStore(path)).toThrow(message);
    }),
  );

  test("may lie elsewhere, behind a symbolic link", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      const key = storeKeyPathOf(path);
      const elsewhere = join(directory, "elsewhere");
      renameSync(key, elsewhere);
      symlinkSync(elsewhere, key);
      const store = openStore(path);
      expect(keyOf(store.state)).toBe(SECRET);
      store.close();
      rmSync(elsewhere);
      expect(() => openStore(path)).toThrow("is gone");
      expect(readFileSync(path).byteLength).toBeGreaterThan(0);
    }));
});
