import { Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { RoleDocument, RoleRequest, RolesDocument } from "../api/role-documents.ts";
import { SCRAM_SALT_BYTES, scramVerifier } from "../base/scram.ts";
import { awaitDeclared } from "./await-declared.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import { renderTable, withoutControls } from "./render-table.ts";
import { roleCertificateCommand } from "./role-certificate-command.ts";
import { overlapCommand, renderLogins, rotateCommand } from "./rotation-commands.ts";

const PATH = "/v1/access/roles";

/** `guacamole role` */
export function roleCommand(ports: CliPorts) {
  return new Command("role")
    .summary("PostgreSQL's roles, as they are declared: made, kept so, and dropped when somebody says so")
    .description(
      "Shows and changes the roles that are declared. The primary is brought into line and kept there; what a declaration\ndoes not name stays as it is on the server, and roles that nobody declared are never touched.",
    )
    .addCommand(listCommand(ports), { isDefault: true })
    .addCommand(showCommand(ports))
    .addCommand(setCommand(ports))
    .addCommand(passwordCommand(ports))
    .addCommand(rotateCommand(ports, pathOf))
    .addCommand(overlapCommand(ports, pathOf))
    .addCommand(roleCertificateCommand(ports))
    .addCommand(dropCommand(ports))
    .addCommand(forgetCommand(ports));
}

function listCommand(ports: CliPorts) {
  return clientCommand("list")
    .summary("the roles that are declared, and whether the primary has them so")
    .description("Lists the declared roles with their state, and what somebody had changed by hand.")
    .addHelpText("after", "\nExample:\n  guacamole role list")
    .action(async (options) => {
      const client = await openClient(ports, options);
      printResult(ports, options.output, await client.get<RolesDocument>(PATH), renderRoles);
    });
}

function showCommand(ports: CliPorts) {
  return clientCommand("show")
    .summary("one declared role, with everything that is wanted of it")
    .description(
      "Shows what is declared of a role, and whether the primary has it so. Passwords are never shown.",
    )
    .argument("<name>", "of the role")
    .addHelpText("after", "\nExample:\n  guacamole role show app --output yaml")
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      printResult(ports, options.output, await client.get<RoleDocument>(pathOf(name)), renderRole);
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
    .summary("declare a role, or change what is declared of it")
    .description(
      "Declares a role: it is made where it is missing. What is named replaces what was declared, the rest stays.\nsuperuser, createrole, replication, bypassrls and memberships of the same power need a token of scope admin.",
    )
    .argument("<name>", "of the role")
    .option("--login", "may log in")
    .option("--no-login", "may not log in")
    .option("--superuser", "may do everything: no check holds it up")
    .option("--no-superuser", "is no superuser")
    .option("--createdb", "may make databases")
    .option("--no-createdb", "may not make databases")
    .option("--createrole", "may make roles")
    .option("--no-createrole", "may not make roles")
    .option("--replication", "may stream WAL and make base backups")
    .option("--no-replication", "may not replicate")
    .option("--bypassrls", "sees every row, whatever row security says")
    .option("--no-bypassrls", "row security holds for it")
    .option("--inherit", "has the privileges of its groups at once")
    .option("--no-inherit", "has them only after SET ROLE")
    .option("--connection-limit <count>", "at most so many connections; -1: no limit", integer)
    .option("--valid-until <time>", "the password is good until then (ISO 8601 with a zone), or 'forever'")
    .option("--member-of <roles>", "a member of these, with commas between them", list)
    .option("--admin-of <roles>", "the same, and makes others members", list)
    .option("--not-member-of <roles>", "a member of none of these", list)
    .option("--set <name=value...>", "a parameter that its sessions begin with")
    .option("--reset <names>", "none of these parameters of its own", list)
    .addOption(new Option("--in-database <name>", "where --set and --reset count; without it everywhere"))
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole role set sales_read\n  guacamole role set app --login --member-of sales_read --connection-limit 50\n  guacamole role set app --set statement_timeout=30s --set 'search_path=app, public'\n  guacamole role set contractor --valid-until 2027-01-31T18:00:00+01:00",
    )
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const role = await client.patch<RoleDocument>(pathOf(name), requestOf(options), {
        idempotencyKey: ports.newId(),
      });
      const shown = options.wait ? await awaitDeclared<RoleDocument>(ports, client, pathOf(name)) : role;
      printResult(ports, options.output, shown, renderRole);
    });
}

function passwordCommand(ports: CliPorts) {
  return changing("password")
    .summary("set a role's password")
    .description(
      "Asks for a password and sends only the SCRAM-SHA-256 verifier of it: the password itself leaves this process nowhere.",
    )
    .argument("<name>", "of the role")
    .option("--stdin", "read the password from standard input, its first line")
    .option("--none", "take it away: nobody logs in by password")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole role password app\n  pass show app | guacamole role password app --stdin\n  guacamole role password app --none",
    )
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const password = options.none === true ? null : await verifierOf(ports, options.stdin === true);
      const role = await client.patch<RoleDocument>(
        pathOf(name),
        { password },
        { idempotencyKey: ports.newId() },
      );
      const shown = options.wait ? await awaitDeclared<RoleDocument>(ports, client, pathOf(name)) : role;
      printResult(ports, options.output, shown, renderRole);
    });
}

function dropCommand(ports: CliPorts) {
  return changing("drop")
    .summary("drop a role, and see to it that it stays away")
    .description(
      "Declares that there shall be no such role. One that owns something is not dropped: the answer says what to do first.",
    )
    .argument("<name>", "of the role")
    .addHelpText("after", "\nExample:\n  guacamole role drop contractor")
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      await client.delete<RolesDocument>(`${pathOf(name)}?drop=true`, { idempotencyKey: ports.newId() });
      const role = await client.get<RoleDocument>(pathOf(name));
      const shown = options.wait ? await awaitDeclared<RoleDocument>(ports, client, pathOf(name)) : role;
      printResult(ports, options.output, shown, renderRole);
    });
}

