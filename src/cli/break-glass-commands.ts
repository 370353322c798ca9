import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import type {
  BreakGlassDocument,
  BreakGlassPolicyChange,
  BreakGlassPolicyDocument,
  NewBreakGlassDocument,
} from "../api/break-glass-documents.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import { renderTable, withoutControls } from "./render-table.ts";

const PATH = "/v1/access/break-glass";

/** `guacamole break-glass …` */
export function breakGlassCommand(ports: CliPorts, finish: (exitCode: number) => void) {
  return new Command("break-glass")
    .summary("a superuser for a person, for a while, that ends by itself")
    .description(
      `Lets a person in as a superuser of PostgreSQL, for a reason, for a while, from one address, over TLS.
The role is made for this alone. It ends by itself on every member, by that member's own clock: its sessions are terminated,
its rule is taken out of pg_hba.conf and the role is removed, although the leader, the member or the network is gone.`,
    )
    .addCommand(requestCommand(ports))
    .addCommand(listCommand(ports))
    .addCommand(approveCommand(ports))
    .addCommand(extendCommand(ports))
    .addCommand(revokeCommand(ports))
    .addCommand(policyCommand(ports))
    .addCommand(localCommand(ports, finish));
}

function requestCommand(ports: CliPorts) {
  return clientCommand("request")
    .summary("ask for one; the password is shown this once")
    .description(
      "Asks for a superuser and prints its name and password: the password is shown this once and kept nowhere.\nWhere the policy asks for approvals it is good once others gave them.",
    )
    .requiredOption("--reason <text>", "why: it stands in the audit trail")
    .requiredOption("--from <address>", "the IP address to connect from, as PostgreSQL sees it")
    .option("--for <duration>", "how long: 90s, 30m, 2h (default: as the policy says)", seconds)
    .addHelpText(
      "after",
      '\nExamples:\n  guacamole break-glass request --reason "INC-4711: orders are stuck" --from 10.0.0.7 --for 30m\n  guacamole break-glass request --reason INC-4711 --from 10.0.0.7 --output json | jq -r .password',
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const made = await client.post<NewBreakGlassDocument>(PATH, {
        reason: options.reason,
        address: options.from,
        ...(options.for === undefined ? {} : { durationSeconds: options.for }),
      });
      printResult(ports, options.output, made, renderNew);
    });
}

function renderNew(made: NewBreakGlassDocument): string {
  const waits =
    made.state === "waiting"
      ? `waits for ${made.approvalsNeeded} approvals: guacamole break-glass approve ${made.id}`
      : `until ${made.expiresAt ?? "-"}, or earlier by a member's own clock`;
  return [
    `  role      ${made.role}`,
    `  password  ${made.password}`,
    "            keep it: it is shown this once",
    `  from      ${made.address}, over TLS (sslmode=require)`,
    `  open      ${waits}`,
    `  id        ${made.id}`,
    "",
  ].join("\n");
}

function listCommand(ports: CliPorts) {
  return clientCommand("list")
    .summary("those that stand, and the latest that have ended")
    .description("Lists break-glass access: who, why, from where, how long still, and where it is in force.")
    .addHelpText("after", "\nExample:\n  guacamole break-glass list")
    .action(async (options) => {
      const client = await openClient(ports, options);
      printResult(ports, options.output, await client.get<BreakGlassDocument[]>(PATH), renderGrants);
    });
}

function approveCommand(ports: CliPorts) {
  return clientCommand("approve")
    .summary("agree to one that somebody else asked for")
    .description(
      "Approves it, with an admin token of your own: not the one that asked, nor one that it made or that was made since.",
    )
    .argument("<id>", "of the grant; its beginning is enough")
    .addHelpText("after", "\nExample:\n  guacamole break-glass approve 3f2a")
    .action(async (id, options) => {
      const client = await openClient(ports, options);
      const path = `${PATH}/${idOf(id, await client.get<BreakGlassDocument[]>(PATH))}/approve`;
      const grant = await client.post<BreakGlassDocument>(path, {}, { idempotencyKey: ports.newId() });
      printResult(ports, options.output, grant, (each) => renderGrants([each]));
    });
}

function extendCommand(ports: CliPorts) {
  return clientCommand("extend")
    .summary("let it last longer")
    .description("Lets it last longer, as far as the policy allows in all. What is over stays over.")
    .argument("<id>", "of the grant; its beginning is enough")
    .requiredOption("--by <duration>", "so much longer: 90s, 30m, 2h", seconds)
    .addHelpText("after", "\nExample:\n  guacamole break-glass extend 3f2a --by 30m")
    .action(async (id, options) => {
      const client = await openClient(ports, options);
      const path = `${PATH}/${idOf(id, await client.get<BreakGlassDocument[]>(PATH))}/extend`;
      const body = { durationSeconds: options.by };
      const grant = await client.post<BreakGlassDocument>(path, body, { idempotencyKey: ports.newId() });
      printResult(ports, options.output, grant, (each) => renderGrants([each]));
    });
}

function revokeCommand(ports: CliPorts) {
  return clientCommand("revoke")
    .summary("end it now")
    .description(
      "Ends it now: sessions, rule and role. A member that is cut off ends it at its time at the latest.",
    )
    .argument("<id>", "of the grant; its beginning is enough")
    .addHelpText("after", "\nExample:\n  guacamole break-glass revoke 3f2a")
    .action(async (id, options) => {
      const client = await openClient(ports, options);
      const path = `${PATH}/${idOf(id, await client.get<BreakGlassDocument[]>(PATH))}`;
      const grant = await client.delete<BreakGlassDocument>(path, { idempotencyKey: ports.newId() });
      printResult(ports, options.output, grant, (each) => renderGrants([each]));
    });
}

