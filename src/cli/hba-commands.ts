import { Command } from "@commander-js/extra-typings";
import type { HbaDocument, HbaExplanationDocument, HbaRequest } from "../api/access-documents.ts";
import type { ApiClient } from "./client.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import { pause } from "./follow-operation.ts";
import {
  addRuleCommand,
  changeRuleCommand,
  moveRuleCommand,
  removeRuleCommand,
  type ShowChanged,
} from "./hba-rule-commands.ts";
import type { CliPorts } from "./ports.ts";
import { renderTable, withoutControls } from "./render-table.ts";
import { readText } from "./spec-file.ts";

const PATH = "/v1/access/hba";
const POLL_MS = 200;
/** A reload is a matter of a second where all are well. */
const IN_FORCE_MS_MAX = 15_000;

/** `guacamole hba` */
export function hbaCommand(ports: CliPorts) {
  const show = showChanged(ports);
  return new Command("hba")
    .summary("who may connect: the rules of pg_hba.conf, on every member")
    .description(
      "Shows or changes the rules for connections. They are the same on every member, and in an order that counts: the first that fits decides.\nGuacamole's own rules come before them, so that no rule keeps members out.",
    )
    .addCommand(showCommand(ports), { isDefault: true })
    .addCommand(setCommand(ports))
    .addCommand(addRuleCommand(ports, show))
    .addCommand(changeRuleCommand(ports, show))
    .addCommand(moveRuleCommand(ports, show))
    .addCommand(removeRuleCommand(ports, show))
    .addCommand(resetCommand(ports))
    .addCommand(explainCommand(ports));
}

function showCommand(ports: CliPorts) {
  return clientCommand("show")
    .summary("show the rules, and where they are in force")
    .description(
      "Shows the rules with their numbers, what is hardly meant about them, and where they are in force.",
    )
    .option("--text", "as the text of a pg_hba.conf: edit it, and give it to 'guacamole hba set'")
    .addHelpText("after", "\nExamples:\n  guacamole hba show\n  guacamole hba show --text > pg_hba.conf")
    .action(async (options) => {
      const client = await openClient(ports, options);
      const hba = await client.get<HbaDocument>(PATH);
      printResult(ports, options.output, hba, options.text === true ? ({ text }) => text : renderHba);
    });
}

/** What every change takes. */
function changing(name: string) {
  return clientCommand(name)
    .option("--wait", "wait until they are in force on every member that answers", true)
    .option("--no-wait", "return once they are agreed");
}

function setCommand(ports: CliPorts) {
  return changing("set")
    .summary("set all rules, from a pg_hba.conf")
    .description(
      "Sets the rules, all of them, from the text of a pg_hba.conf. They replace what lets applications in.\nThe PostgreSQL of each member that answers reads them first: one that does not take them, and nothing is changed anywhere.\nA comment '# guacamole: name=reports roles=standby members=m2,m3' says the next rule's name, and for whom it is.",
    )
    .requiredOption("--file <file>", "the text; '-' reads standard input")
    .option("--ident <file>", "the text of a pg_ident.conf; without it the maps stay as they are")
    .option("--dry-run", "have them tried, and change nothing")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole hba set --file pg_hba.conf\n  guacamole hba set --file pg_hba.conf --dry-run\n  guacamole hba show --text | sed s/md5/scram-sha-256/ | guacamole hba set --file -",
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const request: HbaRequest = {
        text: await readText(options.file),
        ...(options.ident === undefined ? {} : { identText: await readText(options.ident) }),
      };
      const isDry = options.dryRun === true;
      const path = isDry ? `${PATH}?dryRun=true` : PATH;
      const hba = await client.put<HbaDocument>(path, request, { idempotencyKey: ports.newId() });
      const shown = isDry || !options.wait ? hba : await awaitInForce(ports, client, hba);
      if (isDry) ports.terminal.err("These rules would be taken. Nothing was changed.\n");
      printResult(ports, options.output, shown, renderHba);
    });
}

function resetCommand(ports: CliPorts) {
  return changing("reset")
    .summary("go back to what applies where nobody says anything")
    .description(
      "Takes all rules and maps back: applications by password, and nobody but members replicates.",
    )
    .addHelpText("after", "\nExample:\n  guacamole hba reset")
    .action(async (options) => {
      const client = await openClient(ports, options);
      const hba = await client.delete<HbaDocument>(PATH, { idempotencyKey: ports.newId() });
      const shown = options.wait ? await awaitInForce(ports, client, hba) : hba;
      printResult(ports, options.output, shown, renderHba);
    });
}