function forgetCommand(ports: CliPorts) {
  return clientCommand("forget")
    .summary("stop declaring a role; it stays as it is on the server")
    .description("Takes the declaration of a role back. On the server nothing changes.")
    .argument("<name>", "of the role")
    .addHelpText("after", "\nExample:\n  guacamole role forget app")
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const roles = await client.delete<RolesDocument>(pathOf(name), { idempotencyKey: ports.newId() });
      printResult(ports, options.output, roles, renderRoles);
    });
}

interface SetOptions {
  readonly login?: boolean;
  readonly superuser?: boolean;
  readonly createdb?: boolean;
  readonly createrole?: boolean;
  readonly replication?: boolean;
  readonly bypassrls?: boolean;
  readonly inherit?: boolean;
  readonly connectionLimit?: number | undefined;
  readonly validUntil?: string | undefined;
  readonly memberOf?: readonly string[] | undefined;
  readonly adminOf?: readonly string[] | undefined;
  readonly notMemberOf?: readonly string[] | undefined;
  readonly set?: readonly string[] | undefined;
  readonly reset?: readonly string[] | undefined;
  readonly inDatabase?: string | undefined;
}

function requestOf(options: SetOptions): RoleRequest {
  const { login, superuser, createdb, createrole, replication, bypassrls, inherit } = options;
  const flags = { login, superuser, createdb, createrole, replication, bypassrls, inherit };
  const { connectionLimit, validUntil } = options;
  const memberOf = {
    ...each(options.memberOf, "member" as const),
    ...each(options.adminOf, "admin" as const),
    ...each(options.notMemberOf, "none" as const),
  };
  const settings = { ...Object.fromEntries((options.set ?? []).map(pair)), ...each(options.reset, null) };
  const hasSettings = Object.keys(settings).length > 0;
  const { inDatabase } = options;
  return {
    ...Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined)),
    ...(connectionLimit === undefined ? {} : { connectionLimit }),
    ...(validUntil === undefined ? {} : { validUntil: validUntil === "forever" ? null : validUntil }),
    ...(Object.keys(memberOf).length === 0 ? {} : { memberOf }),
    ...(hasSettings && inDatabase === undefined ? { settings } : {}),
    ...(hasSettings && inDatabase !== undefined ? { databaseSettings: { [inDatabase]: settings } } : {}),
  };
}

function each<T>(names: readonly string[] | undefined, value: T): Readonly<Record<string, T>> {
  return Object.fromEntries((names ?? []).map((name) => [name, value]));
}

function pair(text: string): readonly [string, string] {
  const at = text.indexOf("=");
  if (at < 1) throw new CliError(EXIT.usage, `'${text}' is not name=value`);
  return [text.slice(0, at).trim().toLowerCase(), text.slice(at + 1).trim()];
}

/** By the iterations that PostgreSQL takes by default; a server that was told to take more is happy with these. */
async function verifierOf(ports: CliPorts, isStdin: boolean): Promise<string> {
  const typed = isStdin ? (await Bun.stdin.text()).split("\n")[0] : await ports.readLine("Password: ");
  if (typed === null || typed === undefined || typed === "")
    throw new CliError(EXIT.usage, "a password is wanted; '--none' takes it away");
  return scramVerifier(typed, crypto.getRandomValues(new Uint8Array(SCRAM_SALT_BYTES)));
}

function renderRoles({ roles, corrected, detail, drift }: RolesDocument): string {
  const parts = [
    roles.length === 0
      ? "No role is declared.\n"
      : renderTable(
          ["role", "state", "wanted", ""],
          roles.map((role) => [role.name, role.state, summaryOf(role), withoutControls(role.reason ?? "")]),
        ),
    ...(drift === "report" ? ["Changes by hand are told, and not put back.\n"] : []),
    ...(detail === null ? [] : [`${withoutControls(detail)}\n`]),
    ...corrected.map(({ name, what, at }) => `${at}: ${name} was changed by hand, and put back: ${what}\n`),
  ];
  return parts.join("");
}

function renderRole(role: RoleDocument): string {
  const reason = role.reason === null ? "" : `: ${withoutControls(role.reason)}`;
  const logins = role.logins === undefined ? "" : renderLogins(role);
  return `${role.name} is ${role.state}${reason}\n${summaryOf(role)}\n${logins}`;
}

/** What is wanted, in a line. */
function summaryOf({ wish, logins }: RoleDocument): string {
  const { state, memberOf = {}, settings = {}, databaseSettings = {}, rotation: _, ...rest } = wish;
  if (state === "absent") return "absent";
  const words = Object.entries(rest).map(([name, value]) =>
    typeof value === "boolean" ? (value ? name : `no ${name}`) : `${name} ${value ?? "for ever"}`,
  );
  const memberships = Object.entries(memberOf).map(([name, each_]) =>
    each_ === "none" ? `not in ${name}` : each_ === "admin" ? `admin of ${name}` : `in ${name}`,
  );
  const own = [
    ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
    ...Object.entries(databaseSettings).flatMap(([database, those]) =>
      Object.entries(those).map(([name, value]) => `${name}=${value} in ${database}`),
    ),
  ];
  const turns =
    logins?.previous.state === "overlapping"
      ? [`logins ${logins.newest} and, until ${logins.previous.until}, ${logins.previous.login}`]
      : logins === undefined
        ? []
        : [`login ${logins.newest}`];
  return withoutControls([...words, ...memberships, ...own, ...turns].join(", "));
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
