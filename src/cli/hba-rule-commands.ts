import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { HbaDocument, HbaRuleAddition, HbaRuleChange } from "../api/access-documents.ts";
import type { HbaRule } from "../cluster/hba-rule.ts";
import { parseHba } from "../cluster/hba-text.ts";
import type { ApiClient, WriteOptions } from "./client.ts";
import { clientCommand, openClient } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";

const PATH = "/v1/access/hba/rules";

/** Prints what came of a change, once it is in force where that is waited for. */
export type ShowChanged = (client: ApiClient, hba: HbaDocument, options: ChangeOptions) => Promise<void>;

interface ChangeOptions {
  readonly wait: boolean;
  readonly dryRun?: true | undefined;
  readonly output: "table" | "json" | "yaml";
}

const HOW = `Every PostgreSQL that answers reads all rules first: one that does not take them, and nothing is changed anywhere.
Somebody else may change other rules at the same time: then it is done again with the rules as they are by then.`;

const WHICH = `A rule is meant by its name (--name when it is added), or by its number as 'guacamole hba show' counts them now.
Numbers change when rules come and go: --generation refuses the change where the rules are others than you saw.`;

/** What every change of a single rule takes. */
function changing(name: string) {
  return clientCommand(name)
    .option("--dry-run", "have all rules tried, and change nothing")
    .option("--generation <number>", "only if the rules are still of this generation", whole)
    .option("--wait", "wait until they are in force on every member that answers", true)
    .option("--no-wait", "return once they are agreed");
}

/** `guacamole hba add` */
export function addRuleCommand(ports: CliPorts, show: ShowChanged) {
  return changing("add")
    .summary("add one rule")
    .description(
      `Adds a rule, written as a line of pg_hba.conf: at the end, or where you say. The first rule that fits a connection decides, so the
place matters. ${HOW}`,
    )
    .argument("<rule...>", "the line")
    .option("--before <rule>", "before this one, by name or number", reference)
    .option("--after <rule>", "after this one", reference)
    .option("--at <number>", "so that it has this number", whole)
    .option("--name <name>", "a name by which it can be changed, moved and removed later")
    .option("--comment <text>", "why it is there, for people")
    .addOption(
      new Option("--role <role>", "in force on such members only").choices(["primary", "standby"] as const),
    )
    .option("--member <names>", "in force on these members only, with commas between them", list)
    .addHelpText(
      "after",
      '\nExamples:\n  guacamole hba add hostssl sales app 10.0.0.0/8 scram-sha-256 --name sales-app --before 1\n  guacamole hba add "host all all 10.9.0.0/16 reject" --comment "the old office"\n  guacamole hba add hostssl sales reports 10.0.0.0/8 scram-sha-256 --role standby --after sales-app',
    )
    .action(async (words, options) => {
      const { name, comment, role, member, at, before, after } = options;
      const body = {
        ...asRequest(ruleIn(words)),
        ...(name === undefined ? {} : { name }),
        ...(comment === undefined ? {} : { comment }),
        ...(role === undefined ? {} : { roles: [role] }),
        ...(member === undefined ? {} : { members: [...member] }),
        ...placeIn({ at, before, after }),
      };
      const client = await openClient(ports, options);
      const hba = await client.post<HbaDocument>(pathOf(null, options), body, writing(ports, options));
      await show(client, hba, options);
    });
}

/** `guacamole hba change` */
export function changeRuleCommand(ports: CliPorts, show: ShowChanged) {
  return changing("change")
    .summary("change one rule where it stands")
    .description(
      `Changes a rule: its line, where one is given, and what else is named. It stays where it is ('guacamole hba move' moves it).
${WHICH}
${HOW}`,
    )
    .argument("<rule>", "name or number", reference)
    .argument("[line...]", "what it says from then on, as a line of pg_hba.conf")
    .option("--name <name>", "its name from then on; '' takes it away")
    .option("--comment <text>", "why it is there; '' takes it away")
    .addOption(
      new Option("--role <role>", "in force on such members only").choices([
        "primary",
        "standby",
        "both",
      ] as const),
    )
    .option("--member <names>", "in force on these members only, with commas between them; '' for all", list)
    .addHelpText(
      "after",
      '\nExamples:\n  guacamole hba change sales-app hostssl sales app 10.1.0.0/16 scram-sha-256\n  guacamole hba change 3 --name old-office --comment "until the move in May" --generation 12',
    )
    .action(async (rule, words, options) => {
      const { name, comment, role, member } = options;
      const body: HbaRuleChange = {
        ...(words.length === 0 ? {} : lineOf(ruleIn(words))),
        ...(name === undefined ? {} : { name: name === "" ? null : name }),
        ...(comment === undefined ? {} : { comment: comment === "" ? null : comment }),
        ...(role === undefined ? {} : { roles: role === "both" ? null : [role] }),
        ...(member === undefined ? {} : { members: member.length === 0 ? null : [...member] }),
      };
      if (Object.keys(body).length === 0)
        throw new CliError(
          EXIT.usage,
          "nothing is named that shall change",
          "See 'guacamole hba change --help'.",
        );
      const client = await openClient(ports, options);
      const hba = await client.patch<HbaDocument>(pathOf(rule, options), body, writing(ports, options));
      await show(client, hba, options);
    });
}

