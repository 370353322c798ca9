import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import type { DatabaseDocument, DatabaseRequest, DatabasesDocument } from "../api/database-documents.ts";
import { awaitDeclared } from "./await-declared.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import { grantCommand, grantPhrases } from "./grant-command.ts";
import type { CliPorts } from "./ports.ts";
import { renderTable, withoutControls } from "./render-table.ts";

const PATH = "/v1/access/databases";

/** `guacamole database` */
export function databaseCommand(ports: CliPorts) {
  return new Command("database")
    .summary("PostgreSQL's databases as they are declared: owners, extensions, schemas, privileges")
    .description(
      "Shows and changes the databases that are declared. The primary is brought into line and kept there; what a\ndeclaration does not name stays as it is on the server, and databases that nobody declared are never touched.",
    )
    .addCommand(listCommand(ports), { isDefault: true })
    .addCommand(showCommand(ports))
    .addCommand(setCommand(ports))
    .addCommand(grantCommand(ports, pathOf, renderDatabase))
    .addCommand(dropCommand(ports))
    .addCommand(forgetCommand(ports));
}

function listCommand(ports: CliPorts) {
  return clientCommand("list")
    .summary("the databases that are declared, and whether the primary has them so")
    .description("Lists the declared databases with their state, and what somebody had changed by hand.")
    .addHelpText("after", "\nExample:\n  guacamole database list")
    .action(async (options) => {
      const client = await openClient(ports, options);
      printResult(ports, options.output, await client.get<DatabasesDocument>(PATH), renderDatabases);
    });
}

function showCommand(ports: CliPorts) {
  return clientCommand("show")
    .summary("one declared database, with everything that is wanted of it")
    .description("Shows what is declared of a database, and whether the primary has it so.")
    .argument("<name>", "of the database")
    .addHelpText("after", "\nExample:\n  guacamole database show sales --output yaml")
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      printResult(ports, options.output, await client.get<DatabaseDocument>(pathOf(name)), renderDatabase);
    });
}

/** What every change takes. */
function changing(name: string) {
  return clientCommand(name)
    .option("--wait", "wait until the primary has it so", true)
    .option("--no-wait", "return once it is agreed");
}

function setCommand(ports: CliPorts) {
  return changing("set")
    .summary("declare a database, or change what is declared of it")
    .description(
      "Declares a database: it is made where it is missing. What is named replaces what was declared, the rest stays.\nExtensions that PostgreSQL does not call trusted need a token of scope admin.",
    )
    .argument("<name>", "of the database")
    .option("--owner <role>", "whose it is")
    .option("--encoding <name>", "where it is made")
    .option("--locale <name>", "where it is made")
    .option("--template <name>", "where it is made: what it is copied from")
    .option("--connection-limit <count>", "at most so many connections; -1: no limit", integer)
    .option("--set <name=value...>", "a parameter that its sessions begin with")
    .option("--reset <names>", "none of these parameters of its own", list)
    .option("--extension <names...>", "these are there; name:schema says where")
    .option("--without-extensions <names>", "none of these is there", list)
    .option("--schema <names...>", "these are there; name:owner says whose")
    .option("--without-schemas <names>", "none of these is there; each is dropped once it is empty", list)
    .option(
      "--grant <role=privileges...>",
      "connect, create, temporary; these and no others, of public: of everybody",
    )
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole database set sales --owner sales --extension hstore --schema reports:sales\n  guacamole database set sales --grant public= app=connect,temporary\n  guacamole database set sales --set 'search_path=reports, public'",
    )
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const path = pathOf(name);
      const request = requestOf(options);
      const agreed = await client.patch<DatabaseDocument>(path, request, { idempotencyKey: ports.newId() });
      const shown = options.wait ? await awaitDeclared<DatabaseDocument>(ports, client, path) : agreed;
      printResult(ports, options.output, shown, renderDatabase);
    });
}

function dropCommand(ports: CliPorts) {
  return changing("drop")
    .summary("drop a database with everything in it, and see to it that it stays away")
    .description(
      "Declares that there shall be no such database. Nobody's session is ended for it: it waits until nobody is connected.",
    )
    .argument("<name>", "of the database")
    .addHelpText("after", "\nExample:\n  guacamole database drop old_sales")
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const path = pathOf(name);
      await client.delete<DatabasesDocument>(`${path}?drop=true`, { idempotencyKey: ports.newId() });
      const shown = options.wait
        ? await awaitDeclared<DatabaseDocument>(ports, client, path)
        : await client.get<DatabaseDocument>(path);
      printResult(ports, options.output, shown, renderDatabase);
    });
}

function forgetCommand(ports: CliPorts) {
  return clientCommand("forget")
    .summary("stop declaring a database; it stays as it is on the server")
    .description("Takes the declaration of a database back. On the server nothing changes.")
    .argument("<name>", "of the database")
    .addHelpText("after", "\nExample:\n  guacamole database forget sales")
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const left = await client.delete<DatabasesDocument>(pathOf(name), { idempotencyKey: ports.newId() });
      printResult(ports, options.output, left, renderDatabases);
    });
}

