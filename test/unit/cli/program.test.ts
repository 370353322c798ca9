import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { ClusterDocument } from "../../../src/api/documents.ts";
import type { Fake } from "../api/fixture.ts";
import { applyCommands, beginOperation, stateOf } from "../api/fixture.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

let member: FakeMember;
beforeEach(async () => {
  member = await startFakeMember();
});
afterEach(() => member.close());

function lastOperation({ state }: Fake, over: Record<string, unknown>): void {
  const operations = state?.operations ?? [];
  const last = operations.at(-1);
  if (state === null || last === undefined) throw new Error("no operation");
  member.fake.state = { ...state, operations: [...operations.slice(0, -1), { ...last, ...over }] };
}

describe("usage", () => {
  const cases: readonly [readonly string[], string][] = [
    [["stauts"], "Did you mean status?"],
    [["status", "--wach"], "Did you mean --watch?"],
    [["status", "--output", "xml"], "Allowed choices are table, json, yaml"],
    [["join"], "missing required argument"],
    [["supervise", "--socket", "/s"], "--data-dir"],
    [["demo", "--seconds", "soon"], "whole number"],
    [["member", "add", "--ttl", "forever"], "30m, 2h or 7d"],
    [["status", "--endpoint", "http://m1:8008"], "is not an endpoint"],
    [["status", "--endpoint", "m1:8008", "--ca", "/nowhere/ca.crt"], "cannot read the CA's certificate"],
  ];
  test.each(cases)("%p is a wrong command line", async (argv, words) => {
    const { code, out, err } = await member.guacamole(argv);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain(words);
  });

  test("help teaches the first five minutes and the exit codes", async () => {
    const { code, out } = await member.guacamole(["--help"]);
    expect(code).toBe(0);
    for (const words of [
      "guacamole run",
      "guacamole form",
      "guacamole join",
      "guacamole init",
      "6  unknown",
    ]) {
      expect(out).toContain(words);
    }
  });

  test("every command explains itself", async () => {
    const names = [
      "run",
      "form",
      "join",
      "init",
      "status",
      "switchover",
      "member",
      "consensus",
      "backup-state",
      "recover",
      "operation",
      "events",
      "token",
      "break-glass",
      "audit",
      "demo",
      "supervise",
      "version",
      "completion",
    ];
    for (const name of names) {
      const { code, out } = await member.guacamole([name, "--help"]);
      expect([name, code]).toEqual([name, 0]);
      expect(out.length).toBeGreaterThan(150);
    }
  });

  test("version", async () => {
    expect(await member.guacamole(["version"])).toEqual({ code: 0, out: "guacamole 1.2.3\n", err: "" });
    expect((await member.guacamole(["version", "--output", "json"])).out).toBe(
      '{\n  "version": "1.2.3"\n}\n',
    );
    expect((await member.guacamole(["--version"])).out).toBe("1.2.3\n");
  });

  test("completion knows every command, and bash can read it", async () => {
    for (const shell of ["bash", "zsh", "fish"]) {
      const { out } = await member.guacamole(["completion", shell]);
      for (const word of ["switchover", "reinit", "linearizable"]) expect(out).toContain(word);
    }
    const { out } = await member.guacamole(["completion", "bash"]);
    const script = `${out}\nCOMP_WORDS=(guacamole member rei); COMP_CWORD=2; _guacamole; echo "\${COMPREPLY[@]}"`;
    expect(Bun.spawnSync(["bash", "-c", script]).stdout.toString().trim()).toBe("reinit");
  });
});

describe("processes", () => {
  test("run, supervise and demo get their options, and their exit code is ours", async () => {
    for (const argv of [
      ["run"],
      ["run", "--config", "g.toml"],
      ["supervise", "--socket", "/s", "--data-dir", "/d", "--bin-dir", "/b"],
      ["demo", "--keep", "--plain", "--seconds", "9"],
      ["demo"],
    ]) {
      expect((await member.guacamole(argv)).code).toBe(7);
    }
    expect(member.started).toEqual([
      { configPath: null },
      { configPath: "g.toml" },
      {
        socketPath: "/s",
        dataDir: "/d",
        binDir: "/b",
        isContainer: false,
        watchdog: { mode: "off", device: "/dev/watchdog" },
      },
      { isKept: true, isPlain: true, seconds: 9, binDir: null },
      { isKept: false, isPlain: false, seconds: 5, binDir: null },
    ]);
  });
});

