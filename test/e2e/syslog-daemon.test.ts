/** A real rsyslog understands what it gets of the audit trail, over the socket of its host and over the network. */

import { afterAll, expect } from "bun:test";
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AuditRecordDocument } from "../../src/api/documents.ts";
import type { LocalCluster } from "../../src/demo/local-cluster.ts";
import { describeLife, makeCluster } from "../support/cluster-life.ts";
import { remember, removed } from "../support/left-behind.ts";
import { nextPort } from "../support/ports-in-turn.ts";
import { bareEnvironment } from "../support/tested-binary.ts";

const RSYSLOG = ["/usr/sbin/rsyslogd", Bun.which("rsyslogd") ?? ""].find((path) => existsSync(path));
const TCP_PORT = nextPort(10_000, 30_000);
const UDP_PORT = nextPort(10_000, 30_000);

let directory = "";
let daemon: Bun.Subprocess | null = null;
const rsyslog = { remove: () => daemon?.kill("SIGKILL") };
remember(rsyslog);
afterAll(() => {
  rsyslog.remove();
  removed(rsyslog);
});

/** Each by another way to the same daemon, which is up before them. */
function withDaemon(): LocalCluster {
  const cluster = makeCluster(3);
  directory = join(cluster.root, "rsyslog");
  mkdirSync(directory);
  const configPath = join(directory, "rsyslog.conf");
  writeFileSync(
    configPath,
    `global(workDirectory="${directory}")
module(load="imuxsock" SysSock.Use="off")
module(load="imtcp")
module(load="imudp")
input(type="imuxsock" Socket="${directory}/log")
input(type="imtcp" port="${TCP_PORT}" address="127.0.0.1")
input(type="imudp" port="${UDP_PORT}" address="127.0.0.1")
template(name="parts" type="string"
  string="%app-name%\\t%procid%\\t%syslogfacility-text%\\t%syslogseverity-text%\\t%msgid%\\t%msg:::drop-last-lf%\\n")
*.* action(type="omfile" file="${directory}/messages" template="parts")
`,
  );
  daemon = Bun.spawn([RSYSLOG ?? "", "-n", "-f", configPath, "-i", join(directory, "pid")], {
    env: bareEnvironment(),
    stdout: "ignore",
    stderr: Bun.file(join(directory, "errors")),
  });
  const targets = [`unix:${directory}/log`, `tcp://127.0.0.1:${TCP_PORT}`, `udp://127.0.0.1:${UDP_PORT}`];
  for (const [index, member] of cluster.members.entries())
    appendFileSync(member.configPath, `\n[audit]\nsyslog = "${targets[index]}"\n`);
  return cluster;
}

interface Read {
  readonly app: string;
  readonly processId: string;
  readonly facility: string;
  readonly severity: string;
  readonly messageId: string;
  readonly record: AuditRecordDocument;
}

/** What it wrote down, taken apart as it understood it. */
function messages(): readonly Read[] {
  const path = join(directory, "messages");
  // The last one may not be written to its end.
  const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
  return lines.flatMap((line) => {
    const [app = "", processId = "", facility = "", severity = "", id = "", text = ""] = line.split("\t");
    if (app !== "guacamole") return [];
    // Over the socket of its host there is no place for what kind of message it is but the text.
    const [, word = id, json = text] = id === "-" ? (/^ ?(\S+) (.*)$/.exec(text) ?? []) : [];
    return [
      {
        app,
        processId,
        facility,
        severity,
        messageId: word,
        record: JSON.parse(json) as AuditRecordDocument,
      },
    ];
  });
}

describeLife(
  "three members that send their audit trail to rsyslog",
  withDaemon,
  (part) => {
    part("over a socket, TCP and UDP are each understood, changes and refusals alike", async (life) => {
      await life.until("it listens", async () => existsSync(join(directory, "log")));
      await life.form();
      for (const member of life.cluster.members) {
        const made = await life.ask(
          member,
          "token",
          "create",
          `of-${member.name}`,
          "--scope",
          "viewer",
          "--output",
          "json",
        );
        const { token } = JSON.parse(made.stdout) as { token: string };
        const refused = await fetch(`https://127.0.0.1:${member.apiPort}/v1/pause`, {
          method: "POST",
          headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
          body: JSON.stringify({ reason: "größer" }),
          tls: { rejectUnauthorized: false },
        });
        expect(refused.status).toBe(403);
        const of = (kind: string) =>
          messages().find(
            ({ messageId, record }) =>
              messageId === kind &&
              record.member === member.name &&
              record.request === (kind === "audit.change" ? "POST /v1/tokens" : "POST /v1/pause"),
          );
        await life.until(`${member.name} is understood`, async () =>
          ["audit.change", "audit.refused"].every((kind) => of(kind) !== undefined),
        );
        const processId = String(member.process?.pid);
        expect(of("audit.change")).toMatchObject({ processId, facility: "authpriv", severity: "notice" });
        expect(of("audit.refused")).toMatchObject({
          processId,
          facility: "authpriv",
          severity: "warning",
          record: { status: 403, code: "scope-insufficient", byName: `of-${member.name}` },
        });
      }
    });
  },
  RSYSLOG === undefined ? "rsyslog is not installed" : null,
);
