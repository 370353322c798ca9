/** A host that is not as it should be: the member says what is wrong and what to do, and gets on once it is mended. */

import { expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { ClusterLife, describeLife, makeCluster, newestPostgres } from "../support/cluster-life.ts";
import { guacamole } from "../support/tested-binary.ts";
import { configuration, startWith } from "../support/tested-configuration.ts";

const EXIT_USAGE = 2;
const EXIT_FAILED = 5;
const PROGRAMS = ["postgres", "initdb", "pg_basebackup", "pg_rewind", "pg_controldata"];

test("a configuration with an unknown key and a wrong type is refused, each with its line and what was meant", async () => {
  const { exitCode, stderr } = await startWith((trial) =>
    configuration(trial, { more: 'init = 7\nnmae = "m2"' }),
  );
  expect(exitCode).toBe(EXIT_USAGE);
  expect(stderr).toContain("the configuration is not valid");
  expect(stderr).toMatch(/line 3: 'init' must be a string/);
  expect(stderr).toMatch(/line 4: there is no key 'nmae': did you mean 'name'\?/);
});

test("a configuration that is not there is named", async () => {
  const { exitCode, stderr } = await guacamole("run", "--config", "/nowhere/guacamole.toml");
  expect(exitCode).toBe(EXIT_USAGE);
  expect(stderr).toContain("/nowhere/guacamole.toml cannot be read");
});

test("a directory without PostgreSQL's programs is named, with what is missing", async () => {
  const { exitCode, stderr, trial } = await startWith((each) => {
    mkdirSync(join(each.directory, "bin"));
    return configuration(each, { binDirectory: join(each.directory, "bin") });
  });
  expect(exitCode).toBe(EXIT_FAILED);
  expect(stderr).toContain(`the PostgreSQL programs in ${join(trial.directory, "bin")} are incomplete`);
  expect(stderr).toContain(`${PROGRAMS.join(", ")} missing`);
  expect(stderr).toContain("install the complete server package");
});

test("a PostgreSQL that is too old is refused with its version and the oldest that will do", async () => {
  const { exitCode, stderr } = await startWith((trial) => {
    const binDirectory = join(trial.directory, "bin");
    mkdirSync(binDirectory);
    for (const program of PROGRAMS) {
      writeFileSync(join(binDirectory, program), "#!/bin/sh\necho 'postgres (PostgreSQL) 12.1'\n", {
        mode: 0o755,
      });
    }
    return configuration(trial, { binDirectory });
  });
  expect(exitCode).toBe(EXIT_FAILED);
  expect(stderr).toContain("PostgreSQL 12.1");
  expect(stderr).toContain("is too old: 15 or newer is needed; install a newer one, or set postgres.bin-dir");
});

test("a data-dir that cannot be written is named", async () => {
  const { exitCode, stderr } = await startWith((trial) => {
    // A file in the way stops everybody, root too.
    writeFileSync(join(trial.directory, "occupied"), "");
    const { binDirectory } = newestPostgres();
    return configuration(trial, { binDirectory, dataDir: join(trial.directory, "occupied", "member") });
  });
  expect(exitCode).toBe(EXIT_FAILED);
  expect(stderr).toMatch(
    /data-dir .*occupied\/member cannot be written: .*Make it writable for this user, or set data-dir/,
  );
});

test("an API port in use is named, with the key that says it", async () => {
  let blocked: ReturnType<typeof block> | null = null;
  try {
    const { exitCode, stderr, trial } = await startWith((each) => {
      blocked = block(each.apiPort);
      return configuration(each, { binDirectory: newestPostgres().binDirectory });
    });
    expect(exitCode).toBe(EXIT_FAILED);
    expect(stderr).toContain(`port ${trial.apiPort} on 127.0.0.1 is in use by another program`);
    expect(stderr).toContain("[api] listen in guacamole.toml");
  } finally {
    stop(blocked);
  }
});

describeLife(
  "a member whose peer port is in use",
  () => makeCluster(1),
  (part) => {
    part("does not form, says why, and forms once the port is free", async (life) => {
      const [member] = only(life);
      await life.cluster.start(member);
      const blocked = block(member.peerPort);
      try {
        const refused = await life.ask(member, "form");
        expect(refused.exitCode).not.toBe(0);
        expect(refused.stderr).toContain(String(member.peerPort));
        expect(refused.stderr).toContain("in use");
        expect(refused.stderr).toContain("[peer] listen");
      } finally {
        blocked.stop(true);
      }
      expect((await life.ask(member, "form")).exitCode).toBe(0);
    });

    part("does not start again while the port is in use, and says why", async (life) => {
      const [member] = only(life);
      await life.cluster.killMemberProcess(member);
      const blocked = block(member.peerPort);
      try {
        const { exitCode, stderr } = await guacamole("run", "--config", member.configPath);
        expect(exitCode).toBe(EXIT_FAILED);
        expect(stderr).toContain(String(member.peerPort));
        expect(stderr).toContain("in use");
      } finally {
        blocked.stop(true);
      }
      await life.cluster.start(member);
    });
  },
);

describeLife(
  "a single member on a host with faults",
  () => makeCluster(1),
  (part) => {
    part("refuses to run twice on one data-dir", async (life) => {
      await life.form();
      const [member] = only(life);
      const { exitCode, stderr } = await guacamole("run", "--config", member.configPath);
      expect(exitCode).toBe(EXIT_FAILED);
      expect(stderr).toContain(`another guacamole runs on data-dir ${join(member.directory, "member")}`);
    });

    part(
      "builds no PostgreSQL in a place that belongs to another user, and says whose it must be",
      async (life) => {
        const [member] = only(life);
        const place = dirname(member.dataDirectory);
        const { uid, gid } = statSync(place);
        if (process.getuid?.() === 0) chownSync(place, 0, 0);
        else chmodSync(place, 0o555);
        try {
          // A new supervisor finds it so.
          await life.cluster.killEverything(member);
          await life.cluster.start(member);
          await life.now();
          const refused = await life.ask(member, "init");
          expect(refused.exitCode).toBe(4);
          expect(refused.stderr).toContain("Nothing is known of the data directory of m1");
          expect(refused.stderr).toContain(`${place} must be writable by the system user`);
          expect(refused.stderr).toContain("Nothing was touched.");
          expect((await life.now()).isInitialized).toBe(false);
        } finally {
          chownSync(place, uid, gid);
          chmodSync(place, 0o755);
        }
      },
    );

    part(
      "waits for PostgreSQL's port while it is in use, says so, and goes on once it is free",
      async (life) => {
        const [member] = only(life);
        const blocked = block(member.postgresPort);
        try {
          const begun = await life.ask(member, "init", "--no-wait");
          expect(begun.exitCode).toBe(0);
          const seen = await life.seen("PostgreSQL's own words are shown", ({ members }) =>
            /could not bind/.test(members[0]?.detail ?? ""),
          );
          expect(seen.members[0]?.detail).toContain("Address already in use");
          expect((await life.ask(member, "status")).stdout).toContain("Address already in use");
        } finally {
          blocked.stop(true);
        }
        await life.untilWhole();
        expect((await life.now()).isWritable).toBe(true);
      },
    );

    part(
      "does not start without PostgreSQL's programs, leaves PostgreSQL alone, and finds it again",
      async (life) => {
        const [member] = only(life);
        const postmaster = life.cluster.postmasterPid(member);
        await life.cluster.killMemberProcess(member);
        const { exitCode, stderr } = await guacamole("run", "--config", await withoutPrograms(member));
        expect(exitCode).toBe(EXIT_FAILED);
        expect(stderr).toContain("there is no directory /nowhere");
        await life.cluster.start(member);
        await life.untilWhole();
        expect(life.cluster.postmasterPid(member)).toBe(postmaster);
      },
    );
  },
);

describeLife(
  "two members whose databases were confused",
  () => makeCluster(2),
  (part) => {
    part(
      "do not start, each says whose database it has, and both start once they are put back",
      async (life) => {
        await life.form();
        const [one, two] = life.cluster.members;
        if (one === undefined || two === undefined) throw new Error("there are two members");
        for (const member of [one, two]) await life.cluster.killMemberProcess(member);
        swapDatabases(one, two);
        for (const member of [one, two]) {
          const { exitCode, stderr } = await guacamole("run", "--config", member.configPath);
          expect(exitCode).toBe(EXIT_FAILED);
          expect(stderr).toContain("the database was copied from another member. Put the right one back");
        }
        swapDatabases(one, two);
        await Promise.all([one, two].map((member) => life.cluster.start(member)));
        // Two members have one vote between them: the other one follows.
        await life.seen(
          "they agree again",
          ({ raft, members }) =>
            raft.leader !== null && members.every(({ isCaughtUp }) => isCaughtUp === true),
        );
      },
    );
  },
);

test("a database that was taken from another cluster is refused, with both clusters' ids", async () => {
  const lives: ClusterLife[] = [];
  try {
    for (let count = 0; count < 2; count += 1) lives.push(new ClusterLife(makeCluster(1)));
    const ids: string[] = [];
    for (const life of lives) {
      await life.form();
      ids.push((await life.now()).clusterId);
      await life.cluster.killMemberProcess(only(life)[0]);
    }
    const [first, second] = lives.map((life) => only(life)[0]);
    if (first === undefined || second === undefined) throw new Error("there are two clusters");
    swapDatabases(first, second);
    const { exitCode, stderr } = await guacamole("run", "--config", first.configPath);
    expect(exitCode).toBe(EXIT_FAILED);
    expect(stderr).toContain(`belongs to cluster ${ids[1]}`);
    expect(stderr).toContain(`says cluster ${ids[0]}: the database was taken from another cluster`);
  } finally {
    for (const life of lives) await life.remove();
  }
});

function only({ cluster }: ClusterLife): readonly [LocalMember] {
  return [cluster.member("m1")];
}

/** Another program on a port. */
function block(port: number) {
  return Bun.listen({ hostname: "127.0.0.1", port, socket: { data: () => undefined } });
}

function stop(listener: ReturnType<typeof block> | null): void {
  listener?.stop(true);
}

/** The member's file with another bin-dir, beside its own. */
async function withoutPrograms(member: LocalMember): Promise<string> {
  const path = join(member.directory, "spoilt.toml");
  const text = await Bun.file(member.configPath).text();
  writeFileSync(path, text.replace(/bin-dir = .*/, 'bin-dir = "/nowhere"'));
  return path;
}

/** With the write-ahead log, where there is one. */
function swapDatabases(one: LocalMember, two: LocalMember): void {
  const [here, there] = [join(one.directory, "member"), join(two.directory, "member")];
  const names = (directory: string) =>
    readdirSync(directory).filter((name) => name.startsWith("guacamole.db"));
  const [mine, theirs] = [names(here), names(there)];
  for (const name of mine) renameSync(join(here, name), join(here, `mine-${name}`));
  for (const name of theirs) renameSync(join(there, name), join(here, name));
  for (const name of mine) renameSync(join(here, `mine-${name}`), join(there, name));
}
