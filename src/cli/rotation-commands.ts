/** `guacamole role rotate` and `guacamole role overlap`: a new password, while the one before stays good for a while. */
import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { RoleDocument, RotatedDocument } from "../api/role-documents.ts";
import { SCRAM_SALT_BYTES, scramVerifier } from "../base/scram.ts";
import { awaitDeclared } from "./await-declared.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import { withoutControls } from "./render-table.ts";

/** 192 bits, in 32 characters that need no quotes anywhere. */
const PASSWORD_BYTES = 24;

/** What a rotation says; the password is known to nobody else, and is not asked for again. */
interface Rotated {
  readonly role: string;
  readonly login: string;
  /** Null: it was typed. */
  readonly password: string | null;
  readonly previous: { readonly login: string; readonly until: string; readonly state: string } | null;
  readonly notices: readonly string[];
}

/** `guacamole role rotate` */
export function rotateCommand(ports: CliPorts, pathOf: (name: string) => string) {
  return clientCommand("rotate")
    .summary("a new password, while the one before stays good for a while")
    .description(
      "Makes a new password, sends only the SCRAM-SHA-256 verifier of it, and prints it with the login that it is for: two\nlogins take turns (app_a, app_b), members of the role that begin their sessions as it. The password before is good\nuntil the overlap ends, by PostgreSQL's own clock; then its login is locked. Give the applications the new login and\npassword meanwhile. Sessions that are open stay open.",
    )
    .argument("<name>", "of a declared role")
    .option(
      "--overlap <duration>",
      "how long the one before stays good: 0s, 30m, 24h, 7d (default: 24h)",
      seconds,
    )
    .option("--stdin", "read the password from standard input, its first line, instead of making one")
    .option("--again", "the newest password was lost: replace it, and leave the one before its time")
    .option("--wait", "wait until the primary has it so", true)
    .option("--no-wait", "return once it is agreed")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole role rotate app --overlap 24h\n  guacamole role rotate app --overlap 0s        (somebody has the old one: it ends at once)\n  pass show app/next | guacamole role rotate app --stdin\n\nRules for connections should name +app instead of app: its logins are members of it.",
    )
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const password = options.stdin === true ? await typedPassword() : newPassword();
      const body = {
        password: await scramVerifier(password, crypto.getRandomValues(new Uint8Array(SCRAM_SALT_BYTES))),
        ...(options.overlap === undefined ? {} : { overlapSeconds: options.overlap }),
        ...(options.again === true ? { replacesNewest: true } : {}),
      };
      const path = `${pathOf(name)}/rotation`;
      const agreed = await client.post<RotatedDocument>(path, body, { idempotencyKey: ports.newId() });
      const made: Rotated = {
        role: name,
        login: agreed.login,
        password: options.stdin === true ? null : password,
        previous: agreed.role.logins?.previous ?? null,
        notices: agreed.notices,
      };
      // It is agreed, and nobody else knows the password: it is told whatever comes of waiting.
      printResult(ports, options.output, made, renderRotated);
      if (options.wait) await awaitDeclared<RoleDocument>(ports, client, pathOf(name));
    });
}

/** `guacamole role overlap` */
export function overlapCommand(ports: CliPorts, pathOf: (name: string) => string) {
  return clientCommand("overlap")
    .summary("until when the password before is good: shown, made longer, ended")
    .description("Shows until when the password before is good. With an option, changes that.")
    .argument("<name>", "of a role whose password was rotated")
    .option("--for <duration>", "so long from now on: 30m, 24h, 7d", seconds)
    .option("--end", "end it now: the login before is locked")
    .option("--forget", "its logins take turns no more: both stay on the server as they are")
    .option("--wait", "wait until the primary has it so", true)
    .option("--no-wait", "return once it is agreed")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole role overlap app\n  guacamole role overlap app --for 12h\n  guacamole role overlap app --end",
    )
    .action(async (name, options) => {
      const asked = [options.for !== undefined, options.end === true, options.forget === true];
      if (asked.filter((each) => each).length > 1)
        throw new CliError(EXIT.usage, "--for, --end and --forget: one of them at a time");
      const client = await openClient(ports, options);
      const path = `${pathOf(name)}/rotation`;
      const key = { idempotencyKey: ports.newId() };
      const overlapSeconds = options.end === true ? 0 : options.for;
      if (options.forget === true) await client.delete<RoleDocument>(path, key);
      else if (overlapSeconds !== undefined) await client.patch<RoleDocument>(path, { overlapSeconds }, key);
      const isWaiting = options.wait && asked.includes(true);
      const role = isWaiting
        ? await awaitDeclared<RoleDocument>(ports, client, pathOf(name))
        : await client.get<RoleDocument>(pathOf(name));
      printResult(ports, options.output, role, renderLogins);
    });
}

function renderRotated({ role, login, password, previous, notices }: Rotated): string {
  const lines = [
    `  role      ${role}`,
    `  login     ${login}`,
    ...(password === null ? [] : [`  password  ${password}`, "            keep it: it is shown this once"]),
    ...(previous === null ? [] : [`  before    ${previousText(previous)}`]),
    ...notices.map((notice) => `  note      ${notice}`),
  ];
  return lines.map((line) => `${withoutControls(line)}\n`).join("");
}

/** Who logs in, in a line or two; nothing where its password was never rotated. */
export function renderLogins({ name, logins }: RoleDocument): string {
  if (logins === undefined) return withoutControls(`${name} logs in itself, if at all.`).concat("\n");
  const lines = [`newest login: ${logins.newest}`, `login before: ${previousText(logins.previous)}`];
  return lines.map((line) => `${withoutControls(line)}\n`).join("");
}

function previousText({ login, until, state }: NonNullable<Rotated["previous"]>): string {
  return state === "ended" ? `${login}, ended ${until}` : `${login}, good until ${until}`;
}

async function typedPassword(): Promise<string> {
  const typed = (await Bun.stdin.text()).split("\n")[0];
  if (typed === undefined || typed === "") throw new CliError(EXIT.usage, "a password is wanted");
  return typed;
}

function newPassword(): string {
  return crypto.getRandomValues(new Uint8Array(PASSWORD_BYTES)).toBase64({ alphabet: "base64url" });
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

function seconds(text: string): number {
  const match = /^([0-9]{1,6})([smhd])$/.exec(text);
  const unit = SECONDS[match?.[2] ?? ""];
  if (match === null || unit === undefined)
    throw new InvalidArgumentError("A duration is wanted: 30m, 24h or 7d.");
  return Number(match[1]) * unit;
}
