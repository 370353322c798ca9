/** `guacamole database grant`: what a role may do with objects that are there, and with those to come. */
import { Option } from "@commander-js/extra-typings";
import type { DatabaseDocument, DatabaseRequest } from "../api/database-documents.ts";
import {
  EVERY_OBJECT,
  type Grants,
  MADE_KINDS,
  type MadeKind,
  OBJECT_KINDS,
  type ObjectKind,
  type ObjectPrivilege,
} from "../cluster/grants.ts";
import { awaitDeclared } from "./await-declared.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";

/** `guacamole database grant` */
export function grantCommand(
  ports: CliPorts,
  pathOf: (name: string) => string,
  render: (database: DatabaseDocument) => string,
) {
  return clientCommand("grant")
    .summary("what a role may do with tables, columns, sequences, functions and types")
    .description(
      "Declares which privileges a role has: these and no others, so that what it has besides is taken back. Without --named\nof each object in the schema, those that are made later included (within a minute; with --made-by at once). What\nnobody declared stays as it is.",
    )
    .argument("<database>", "its name")
    .argument("<privileges>", "with commas between them, or 'none'")
    .addOption(
      new Option("--on <kind>", "on what (views are tables, procedures are functions, domains are types)")
        .choices(OBJECT_KINDS)
        .makeOptionMandatory(),
    )
    .requiredOption("--to <role>", "who has them; public: everybody")
    .option("--in <schema>", "where; only --made-by goes without, for all of them")
    .option(
      "--named <objects...>",
      "of these only; functions with their types, columns with their table: 'total(integer, text)' 'people(name)'",
    )
    .option("--made-by <role>", "of what that role makes from now on (default privileges)")
    .option("--wait", "wait until the primary has it so", true)
    .option("--no-wait", "return once it is agreed")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole database grant sales select,insert --on tables --in shop --to app\n  guacamole database grant sales select --on tables --in shop --named orders lines --to reports\n  guacamole database grant sales select --on tables --in shop --made-by owner --to reports\n  guacamole database grant sales none --on functions --made-by owner --to public\n  guacamole database grant sales select --on columns --in shop --named 'people(name)' --to support\n\ntables: select insert update delete truncate references trigger maintain (from PostgreSQL 17 on)\ncolumns: select insert update references, beside what their table grants\nsequences: usage select update    functions: execute    types: usage",
    )
    .action(async (name, privileges, options) => {
      const body = requestOf(privileges, options);
      const client = await openClient(ports, options);
      const agreed = await client.patch<DatabaseDocument>(pathOf(name), body, {
        idempotencyKey: ports.newId(),
      });
      const shown = options.wait
        ? await awaitDeclared<DatabaseDocument>(ports, client, pathOf(name))
        : agreed;
      printResult(ports, options.output, shown, render);
    });
}

interface GrantOptions {
  readonly on: ObjectKind;
  readonly to: string;
  readonly in?: string | undefined;
  readonly named?: readonly string[] | undefined;
  readonly madeBy?: string | undefined;
}

/** What the API takes of it is checked there. */
function requestOf(privileges: string, { on, to, in: schema, named, madeBy }: GrantOptions): DatabaseRequest {
  if (madeBy !== undefined && named !== undefined)
    throw new CliError(
      EXIT.usage,
      "--named is of what is there, --made-by of what is to come: one of them at a time",
    );
  const names = privileges === "none" ? [] : privileges.split(",").filter((each) => each !== "");
  const grants: Record<string, ObjectPrivilege[]> = { [to]: names as ObjectPrivilege[] };
  if (madeBy !== undefined) {
    if (!isMade(on)) throw new CliError(EXIT.usage, `--made-by is of ${MADE_KINDS.join(", ")}`);
    const defaultPrivileges = { [madeBy]: { [on]: grants } };
    return schema === undefined ? { defaultPrivileges } : { schemas: { [schema]: { defaultPrivileges } } };
  }
  if (schema === undefined) throw new CliError(EXIT.usage, "--in says in which schema");
  const objects = Object.fromEntries((named ?? [EVERY_OBJECT]).map((each) => [each, grants]));
  return { schemas: { [schema]: { [on]: objects } } };
}

function isMade(kind: ObjectKind): kind is MadeKind {
  return (MADE_KINDS as readonly string[]).includes(kind);
}

/** What is granted on objects, a phrase each. */
export function grantPhrases({ schemas = {}, defaultPrivileges = {} }: DatabaseRequest): readonly string[] {
  const inSchemas = Object.entries(schemas).flatMap(([schema, wish]) => [
    ...OBJECT_KINDS.flatMap((kind) =>
      Object.entries(wish?.[kind] ?? {}).flatMap(([name, grants]) =>
        phrases(`${kind} ${schema}.${name}`, grants),
      ),
    ),
    ...defaultPhrases(` in ${schema}`, wish?.defaultPrivileges ?? {}),
  ]);
  return [...inSchemas, ...defaultPhrases("", defaultPrivileges)];
}

function defaultPhrases(
  where: string,
  defaults: NonNullable<DatabaseRequest["defaultPrivileges"]>,
): readonly string[] {
  return Object.entries(defaults).flatMap(([creator, grants]) =>
    MADE_KINDS.flatMap((kind) => phrases(`${kind} that ${creator} makes${where}`, grants[kind] ?? {})),
  );
}

function phrases(what: string, grants: Grants): readonly string[] {
  return Object.entries(grants).map(
    ([role, each]) => `${what}: ${role} ${each.length === 0 ? "nothing" : each.join(" ")}`,
  );
}