interface SetOptions {
  readonly owner?: string | undefined;
  readonly encoding?: string | undefined;
  readonly locale?: string | undefined;
  readonly template?: string | undefined;
  readonly connectionLimit?: number | undefined;
  readonly set?: readonly string[] | undefined;
  readonly reset?: readonly string[] | undefined;
  readonly extension?: readonly string[] | undefined;
  readonly withoutExtensions?: readonly string[] | undefined;
  readonly schema?: readonly string[] | undefined;
  readonly withoutSchemas?: readonly string[] | undefined;
  readonly grant?: readonly string[] | undefined;
}

type Privilege = NonNullable<DatabaseRequest["privileges"]>[string][number];

function requestOf(options: SetOptions): DatabaseRequest {
  const { owner, encoding, locale, template, connectionLimit } = options;
  const settings = { ...pairs(options.set, "="), ...none(options.reset) };
  const extensions = {
    ...mapped(pairs(options.extension, ":", ""), (schema) => (schema === "" ? {} : { schema })),
    ...none(options.withoutExtensions),
  };
  const schemas = {
    ...mapped(pairs(options.schema, ":", ""), (of) => (of === "" ? {} : { owner: of })),
    ...none(options.withoutSchemas),
  };
  const privileges = mapped(pairs(options.grant, "="), (text) => list(text) as Privilege[]);
  return {
    ...(owner === undefined ? {} : { owner }),
    ...(encoding === undefined ? {} : { encoding }),
    ...(locale === undefined ? {} : { locale }),
    ...(template === undefined ? {} : { template }),
    ...(connectionLimit === undefined ? {} : { connectionLimit }),
    ...(isEmpty(settings) ? {} : { settings }),
    ...(isEmpty(extensions) ? {} : { extensions }),
    ...(isEmpty(schemas) ? {} : { schemas }),
    ...(isEmpty(privileges) ? {} : { privileges }),
  };
}

/** @param missing what stands for a second half that is not there; without it, it has to be. */
function pairs(
  texts: readonly string[] | undefined,
  separator: string,
  missing?: string,
): Readonly<Record<string, string>> {
  const entries = (texts ?? []).map((text) => {
    const at = text.indexOf(separator);
    if (at === -1 && missing !== undefined) return [text, missing] as const;
    if (at < 1) throw new CliError(EXIT.usage, `'${text}' is not name${separator}value`);
    return [text.slice(0, at).trim(), text.slice(at + 1).trim()] as const;
  });
  return Object.fromEntries(entries);
}

function mapped<T>(
  entries: Readonly<Record<string, string>>,
  to: (text: string) => T,
): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(entries).map(([name, text]) => [name, to(text)]));
}

function none(names: readonly string[] = []): Readonly<Record<string, null>> {
  return Object.fromEntries(names.map((name) => [name, null]));
}

function isEmpty(value: object): boolean {
  return Object.keys(value).length === 0;
}

function renderDatabases({ databases, corrected, detail }: DatabasesDocument): string {
  const parts = [
    databases.length === 0
      ? "No database is declared.\n"
      : renderTable(
          ["database", "state", "wanted", ""],
          databases.map((each) => [
            each.name,
            each.state,
            summaryOf(each),
            withoutControls(each.reason ?? ""),
          ]),
        ),
    ...(detail === null ? [] : [`${withoutControls(detail)}\n`]),
    ...corrected.map(({ name, what, at }) => `${at}: ${name} was changed by hand, and put back: ${what}\n`),
  ];
  return parts.join("");
}

function renderDatabase(database: DatabaseDocument): string {
  const reason = database.reason === null ? "" : `: ${withoutControls(database.reason)}`;
  return `${database.name} is ${database.state}${reason}\n${summaryOf(database)}\n`;
}

/** What is wanted, in a line. */
function summaryOf({ wish }: DatabaseDocument): string {
  const { state, settings = {}, extensions = {}, schemas = {}, privileges = {}, ...others } = wish;
  const { defaultPrivileges: _, ...rest } = others;
  if (state === "absent") return "absent";
  const words = [
    ...Object.entries(rest).map(([name, value]) => `${name} ${value}`),
    ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
    ...Object.entries(extensions).map(([name, each]) =>
      each === null ? `no extension ${name}` : `extension ${name}`,
    ),
    ...Object.entries(schemas).map(([name, each]) =>
      each === null ? `no schema ${name}` : `schema ${name}`,
    ),
    ...Object.entries(privileges).map(
      ([role, each]) => `${role}: ${each.length === 0 ? "nothing" : each.join(" ")}`,
    ),
    ...grantPhrases(wish),
  ];
  return withoutControls(words.join(", "));
}

function pathOf(name: string): string {
  return `${PATH}/${encodeURIComponent(name)}`;
}

function integer(text: string): number {
  if (!/^-?\d{1,6}$/.test(text)) throw new InvalidArgumentError("A whole number is wanted.");
  return Number(text);
}

function list(text: string): readonly string[] {
  return text.split(",").filter((name) => name !== "");
}
