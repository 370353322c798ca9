/** Against real sockets: what is sent, what is not, and what happens while nobody listens. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createApi } from "../../../src/api/create-api.ts";
import type { AuditRecordDocument } from "../../../src/api/documents.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { Consensus } from "../../../src/cluster/consensus.ts";
import { AuditCourier } from "../../../src/main/audit-courier.ts";
import { openSyslog } from "../../../src/main/syslog-link.ts";
import { parseSyslogTarget, type SyslogConfig } from "../../../src/main/syslog-target.ts";
import { realClock } from "../../support/postgres-clock.ts";
import { until } from "../../support/postgres-farm.ts";
import {
  parseLocalSyslog,
  parseSyslog,
  receiveStream,
  receiveUdp,
  receiveUnix,
  type SyslogReceiver,
} from "../../support/syslog-receivers.ts";
import { selfSigned } from "../api/certificates.ts";
import { ADMIN, createFake, type Fake, M1, M2, OPERATOR, stateOf } from "../api/fixture.ts";

let directory: string;
let fake: Fake;
const couriers: AuditCourier[] = [];
const receivers: SyslogReceiver[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "audit-courier-"));
  fake = living();
});
afterEach(async () => {
  for (const courier of couriers.splice(0)) await courier.stop();
  for (const receiver of receivers.splice(0)) receiver.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Commands are carried out, and their events kept. */
function living(): Fake {
  const made = createFake();
  made.state = stateOf({ featureLevel: 4 });
  made.onCommand = (command) => {
    const { state, outcome, events } = apply(made.state, command);
    made.state = state;
    for (const event of events) made.events.push({ ...event, id: (made.events.at(-1)?.id ?? 0) + 1 });
    made.next = { kind: "applied", outcome };
    made.changed();
  };
  return made;
}

function configFor(target: string, caFile: string | null = null): SyslogConfig {
  const parsed = parseSyslogTarget(target);
  if (parsed === null) throw new Error(target);
  return { target: parsed, facility: 10, caFile };
}

function courierTo(config: SyslogConfig, isAttached = true): AuditCourier {
  const courier = new AuditCourier({
    config,
    open: () => openSyslog(config, realClock),
    sentFile: join(directory, "audit-sent"),
    hostName: "db1",
    version: "0.2.0",
    processId: 7,
    clock: realClock,
    log: fake.ports.log,
  });
  couriers.push(courier);
  courier.start();
  if (isAttached) courier.attach(fake.ports.consensus() as Consensus, M1);
  return courier;
}

function kept<R extends SyslogReceiver>(receiver: R): R {
  receivers.push(receiver);
  return receiver;
}