/** `guacamole hba move` */
export function moveRuleCommand(ports: CliPorts, show: ShowChanged) {
  return changing("move")
    .summary("move one rule")
    .description(
      `Moves a rule to another place: the first rule that fits a connection decides. ${WHICH}
${HOW}`,
    )
    .argument("<rule>", "name or number", reference)
    .option("--before <rule>", "before this one, by name or number", reference)
    .option("--after <rule>", "after this one", reference)
    .option("--at <number>", "so that it has this number", whole)
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole hba move sales-app --at 1\n  guacamole hba move 5 --before old-office",
    )
    .action(async (rule, options) => {
      const { at, before, after } = options;
      const place = placeIn({ at, before, after });
      if (Object.keys(place).length === 0)
        throw new CliError(EXIT.usage, "say where to: --before, --after or --at");
      const client = await openClient(ports, options);
      const hba = await client.patch<HbaDocument>(pathOf(rule, options), place, writing(ports, options));
      await show(client, hba, options);
    });
}

/** `guacamole hba remove` */
export function removeRuleCommand(ports: CliPorts, show: ShowChanged) {
  return changing("remove")
    .summary("remove one rule")
    .description(`Removes a rule. ${WHICH}\n${HOW}`)
    .argument("<rule>", "name or number", reference)
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole hba remove old-office\n  guacamole hba remove 3 --generation 12\n  guacamole hba remove 3 --dry-run",
    )
    .action(async (rule, options) => {
      const client = await openClient(ports, options);
      const hba = await client.delete<HbaDocument>(pathOf(rule, options), writing(ports, options));
      await show(client, hba, options);
    });
}

function pathOf(rule: string | null, { dryRun }: Pick<ChangeOptions, "dryRun">): string {
  const path = rule === null ? PATH : `${PATH}/${encodeURIComponent(rule)}`;
  return dryRun === true ? `${path}?dryRun=true` : path;
}

function writing(
  ports: CliPorts,
  { generation }: { readonly generation?: number | undefined },
): WriteOptions {
  return {
    idempotencyKey: ports.newId(),
    ...(generation === undefined ? {} : { ifMatch: `"${generation}"` }),
  };
}

function ruleIn(words: readonly string[]): HbaRule {
  const parsed = parseHba(words.join(" "));
  if (!parsed.ok) throw new CliError(EXIT.usage, parsed.error.map(({ message }) => message).join("; "));
  const [rule] = parsed.value;
  if (rule === undefined || parsed.value.length > 1) throw new CliError(EXIT.usage, "one rule is wanted");
  return rule;
}

function asRequest(rule: HbaRule): HbaRuleAddition {
  const { databases, users, options, roles, members, ...rest } = rule;
  return {
    ...rest,
    databases: [...databases],
    users: [...users],
    ...(options === undefined ? {} : { options: { ...options } }),
    ...(roles === undefined ? {} : { roles: [...roles] }),
    ...(members === undefined ? {} : { members: [...members] }),
  };
}

/** All that a line says: what is not in it is taken out. */
function lineOf(rule: HbaRule): HbaRuleChange {
  const { type, databases, users, address = null, method, options = null } = asRequest(rule);
  return { type, databases, users, address, method, options };
}

interface Place {
  readonly at?: number | undefined;
  readonly before?: string | undefined;
  readonly after?: string | undefined;
}

function placeIn({ at, before, after }: Place): Pick<HbaRuleAddition, "at" | "before" | "after"> {
  if ([at, before, after].filter((each) => each !== undefined).length > 1)
    throw new CliError(EXIT.usage, "one of --before, --after and --at is enough");
  return {
    ...(at === undefined ? {} : { at }),
    ...(before === undefined ? {} : { before: asReference(before) }),
    ...(after === undefined ? {} : { after: asReference(after) }),
  };
}

function asReference(text: string): string | number {
  return /^[0-9]/.test(text) ? Number(text) : text;
}

function reference(text: string): string {
  if (!/^([a-z][a-z0-9_.-]{0,39}|[1-9]\d{0,4})$/.test(text))
    throw new InvalidArgumentError("A rule's name, or its number from 1, is wanted.");
  return text;
}

function whole(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError("A number from 1 is wanted.");
  return Number(text);
}

function list(text: string): readonly string[] {
  return text.split(",").filter((each) => each !== "");
}