function policyCommand(ports: CliPorts) {
  return clientCommand("policy")
    .summary("how long at most, and how many must approve")
    .description(
      "Shows what is asked of break-glass access; with options, changes it for what is asked for from then on.",
    )
    .option("--approvals <n>", "so many others must approve: 0 to 3", whole)
    .option("--default <duration>", "how long, where a request says nothing", seconds)
    .option("--max <duration>", "how long at most, extensions included", seconds)
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole break-glass policy\n  guacamole break-glass policy --approvals 1 --max 4h",
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const { approvals, default: defaultSeconds, max: maxSeconds } = options;
      const change: BreakGlassPolicyChange = {
        ...(approvals === undefined ? {} : { approvals }),
        ...(defaultSeconds === undefined ? {} : { defaultSeconds }),
        ...(maxSeconds === undefined ? {} : { maxSeconds }),
      };
      const path = `${PATH}/policy`;
      const policy =
        Object.keys(change).length === 0
          ? await client.get<BreakGlassPolicyDocument>(path)
          : await client.patch<BreakGlassPolicyDocument>(path, change, { idempotencyKey: ports.newId() });
      printResult(ports, options.output, policy, (each) =>
        [
          `  approvals  ${each.approvals}`,
          `  default    ${durationText(each.defaultSeconds)}`,
          `  max        ${durationText(each.maxSeconds)}`,
          "",
        ].join("\n"),
      );
    });
}

function localCommand(ports: CliPorts, finish: (exitCode: number) => void) {
  return new Command("local")
    .summary("on a host, with nobody there to be asked: psql as the superuser, and a trace")
    .description(
      `Runs psql as PostgreSQL's superuser on this host, over its Unix socket: for the day on which the control plane is down.
Run it as root or as PostgreSQL's system user. It asks no member. A file in <data directory>.guacamole/local-access/
says who came, why, and when they left; the member takes it into the audit trail once it is back. Statements are logged.`,
    )
    .requiredOption("--reason <text>", "why: it stands in the audit trail")
    .option("--who <name>", "who you are (default: whoever ran sudo, or the system user)")
    .option(
      "--start",
      "where PostgreSQL does not run, start it as a standby: it can be read, and nobody else can be harmed",
    )
    .option("--config <file>", "this host's guacamole.toml (default: /etc/guacamole/guacamole.toml)")
    .argument("[psql-arguments...]", "after --: what psql is given")
    .addHelpText(
      "after",
      '\nExamples:\n  sudo -u postgres guacamole break-glass local --reason "INC-4711: no leader"\n  sudo guacamole break-glass local --reason INC-4711 --start -- -c "SELECT pg_last_wal_replay_lsn()"\n\nIt never makes a primary: that is for the control plane, or for \'guacamole recover\' where a majority is gone for good.',
    )
    .action(async (parameters, { reason, who, start, config }) => {
      const fault =
        reason.trim().length < 3 ||
        reason.length > 500 ||
        withoutControls(reason + (who ?? "")) !== reason + (who ?? "");
      if (fault)
        throw new CliError(
          EXIT.usage,
          "--reason is one line of 3 to 500 characters, --who one of at most 100.",
        );
      finish(
        await ports.accessLocally({
          configPath: config ?? null,
          reason: reason.trim(),
          who: who?.slice(0, 100) ?? null,
          mayStart: start === true,
          arguments: parameters,
        }),
      );
    });
}

/** @throws {CliError} where none, or more than one, has an id that begins so. */
function idOf(text: string, grants: readonly BreakGlassDocument[]): string {
  const meant = grants.filter(({ id }) => id === text || id.startsWith(text));
  const [only] = meant;
  if (meant.length === 1 && only !== undefined) return encodeURIComponent(only.id);
  const what = meant.length === 0 ? "No grant has" : "More than one grant has";
  throw new CliError(
    EXIT.refused,
    `${what} an id that begins so; nothing was changed.`,
    "See 'guacamole break-glass list'.",
  );
}

function renderGrants(grants: readonly BreakGlassDocument[]): string {
  if (grants.length === 0) return "No break-glass access stands, and none is remembered.\n";
  return renderTable(
    ["id", "state", "who", "from", "until", "members", "reason"],
    grants.map((grant) => [
      grant.id,
      grant.ended === null ? grant.state : `${grant.state}: ${grant.ended.why}`,
      withoutControls(grant.byName ?? grant.by),
      grant.address,
      grant.ended?.at ?? grant.expiresAt ?? `${grant.approvals.length} of ${grant.approvalsNeeded} approvals`,
      grant.members.map(renderMember).join(", "),
      withoutControls(grant.reason),
    ]),
  );
}

function renderMember({
  name,
  state,
  remainingSeconds,
  problem,
}: BreakGlassDocument["members"][number]): string {
  const left = remainingSeconds === null ? "" : ` ${durationText(remainingSeconds)}`;
  return withoutControls(`${name} ${state}${left}${problem === null ? "" : ` (${problem})`}`);
}

function durationText(seconds: number): string {
  if (seconds % 3_600 === 0) return `${seconds / 3_600}h`;
  return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`;
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

function seconds(text: string): number {
  const match = /^([0-9]{1,6})([smhd])$/.exec(text);
  const unit = SECONDS[match?.[2] ?? ""];
  if (match === null || unit === undefined)
    throw new InvalidArgumentError("A duration is wanted: 90s, 30m or 2h.");
  return Number(match[1]) * unit;
}

function whole(text: string): number {
  if (!/^[0-9]{1,2}$/.test(text)) throw new InvalidArgumentError("A whole number is wanted.");
  return Number(text);
}