describe("status", () => {
  test("shows who is primary, who follows, how far behind", async () => {
    const { code, out } = await member.guacamole(["status"]);
    expect(code).toBe(0);
    expect(out).toBe(
      [
        "cluster orders · epoch 3 · writable · quorum ANY 1 (m2, m3) · leader m1",
        "",
        "MEMBER  ROLE     STATE      TL  LAG     LEADER  REASON",
        "m1      primary  running    3   -       *       steady",
        "m2      standby  streaming  3   1.0 kB          steady",
        "m3      standby  streaming  3   1.0 kB          steady",
        "",
      ].join("\n"),
    );
  });

  test("for programs it is what the API says", async () => {
    const { out } = await member.guacamole(["status", "--output", "json"]);
    expect((JSON.parse(out) as ClusterDocument).reign?.primary).toBe("m1");
    expect((await member.guacamole(["status", "-o", "yaml"])).out).toContain("isWritable: true\n");
  });

  test("says why the cluster is not writable", async () => {
    member.fake.local = null;
    const { out } = await member.guacamole(["status"]);
    expect(out).toContain("NOT writable");
    expect(out).toContain("nothing has been heard of the primary m1");
  });

  test("--watch goes on until Ctrl-C, also while the member is away", async () => {
    let turns = 0;
    member.onSleep = () => {
      turns += 1;
      if (turns === 3) member.interrupt.abort();
    };
    const { code, out } = await member.guacamole(["status", "--watch", "--output", "json"]);
    expect(code).toBe(0);
    expect(out.trimEnd().split("\n")).toHaveLength(3);
  });
});

describe("exit codes", () => {
  test("3: refused, with the hint of the API", async () => {
    member.fake.state = null;
    const { code, out, err } = await member.guacamole(["status"]);
    expect([code, out]).toEqual([3, ""]);
    expect(err).toStartWith("guacamole: This member belongs to no cluster yet.\n");
    expect(err).toContain("'guacamole form'");
    const asJson = await member.guacamole(["status", "--output", "json"]);
    expect(JSON.parse(asJson.err)).toMatchObject({ code: "not-formed", status: 409 });
  });

  test("4: nobody answers", async () => {
    const { code, err } = await member.guacamole(["status", "--socket", "/nowhere/api.sock"]);
    expect(code).toBe(4);
    expect(err).toContain("/nowhere/api.sock: no socket that answers");
    expect(err).toContain("Is 'guacamole run' up");
  });

  test("4: endpoints are tried in turn, each is named", async () => {
    const { code, err } = await member.guacamole([
      "status",
      "--endpoint",
      "127.0.0.1:1",
      "--endpoint",
      "127.0.0.1:2",
    ]);
    expect(code).toBe(4);
    expect(err).toMatch(/https:\/\/127\.0\.0\.1:1: .*https:\/\/127\.0\.0\.1:2: /);
  });

  test("4: no leader; 6: unknown", async () => {
    member.fake.answer = { kind: "not-proposed", reason: "no leader" };
    expect((await member.guacamole(["switchover"])).code).toBe(4);
    member.fake.answer = { kind: "unknown", reason: "no answer" };
    const { code, err } = await member.guacamole(["switchover"]);
    expect(code).toBe(6);
    expect(err).toContain("may still happen");
  });

  test("6: the connection broke after a write was sent; a read is simply unreachable", async () => {
    const path = `${member.socketPath}.broken`;
    const broken = Bun.listen({
      unix: path,
      socket: {
        data(socket) {
          socket.end();
        },
      },
    });
    expect((await member.guacamole(["switchover", "--socket", path])).code).toBe(6);
    expect((await member.guacamole(["status", "--socket", path])).code).toBe(4);
    broken.stop(true);
  });

  test("something else that answers is not taken for a member", async () => {
    const path = `${member.socketPath}.other`;
    const other = Bun.serve({ unix: path, fetch: () => new Response("<html>", { status: 404 }) });
    const { code, err } = await member.guacamole(["status", "--socket", path]);
    expect(code).toBe(3);
    expect(err).toContain("not from guacamole");
    await other.stop(true);
  });
});