/** Asks a member of the cluster, over the network; null: the one that has the courier. */
async function ask(
  method: string,
  path: string,
  body: unknown,
  { token = OPERATOR, asked = null as AuditCourier | null, member = M1 } = {},
): Promise<number> {
  fake.selfId = member;
  const ports = {
    ...fake.ports,
    ...(asked === null ? {} : { onAttempt: (record: AuditRecordDocument) => asked.tell(record) }),
  };
  const request = new Request(`http://localhost${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    ...(method === "GET" ? {} : { body: JSON.stringify(body) }),
  });
  return (await createApi(ports).handle(request, "network", "10.0.0.9")).status;
}

const pause = (reason: string) => ({ reason });
const parsed = ({ target, messages }: SyslogReceiver) =>
  messages.map((message) => (target.startsWith("unix:") ? parseLocalSyslog(message) : parseSyslog(message)));
const told = (receiver: SyslogReceiver) =>
  parsed(receiver).map(({ messageId, content }) => {
    const { request = "", code = null, lost = null } = content;
    return [messageId, code ?? lost ?? request].join(" ");
  });
const when = (what: string, isSo: () => boolean) => until(what, async () => (isSo() ? true : null));
const gets = (receiver: SyslogReceiver, count: number) =>
  when(`${count} messages`, () => receiver.messages.length >= count);

const ways: readonly [string, () => Promise<{ receiver: SyslogReceiver; config: SyslogConfig }>][] = [
  [
    "the datagram socket of the host",
    async () => {
      const receiver = kept(receiveUnix(join(directory, "log")));
      return { receiver, config: configFor(receiver.target) };
    },
  ],
  [
    "UDP",
    async () => {
      const receiver = kept(await receiveUdp());
      return { receiver, config: configFor(receiver.target) };
    },
  ],
  [
    "TCP",
    async () => {
      const receiver = kept(receiveStream());
      return { receiver, config: configFor(receiver.target) };
    },
  ],
  [
    "TLS",
    async () => {
      const { tls, caFile } = await certified("127.0.0.1");
      const receiver = kept(receiveStream(tls));
      return { receiver, config: configFor(receiver.target, caFile) };
    },
  ],
];

/** What a daemon shows, and the file with the authority that vouches for it. */
async function certified(address: string) {
  const tls = await selfSigned("log", address);
  const caFile = join(directory, `ca-${couriers.length}.pem`);
  writeFileSync(caFile, tls.cert);
  return { tls, caFile };
}

describe("changes and refusals", () => {
  test.each(ways)("get over %s to a daemon, each once, with who, whence and what", async (_name, begin) => {
    const { receiver, config } = await begin();
    const courier = courierTo(config);
    expect(await ask("POST", "/v1/pause", pause("storage"))).toBe(201);
    await gets(receiver, 1);
    expect(await ask("POST", "/v1/tokens", { scope: "admin" }, { asked: courier })).toBe(403);
    await gets(receiver, 2);
    expect(told(receiver)).toEqual(["audit.change POST /v1/pause", "audit.refused scope-insufficient"]);
    const [change, refused] = parsed(receiver);
    // A host's own daemon knows its name, and loses nothing on the way.
    const isLocal = config.target.kind === "unix";
    expect(change).toMatchObject({ facility: 10, severity: 5, app: "guacamole", processId: "7" });
    if (!isLocal) expect(change).toMatchObject({ host: "db1", sequence: 1 });
    expect(change?.content).toMatchObject({
      id: `change-${fake.events.at(-1)?.id}`,
      outcome: "changed",
      by: "operator-1",
      address: "10.0.0.9",
      member: "m1",
      values: [{ path: "pauses[0]", before: null }],
    });
    expect(refused).toMatchObject({ severity: 4, content: { outcome: "refused", status: 403 } });
    if (!isLocal) expect(refused).toMatchObject({ sequence: 2 });
    expect(courier.status).toMatchObject({ problem: null, waiting: 0, lost: 0 });
  });

  test("of other members are theirs to send, and secrets are masked", async () => {
    const receiver = kept(receiveUnix(join(directory, "log")));
    courierTo(configFor(receiver.target));
    await ask("POST", "/v1/pause", pause("elsewhere"), { member: M2 });
    const verifier =
      "SCRAM-SHA-256$4096:QUFBQUFBQUFBQUFBQUFBQQ==$QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
    const status = await ask("PUT", "/v1/access/roles/app", { password: verifier }, { token: ADMIN });
    expect(status).toBe(200);
    await gets(receiver, 1);
    expect(told(receiver)).toEqual(["audit.change PUT /v1/access/roles/app"]);
    expect(receiver.messages[0]).not.toContain("QUFBQUFB");
  });

  test("that were made while the member was down are sent when it is back, and none of them twice", async () => {
    const receiver = kept(receiveUnix(join(directory, "log")));
    const config = configFor(receiver.target);
    const before = courierTo(config);
    await ask("POST", "/v1/pause", pause("a"));
    await gets(receiver, 1);
    await before.stop();
    await ask("POST", "/v1/pause", pause("b"));
    courierTo(config);
    await gets(receiver, 2);
    await ask("POST", "/v1/pause", pause("c"));
    await gets(receiver, 3);
    const ids = parsed(receiver).map(({ content }) => content["id"]);
    expect(new Set(ids).size).toBe(3);
    expect(ids).toHaveLength(3);
  });

  test("that the trail has forgotten meanwhile are told as lost; another member's place says nothing", async () => {
    const receiver = kept(receiveUnix(join(directory, "log")));
    const config = configFor(receiver.target);
    await ask("POST", "/v1/pause", pause("a"));
    const [first, second] = fake.events;
    if (first === undefined || second === undefined) throw new Error("a change makes events");
    const courier = courierTo(config);
    await gets(receiver, 1);
    await courier.stop();
    expect(readFileSync(join(directory, "audit-sent"), "utf8")).toBe(`${M1} ${second.id}\n`);
    fake.events.splice(0, fake.events.length, { ...second, id: second.id + 10 });
    const back = courierTo(config);
    await gets(receiver, 3);
    expect(told(receiver)).toEqual([
      "audit.change POST /v1/pause",
      "audit.lost 9",
      "audit.change POST /v1/pause",
    ]);
    expect(back.status.lost).toBe(9);
    await back.stop();
    writeFileSync(join(directory, "audit-sent"), `${M2} ${second.id + 10}\n`);
    courierTo(config);
    await gets(receiver, 4);
    expect(told(receiver).at(-1)).toBe("audit.change POST /v1/pause");
  });
});

describe("a daemon that is away", () => {
  test("is told of, holds nothing up, and gets what it missed", async () => {
    const path = join(directory, "log");
    const courier = courierTo(configFor(`unix:${path}`));
    expect(await ask("POST", "/v1/pause", pause("a"))).toBe(201);
    await ask("POST", "/v1/tokens", { scope: "admin" }, { asked: courier });
    await when("it is told", () => courier.status.problem !== null);
    expect(courier.status).toMatchObject({ problem: "there is no such socket", waiting: 1, lost: 0 });
    expect(fake.logged).toContain("audit.syslog-away");
    const receiver = kept(receiveUnix(path));
    await gets(receiver, 2);
    await when("all is well", () => courier.status.problem === null);
    expect(told(receiver)).toEqual(["audit.refused scope-insufficient", "audit.change POST /v1/pause"]);
    expect(fake.logged.filter((event) => event.startsWith("audit.syslog"))).toEqual([
      "audit.syslog-away",
      "audit.syslog-back",
    ]);
  });

  test("for long loses the oldest refusals, and tells how many", async () => {
    const path = join(directory, "log");
    const courier = courierTo(configFor(`unix:${path}`), false);
    const record = { at: "2026-01-01T00:00:00.000Z", outcome: "refused", values: [], untold: 0 };
    for (let at = 0; at < 1_003; at += 1)
      courier.tell({ ...record, id: `attempt-${at}`, code: `c${at}` } as never);
    expect(courier.status).toMatchObject({ waiting: 1_000, lost: 3 });
    await when("it is told", () => courier.status.problem !== null);
    const receiver = kept(receiveUnix(path));
    await gets(receiver, 1_001);
    expect(told(receiver).slice(0, 2)).toEqual(["audit.lost 3", "audit.refused c3"]);
    expect(told(receiver)).toHaveLength(1_001);
  });

  test("over TCP comes back on another connection", async () => {
    const first = receiveStream();
    const config = configFor(first.target);
    const courier = courierTo(config);
    await ask("POST", "/v1/pause", pause("a"));
    await gets(first, 1);
    first.close();
    const port = Number(first.target.split(":").at(-1));
    const second = kept(receiveStream(null, port));
    await Bun.sleep(50);
    await ask("POST", "/v1/pause", pause("b"));
    await gets(second, 1);
    expect(told(second)).toEqual(["audit.change POST /v1/pause"]);
    await when("all is well", () => courier.status.problem === null);
  });

  test("or that does not read what is sent, keeps nobody from stopping", async () => {
    const receiver = kept(receiveUnix(join(directory, "log"), false));
    const courier = courierTo(configFor(receiver.target), false);
    const record = { at: "2026-01-01T00:00:00.000Z", outcome: "refused", values: [], untold: 0 };
    for (let at = 0; at < 900; at += 1) courier.tell({ ...record, id: `attempt-${at}` } as never);
    await when("it is full", () => courier.status.waiting > 0);
    await courier.stop();
    expect(courier.status.waiting).toBeGreaterThan(0);
  });
});

describe("over TLS nothing is sent", () => {
  test("to a daemon whose certificate is of another authority, or for another name", async () => {
    const { tls } = await certified("127.0.0.1");
    const receiver = kept(receiveStream(tls));
    const other = await certified("127.0.0.1");
    const strange = courierTo(configFor(receiver.target, other.caFile));
    await ask("POST", "/v1/pause", pause("a"));
    await when("it is refused", () => strange.status.problem !== null);
    expect(strange.status.problem).toContain("its certificate is not trusted");
    await strange.stop();
    const named = await certified("127.0.0.2");
    const misnamed = kept(receiveStream(named.tls));
    const wrong = courierTo(configFor(misnamed.target, named.caFile));
    await when("it is refused", () => wrong.status.problem !== null);
    expect(wrong.status.problem).toContain("its certificate is not trusted");
    expect([...receiver.messages, ...misnamed.messages]).toEqual([]);
  });
});
