import { expect, test } from "bun:test";
import { chmodSync, copyFileSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ClusterId, LogIndex } from "../../../src/base/ids.ts";
import { isOlder, openDatabase } from "../../../src/store/database.ts";
import { formStore, loadIdentity } from "../../../src/store/identity.ts";
import { storePaths } from "../../../src/store/marker.ts";
import { CLUSTER, firstEntries, formIn, inDirectory, joinIn, M1, M2, openStore, RULES } from "./sample.ts";

const OTHER = "22222222-2222-4222-8222-222222222222" as ClusterId;

test("a data directory is free, then formed, and never formed or joined again", () =>
  inDirectory((directory) => {
    expect(loadIdentity(storePaths(directory).database)).toBeNull();
    const path = formIn(directory);
    expect(loadIdentity(path)).toEqual({
      clusterId: CLUSTER,
      memberId: M1,
      origin: "form",
      promotableFrom: 0 as LogIndex,
      peers: [],
      recoveryEpoch: 0,
    });
    expect(() => formIn(directory)).toThrow("forms or joins once");
    expect(() => joinIn(directory)).toThrow("forms or joins once");
    expect(statSync(storePaths(directory).marker).mode & 0o777).toBe(0o600);
    const store = openStore(path);
    expect(store.state?.members.map((member) => member.name)).toEqual(["m1"]);
    store.close();
  }));

test("a joiner knows whom it may call, and has an empty log", () =>
  inDirectory((directory) => {
    const path = joinIn(directory);
    expect(loadIdentity(path)?.peers).toEqual([{ id: M1, address: "127.0.0.1:8009" }]);
    const store = openStore(path);
    expect(store.state).toBeNull();
    expect(store.load()).toMatchObject({ last: { index: 0, term: 0 }, promotableFrom: 7 });
    store.close();
  }));

test("a member whose database is gone or empty never forms, joins or starts again", () =>
  inDirectory((directory) => {
    const path = formIn(directory);
    rmSync(path);
    expect(() => loadIdentity(path)).toThrow("its promises are lost");
    expect(() => formIn(directory)).toThrow("its promises are lost");
    expect(() => joinIn(directory)).toThrow("its promises are lost");
    writeFileSync(path, "");
    expect(() => loadIdentity(path)).toThrow("its promises are lost");
    openDatabase(path).close();
    expect(() => loadIdentity(path)).toThrow("its promises are lost");
  }));

test("a crash between database and marker is made good", () =>
  inDirectory((directory) => {
    const path = formIn(directory);
    const { marker } = storePaths(directory);
    const before = readFileSync(marker, "utf8");
    rmSync(marker);
    expect(loadIdentity(path)?.memberId).toBe(M1);
    expect(readFileSync(marker, "utf8")).toBe(before);
  }));

test("the database of another cluster or member is refused", () =>
  inDirectory((directory) => {
    const path = formIn(directory);
    const { marker } = storePaths(directory);
    const write = (change: object) => {
      writeFileSync(marker, JSON.stringify({ clusterId: CLUSTER, memberId: M1, origin: "form", ...change }));
    };
    write({ clusterId: OTHER });
    expect(() => loadIdentity(path)).toThrow("taken from another cluster");
    write({ memberId: M2 });
    expect(() => loadIdentity(path)).toThrow("copied from another member");
    writeFileSync(marker, "{");
    expect(() => loadIdentity(path)).toThrow("is damaged");
  }));

test("a database in use, from a newer version, or that is none is refused with what to do", () =>
  inDirectory(async (directory) => {
    const path = formIn(directory);
    const holder = Bun.spawn(
      [
        process.execPath,
        "-e",
        `const { openDatabase } = await import(${JSON.stringify(join(import.meta.dir, "../../../src/store/database.ts"))});
         // Kept: a database that nobody holds on to is closed by the garbage collector.
         const held = openDatabase(${JSON.stringify(path)}); console.log("held"); setInterval(() => held.path, 1000);`,
      ],
      { stdout: "pipe", stderr: "inherit" },
    );
    for await (const _ of holder.stdout) break;
    expect(() => openDatabase(path)).toThrow("in use by another guacamole process");
    holder.kill("SIGKILL");
    await holder.exited;

    const database = openDatabase(path);
    database.raw.run("PRAGMA user_version = 99");
    database.close();
    expect(() => openDatabase(path)).toThrow("newer version of guacamole");

    const text = join(directory, "text.db");
    writeFileSync(text, "this is not a database, however long one looks at it".repeat(30));
    expect(() => openDatabase(text)).toThrow("cannot use the database");
    copyFileSync(text, join(directory, "other"));
    chmodSync(text, 0o600);
    expect(() => openDatabase(join(directory, "other", "x.db"))).toThrow("Make the data directory writable");
  }));

test("forming that fails half way leaves the directory free", () =>
  inDirectory((directory) => {
    const databasePath = storePaths(directory).database;
    const [config, command] = firstEntries();
    if (config === undefined || command === undefined) throw new Error("two entries begin a log");
    const entries = [config, { ...command, data: new TextEncoder().encode("no command") }];
    expect(() =>
      formStore({ databasePath, clusterId: CLUSTER, memberId: M1, entries, rules: RULES }),
    ).toThrow();
    expect(loadIdentity(databasePath)).toBeNull();
    formIn(directory);
  }));

test("SQLite before 3.51.3 is too old", () => {
  expect(["3.51.2", "3.50.9", "2.99.99"].map(isOlder)).toEqual([true, true, true]);
  expect(["3.51.3", "3.54.1", "4.0.0"].map(isOlder)).toEqual([false, false, false]);
});