describe("long work", () => {
  test("init follows the operation to its end, one line per step", async () => {
    member.fake.onCommand = (command) => beginOperation(member.fake, command);
    const log = [{ atMs: 1, message: "initdb on m1" }];
    let turns = 0;
    member.onSleep = () => {
      turns += 1;
      if (turns === 1) lastOperation(member.fake, { phase: "clone", log });
      if (turns === 2) {
        const done = [...log, { atMs: 2, message: "all members stream" }];
        lastOperation(member.fake, { status: "succeeded", phase: "done", finishedAtMs: 3, log: done });
      }
    };
    const { code, out, err } = await member.guacamole(["init", "--primary", "m2"]);
    expect([code, out]).toEqual([0, "The initialize of m2 succeeded.\n"]);
    expect(err).toBe("begun\ninitdb on m1\nclone\nall members stream\n");
    expect(member.fake.commands).toHaveLength(1);
  });

  test("5: a failed operation, with its last word", async () => {
    member.fake.onCommand = (command) => beginOperation(member.fake, command);
    member.onSleep = () =>
      lastOperation(member.fake, { status: "failed", log: [{ atMs: 1, message: "the disk is full" }] });
    const { code, out, err } = await member.guacamole(["member", "reinit", "m2"]);
    expect([code, out]).toEqual([5, ""]);
    expect(err).toContain("The reinitialize failed: the disk is full");
  });

  test("--no-wait returns at once with the operation", async () => {
    member.fake.onCommand = (command) => beginOperation(member.fake, command);
    const { code, out } = await member.guacamole([
      "switchover",
      "--to",
      "m2",
      "--no-wait",
      "--output",
      "json",
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ kind: "switchover", status: "running" });
  });

  test("--at schedules it and does not wait; --list and --cancel show it and take it back", async () => {
    applyCommands(member.fake);
    member.fake.state = stateOf({ featureLevel: 4 });
    const at = "1970-01-01T01:00:10+01:00";
    const line = "a switchover from m1 to m2 is scheduled for 1970-01-01T00:00:10.000Z, by local";
    const made = await member.guacamole(["switchover", "--to", "m2", "--at", at]);
    expect([made.code, made.out]).toEqual([
      0,
      expect.stringMatching(/^a switchover .* \(operation [-\w]+\)\n$/),
    ]);
    expect(made.out).toStartWith(line);
    expect((await member.guacamole(["status"])).out).toContain(line);
    expect((await member.guacamole(["switchover", "--list"])).out).toBe(made.out);
    const both = await member.guacamole(["switchover", "--cancel", "--to", "m2"]);
    expect([both.code, both.err]).toEqual([2, expect.stringContaining("stand alone")]);
    expect((await member.guacamole(["switchover", "--cancel"])).out).toBe("No switchover is scheduled.\n");
    const past = await member.guacamole(["switchover", "--at", "1969-12-31T00:00:00Z"]);
    expect([past.code, past.err]).toEqual([3, expect.stringContaining("has passed already")]);
    const zoneless = await member.guacamole(["switchover", "--at", "2027-01-31T03:00:00"]);
    expect([zoneless.code, zoneless.err]).toEqual([3, expect.stringContaining("has no zone")]);
  });

  test("6: Ctrl-C stops the following and says that the work goes on", async () => {
    member.fake.onCommand = (command) => beginOperation(member.fake, command);
    member.onSleep = () => member.interrupt.abort();
    const { code, err } = await member.guacamole(["switchover"]);
    expect(code).toBe(6);
    expect(err).toContain("goes on");
  });
});

describe("setup", () => {
  test("form prints the token once, whole", async () => {
    member.fake.state = null;
    const { code, out } = await member.guacamole(["form", "--name", "orders", "--output", "json"]);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ token: expect.stringMatching(/^gcm_/) });
  });

  test("join sends the join token, which may come from the environment", async () => {
    member.fake.state = null;
    const token = `gcm_join.id.${"s".repeat(32)}.${"a".repeat(64)}`;
    const { code, out } = await member.guacamole(["join", "10.0.0.1:8008", "--token", token]);
    expect([code, out]).toEqual([
      0,
      "This member belongs to the cluster 'orders' now. 'guacamole status' shows it.\n",
    ]);
    const env = { GUACAMOLE_SOCKET: member.socketPath, GUACAMOLE_JOIN_TOKEN: token };
    expect((await member.guacamole(["join", "10.0.0.1:8008"], { env })).code).toBe(0);
    const bad = await member.guacamole(["join", "10.0.0.1:8008", "--token", "wrong"]);
    expect(bad.code).toBe(3);
    expect(bad.err).toContain("this is not a join token");
  });

  test("member add prints the command for the other host", async () => {
    const { out } = await member.guacamole(["member", "add", "--ttl", "10m"]);
    expect(out).toMatch(/ {2}guacamole join m1\.test:8008 --token gcm_join\./);
    expect(member.fake.commands[0]?.change).toMatchObject({ expiresAtMs: 5_000 + 600_000 });
  });
});

describe("events and operations", () => {
  const event = (id: number) => ({
    id,
    name: "primary.appointed",
    atMs: id,
    message: `event ${id}\u001b[2J`,
    fields: {},
  });

  test("events are printed oldest first, and cannot move the cursor", async () => {
    member.fake.events.push(event(1), event(2));
    const { out } = await member.guacamole(["events"]);
    expect(out).toBe(
      [1, 2]
        .map((id) => `1970-01-01T00:00:00.00${id}Z  primary.appointed             event ${id} [2J\n`)
        .join(""),
    );
  });

  test("--follow goes on as things happen, until Ctrl-C", async () => {
    member.fake.events.push(event(1));
    let seen = "";
    const terminal = {
      isInteractive: false,
      widthMax: () => null,
      err: () => {},
      out: (text: string) => {
        seen += text;
        if (member.fake.events.length === 1) {
          member.fake.events.push(event(2));
          member.fake.changed();
        } else {
          member.interrupt.abort();
        }
      },
    };
    const { code } = await member.guacamole(["events", "--follow", "--output", "json"], { terminal });
    expect(code).toBe(0);
    expect(
      seen
        .trimEnd()
        .split("\n")
        .map((line) => (JSON.parse(line) as { id: number }).id),
    ).toEqual([1, 2]);
  });

  test("operations are listed and shown", async () => {
    member.fake.onCommand = (command) => beginOperation(member.fake, command);
    await member.guacamole(["switchover", "--no-wait"]);
    const id = member.fake.state?.operations[0]?.id ?? "";
    expect((await member.guacamole(["operation", "list"])).out).toContain(
      `${id}  switchover  m2      running`,
    );
    expect((await member.guacamole(["operation", "show", id])).out).toContain(
      "switchover of m2: running, begun",
    );
    expect((await member.guacamole(["operation", "show", "nothing"])).code).toBe(3);
  });
});