function explainCommand(ports: CliPorts) {
  return clientCommand("explain")
    .summary("which rule a connection would meet")
    .description(
      "Says which rule a connection would meet, as PostgreSQL decides it, and without making one.\nWhat only the server knows (memberships, names of hosts) is said to be open.",
    )
    .requiredOption("--user <name>", "who connects")
    .option("--database <name>", "to which database; without it the one of the user's name")
    .option("--address <ip>", "from which IP address; without it over the Unix socket")
    .option("--ssl", "over TLS")
    .option("--gss", "encrypted by GSSAPI")
    .option("--replication", "physical replication, as a standby or a base backup does")
    .option("--member-of <roles>", "roles that the user is a member of, with commas between them", list)
    .option("--member <name>", "on which member; without it the primary")
    .option("--file <file>", "rules that are not agreed yet: the text of a pg_hba.conf")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole hba explain --user app --database sales --address 10.0.0.7 --ssl\n  guacamole hba explain --user app --address 10.0.0.7 --file pg_hba.conf",
    )
    .action(async (options) => {
      if (options.ssl === true && options.gss === true)
        throw new CliError(EXIT.usage, "a connection is encrypted by --ssl or by --gss, not by both");
      const client = await openClient(ports, options);
      const encryption = options.ssl === true ? "ssl" : options.gss === true ? "gss" : null;
      const body = {
        user: options.user,
        ...(options.database === undefined ? {} : { database: options.database }),
        ...(options.address === undefined ? {} : { address: options.address }),
        ...(encryption === null ? {} : { encryption }),
        ...(options.replication === true ? { isReplication: true } : {}),
        ...(options.memberOf === undefined ? {} : { memberOf: options.memberOf }),
        ...(options.member === undefined ? {} : { member: options.member }),
        ...(options.file === undefined ? {} : { text: await readText(options.file) }),
      };
      const explained = await client.post<HbaExplanationDocument>(`${PATH}/explain`, body);
      printResult(ports, options.output, explained, renderExplanation);
    });
}

/** What every change of a single rule ends with. */
function showChanged(ports: CliPorts): ShowChanged {
  return async (client, hba, { wait, dryRun, output }) => {
    const isDry = dryRun === true;
    const shown = wait && !isDry ? await awaitInForce(ports, client, hba) : hba;
    if (isDry) ports.terminal.err("These rules would be taken. Nothing was changed.\n");
    printResult(ports, output, shown, renderHba);
  };
}

/** @throws {CliError} `failed` where a member does not take them, `unknown` where one has not said so in time. */
async function awaitInForce(ports: CliPorts, client: ApiClient, agreed: HbaDocument): Promise<HbaDocument> {
  const untilMs = ports.clock.nowMs() + IN_FORCE_MS_MAX;
  while (true) {
    const hba = await client.get<HbaDocument>(PATH);
    const refused = hba.members.find(({ state }) => state === "refused");
    if (refused !== undefined)
      throw new CliError(EXIT.failed, `${refused.name} goes on with what it had: ${refused.problem}`);
    if (hba.members.every(({ state }) => state !== "pending")) return { ...hba, tried: agreed.tried };
    const isOver = ports.clock.nowMs() >= untilMs;
    if (isOver || !(await pause(ports, POLL_MS))) {
      const pending = hba.members.filter(({ state }) => state === "pending").map(({ name }) => name);
      throw new CliError(
        EXIT.unknown,
        `The rules are agreed, and not yet in force on ${pending.join(", ")}.`,
        "'guacamole status' shows what these members wait for.",
      );
    }
  }
}

function renderHba(hba: HbaDocument): string {
  const { generation, isDefault, ownRules, rules, identMaps, warnings, members, tried } = hba;
  const parts = [
    "Guacamole's own, first:",
    renderRules(ownRules),
    isDefault
      ? "Then what applies where nobody says anything:"
      : `Then (generation ${generation} of all settings):`,
    rules.length === 0 ? "no rules: no application may connect\n" : renderRules(rules),
    ...(identMaps.length === 0
      ? []
      : [
          renderTable(
            ["map", "system user", "database user"],
            identMaps.map(({ map, systemUser, databaseUser }) => [map, systemUser, databaseUser]),
          ),
        ]),
    ...(warnings.length === 0
      ? []
      : [`${warnings.map(({ rule, message }) => `rule ${rule}: ${withoutControls(message)}`).join("\n")}\n`]),
    renderTable(
      ["member", "rules", ""],
      members.map(({ name, state, problem }) => [name, state, problem ?? ""]),
    ),
    ...tried
      .filter(({ isGood }) => !isGood)
      .map(({ member, detail }) => `${member} has not tried them: ${withoutControls(detail)}\n`),
  ];
  return parts.join("\n");
}

function renderRules(rules: HbaDocument["rules"]): string {
  const isNamed = rules.some(({ name }) => name !== undefined);
  return renderTable(
    [
      "",
      ...(isNamed ? ["name"] : []),
      "type",
      "databases",
      "users",
      "address",
      "method",
      "only on",
      "comment",
    ],
    rules.map(({ number: at, name = "", type, databases, users, address, method, ...rest }) => [
      String(at),
      ...(isNamed ? [name] : []),
      type,
      databases.join(","),
      users.join(","),
      address ?? "",
      [method, ...Object.entries(rest.options ?? {}).map(([key, value]) => `${key}=${value}`)].join(" "),
      [...(rest.roles ?? []), ...(rest.members ?? [])].join(" "),
      (rest.comment ?? "").split("\n").at(-1) ?? "",
    ]),
  );
}

function renderExplanation({ sentence, rule, open, member, role }: HbaExplanationDocument): string {
  const where = member === null ? `on a ${role}` : `on ${member}, ${role}`;
  const texts = [...open.map((each) => each.rule), ...(rule === null ? [] : [rule])].map(
    ({ origin, number: at, text }) =>
      `  ${origin === "guacamole" ? `own ${at}` : at}: ${withoutControls(text.replace(/\s+/g, " "))}`,
  );
  return `${withoutControls(sentence)} (${where})\n${texts.length === 0 ? "" : `\n${texts.join("\n")}\n`}`;
}

function list(text: string): readonly string[] {
  return text.split(",").filter((each) => each !== "");
}
