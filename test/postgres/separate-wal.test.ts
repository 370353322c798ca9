/** A WAL directory of its own stays where it is when a member is built anew. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { CLUSTER_ID, epoch, PostgresFarm, type TestServer } from "../support/postgres-farm.ts";
import { postgresMajors } from "../support/postgres-majors.ts";

const STEP_MS = 60_000;

describe.each(postgresMajors().map((installation) => [installation.major, installation] as const))(
  "PostgreSQL %d with a WAL directory of its own",
  (_major, installation) => {
    let farm: PostgresFarm;
    let m1: TestServer;
    let m2: TestServer;
    let walDirectory: string;
    const link = () => join(m2.paths.dataDirectory, "pg_wal");

    const clone = (replace: string | null) =>
      m2.ask({
        kind: "clone",
        clusterId: CLUSTER_ID,
        epoch: epoch(1),
        timelines: [],
        source: m1.upstream,
        replace,
      });
    const stop = () => m2.ask({ kind: "stop", mode: "fast", deadlineMs: 10_000 });
    const streams = async () => {
      await m2.follow(m1, epoch(1));
      await m2.ask({ kind: "start", epoch: epoch(1) });
      await m2.isStreaming();
    };

    beforeAll(async () => {
      farm = await PostgresFarm.create(installation);
      [m1, m2] = await Promise.all([farm.add("m1"), farm.add("m2")]);
      walDirectory = join(dirname(m2.paths.dataDirectory), "wal-disk", "wal");
      await m1.ask({
        kind: "initdb",
        clusterId: CLUSTER_ID,
        options: { encoding: "UTF8", locale: "C.UTF-8", walSegmentMb: 4 },
      });
      await farm.installCertificates(m1);
      await farm.installCertificates(m2);
      const settings = m1.settings();
      await m1.ask({ kind: "configure", epoch: epoch(1), timelines: [], settings });
      await m1.ask({ kind: "start", epoch: epoch(1) });
      await m1.probed("standby");
      await m1.ask({ kind: "promote", epoch: epoch(1), timelines: [], needsLease: false });
      await m1.probed("primary", ({ timeline }) => timeline === 2);
      await m1.probe.provision(5_000);
      await m1.probe.checkpoint(20_000);
      await clone(null);
      expect(lstatSync(link()).isDirectory()).toBe(true);
      m2.runAsOwner(["mkdir", "-p", dirname(walDirectory)]);
      m2.runAsOwner(["mv", link(), walDirectory]);
      m2.runAsOwner(["ln", "-s", walDirectory, link()]);
      await streams();
    }, STEP_MS);

    afterAll(() => farm.remove(), STEP_MS);

    test(
      "a clone in its place has its WAL where it was, and what it replaces has its own, until that is discarded",
      async () => {
        await stop();
        writeFileSync(join(walDirectory, "of-the-old-one"), "");
        const cloned = await clone("because");
        expect(cloned.hasAside).toBe(true);
        expect(readlinkSync(link())).toBe(walDirectory);
        expect(existsSync(join(walDirectory, "of-the-old-one"))).toBe(false);
        expect(readlinkSync(join(m2.paths.asideDirectory, "pg_wal"))).toBe(`${walDirectory}.aside`);
        expect(existsSync(join(`${walDirectory}.aside`, "of-the-old-one"))).toBe(true);
        await streams();
        expect(readdirSync(walDirectory).some((name) => /^[0-9A-F]{24}$/.test(name))).toBe(true);
        await m2.ask({ kind: "discard-aside" });
        expect(readdirSync(dirname(walDirectory))).toEqual(["wal"]);
      },
      STEP_MS,
    );

    test(
      "a supervisor that ended between the steps is followed by one that finishes them",
      async () => {
        for (const isOldMoved of [false, true]) {
          await stop();
          await clone("because");
          await m2.endSupervisor("SIGTERM");
          // As after a crash: the data has changed places, the WAL has not, or not wholly.
          const { dataDirectory, asideDirectory, cloneMarkFile } = m2.paths;
          renameSync(walDirectory, `${walDirectory}.clone-tmp`);
          if (!isOldMoved) renameSync(`${walDirectory}.aside`, walDirectory);
          for (const [directory, to] of [
            [dataDirectory, `${walDirectory}.clone-tmp`],
            [asideDirectory, walDirectory],
          ] as const) {
            rmSync(join(directory, "pg_wal"));
            symlinkSync(to, join(directory, "pg_wal"));
          }
          writeFileSync(cloneMarkFile, JSON.stringify({ epoch: 1, timelines: [], walDirectory }));
          await m2.supervise();
          expect(readlinkSync(link())).toBe(walDirectory);
          expect(readlinkSync(join(asideDirectory, "pg_wal"))).toBe(`${walDirectory}.aside`);
          expect(readdirSync(dirname(walDirectory)).toSorted()).toEqual(["wal", "wal.aside"]);
          expect(existsSync(cloneMarkFile)).toBe(false);
          await streams();
        }
      },
      STEP_MS,
    );

    test(
      "a clone that did not come to its end leaves nothing beside it",
      async () => {
        await m2.endSupervisor("SIGTERM");
        mkdirSync(`${walDirectory}.clone-tmp`);
        await m2.supervise();
        expect(existsSync(`${walDirectory}.clone-tmp`)).toBe(false);
      },
      STEP_MS,
    );

    test(
      "where the directory cannot be kept the WAL lies in the data directory, and it streams all the same",
      async () => {
        await m2.ask({ kind: "discard-aside" });
        await stop();
        chmodSync(dirname(walDirectory), 0o555);
        await clone("because");
        expect(lstatSync(link()).isDirectory()).toBe(true);
        expect(readdirSync(dirname(walDirectory))).toEqual(["wal"]);
        await streams();
        chmodSync(dirname(walDirectory), 0o755);
      },
      STEP_MS,
    );
  },
);
