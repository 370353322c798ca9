/** `pg_hba.conf` and `pg_ident.conf` as text: read from what people have, written as PostgreSQL reads it. */
import { parseIpAddress, prefixOfMask } from "../base/ip-network.ts";
import { err, ok, type Result } from "../base/result.ts";
import {
  checkIdentMap,
  checkRule,
  HBA_ROLES,
  HBA_TYPES,
  type HbaRole,
  type HbaRule,
  type IdentMap,
  RULES_MAX,
  SCOPE_WORD,
} from "./hba-rule.ts";
import { formatToken, readLine, readToken, type Token } from "./hba-token.ts";

/** What is wrong with a line. */
export interface LineFault {
  /** From 1. */
  readonly line: number;
  readonly message: string;
}

type Fields = readonly (readonly Token[])[];

/** A comment belongs to the rule that follows it, or in whose line it stands. */
export function parseHba(text: string): Result<readonly HbaRule[], readonly LineFault[]> {
  const rules: HbaRule[] = [];
  const faults: LineFault[] = [];
  let above: Above = NOTHING_ABOVE;
  for (const { line, text: joined } of joinLines(text)) {
    const read = readHbaLine(joined, above);
    if (!read.ok) faults.push({ line, message: read.error });
    else if ("rule" in read.value) rules.push(read.value.rule);
    above = read.ok && "above" in read.value ? read.value.above : NOTHING_ABOVE;
  }
  if (rules.length > RULES_MAX) faults.push({ line: 1, message: `there are more than ${RULES_MAX} rules` });
  return faults.length > 0 ? err(faults) : ok(rules);
}

/** What comments said since the last rule. */
interface Above {
  readonly comments: readonly string[];
  readonly scope: Scope;
}
type Scope = Pick<HbaRule, "name" | "roles" | "members">;
const NOTHING_ABOVE: Above = { comments: [], scope: {} };

function readHbaLine(
  text: string,
  above: Above,
): Result<{ readonly rule: HbaRule } | { readonly above: Above }, string> {
  const read = readLine(text);
  if (!read.ok) return read;
  const { fields, comment } = read.value;
  const said = comment?.trim() ?? "";
  if (fields.length === 0 && said.startsWith(SCOPE_WORD)) {
    const scope = readScope(said.slice(SCOPE_WORD.length));
    return scope.ok ? ok({ above: { ...above, scope: scope.value } }) : scope;
  }
  const comments = said === "" && fields.length > 0 ? above.comments : [...above.comments, said];
  if (fields.length === 0)
    return ok({ above: { ...above, comments: comment === null ? above.comments : comments } });
  const rule = readRule(fields);
  if (!rule.ok) return rule;
  const checked = checkRule({ ...rule.value, ...above.scope, comment: comments.join("\n") });
  return checked.ok ? ok({ rule: checked.value }) : checked;
}

/** Lines as PostgreSQL joins them: one that ends in a backslash goes on in the next. */
function joinLines(text: string): readonly { readonly line: number; readonly text: string }[] {
  const joined: { line: number; text: string }[] = [];
  let goesOn = false;
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.replace(/\r+$/, "");
    const isOpen = line.endsWith("\\");
    const kept = isOpen ? line.slice(0, -1) : line;
    const last = joined.at(-1);
    if (goesOn && last !== undefined) last.text += kept;
    else joined.push({ line: index + 1, text: kept });
    goesOn = isOpen;
  }
  return joined;
}

function readScope(text: string): Result<Scope, string> {
  let scope: Scope = {};
  for (const part of text.trim().split(/\s+/)) {
    const [name, value = ""] = part.split("=");
    const values = value.split(",").filter((each) => each !== "");
    const isRoles = name === "roles" && values.every((each) => HBA_ROLES.some((role) => role === each));
    if (values.length > 0 && isRoles) scope = { ...scope, roles: values as HbaRole[] };
    else if (values.length > 0 && name === "members") scope = { ...scope, members: values };
    else if (value !== "" && name === "name") scope = { ...scope, name: value };
    else
      return err(
        `'# ${SCOPE_WORD}' is followed by name=NAME, roles=primary, roles=standby or members=NAME,NAME`,
      );
  }
  return ok(scope);
}

function readRule(fields: Fields): Result<HbaRule, string> {
  const [first, databases, users, ...rest] = fields;
  const word = only(first);
  if (word === null) return err("a rule begins with one type");
  if (/^include(_if_exists|_dir)?$/.test(word))
    return err(`'${word}' names another file, which is not replicated: write its rules here`);
  const type = HBA_TYPES.find((each) => each === word);
  if (type === undefined)
    return err(`'${word.slice(0, 40)}' is no type of connection (${HBA_TYPES.join(", ")})`);
  if (databases === undefined) return err("the line ends before the databases");
  if (users === undefined) return err("the line ends before the users");
  const at = type === "local" ? ok({ address: null, rest }) : readAddress(rest);
  if (!at.ok) return at;
  const { address, rest: afterAddress } = at.value;
  const [methodField, ...optionFields] = afterAddress;
  const method = only(methodField);
  if (method === null)
    return err(methodField === undefined ? "the line ends before the method" : "a rule has one method");
  const options = readOptions(optionFields.flat());
  if (!options.ok) return options;
  return ok({
    type,
    databases: databases.map(asWritten),
    users: users.map(asWritten),
    ...(address === null ? {} : { address }),
    method,
    options: options.value,
  });
}

function readAddress(fields: Fields): Result<{ readonly address: string; readonly rest: Fields }, string> {
  const [field, ...rest] = fields;
  if (field === undefined) return err("the line ends before the address");
  const address = only(field);
  if (address === null) return err("a rule has one address; write another rule for another one");
  const isKeyword = address === "all" || address === "samehost" || address === "samenet";
  if (isKeyword && field[0]?.isQuoted === true) return err(`"${address}" in quotes would be a host name`);
  const ip = parseIpAddress(address);
  if (ip === null) return ok({ address, rest });
  const [maskField, ...afterMask] = rest;
  const mask = prefixOfMask(only(maskField) ?? "");
  if (mask === null || mask.bits !== ip.length * 8)
    return err(
      `'${address}' needs a prefix ('${address}/${ip.length * 8}' is this address alone) or a netmask`,
    );
  return ok({ address: `${address}/${mask.prefixLength}`, rest: afterMask });
}

function readOptions(tokens: readonly Token[]): Result<Readonly<Record<string, string>>, string> {
  const options: Record<string, string> = {};
  for (const { text } of tokens) {
    const at = text.indexOf("=");
    if (at < 1) return err(`'${text.slice(0, 40)}' is no option: name=value is wanted`);
    const name = text.slice(0, at);
    if (Object.hasOwn(options, name)) return err(`the option ${name.slice(0, 40)} is given twice`);
    options[name] = text.slice(at + 1);
  }
  return ok(options);
}

/** The text of a field that must be one word; null: it is not. */
function only(field: readonly Token[] | undefined): string | null {
  return field?.length === 1 ? (field[0]?.text ?? null) : null;
}

/** A token that began with a quote keeps it; which ones mean something, `checkRule` knows. */
function asWritten({ text, isQuoted }: Token): string {
  return formatToken(text, isQuoted);
}

/** The lines of a rule: its comment, for whom it is, and the rule itself as the last one. */
export function renderRule(rule: HbaRule): readonly string[] {
  const { name, roles, members } = rule;
  const scope = [
    ...(name === undefined ? [] : [`name=${name}`]),
    ...(roles === undefined ? [] : [`roles=${roles.join(",")}`]),
    ...(members === undefined ? [] : [`members=${members.join(",")}`]),
  ];
  return [
    ...(rule.comment ?? "")
      .split("\n")
      .flatMap((line) => (rule.comment === undefined ? [] : [renderComment(line)])),
    ...(scope.length === 0 ? [] : [`# ${SCOPE_WORD} ${scope.join(" ")}`]),
    renderRuleLine(rule),
  ];
}

/** The rule in one line, without what PostgreSQL does not read. */
export function renderRuleLine({ type, databases, users, address, method, options = {} }: HbaRule): string {
  const columns = [
    type.padEnd(8),
    databases.join(",").padEnd(12),
    users.join(",").padEnd(20),
    ...(type === "local" ? ["".padEnd(18)] : [(address ?? "").padEnd(18)]),
    method,
    ...Object.entries(options).map(([name, value]) => renderOption(name, value)),
  ];
  return columns.join("  ").trimEnd();
}

function renderOption(name: string, value: string): string {
  return formatToken(`${name}=${value}`, false);
}

/** A backslash at its end would swallow the next line. */
function renderComment(line: string): string {
  return line === "" ? "#" : `# ${line}${line.endsWith("\\") ? " " : ""}`;
}

/** The text of a `pg_hba.conf` that reads as these rules. */
export function renderHbaText(rules: readonly HbaRule[]): string {
  return rules.flatMap((rule) => [...renderRule(rule), ""]).join("\n");
}

/** Comments are dropped: a map's line has no place for them. */
export function parseIdent(text: string): Result<readonly IdentMap[], readonly LineFault[]> {
  const maps: IdentMap[] = [];
  const faults: LineFault[] = [];
  for (const { line, text: joined } of joinLines(text)) {
    const read = readIdentLine(joined);
    if (!read.ok) faults.push({ line, message: read.error });
    else if (read.value !== null) maps.push(read.value);
  }
  return faults.length > 0 ? err(faults) : ok(maps);
}

function readIdentLine(text: string): Result<IdentMap | null, string> {
  const read = readLine(text);
  if (!read.ok) return read;
  const { fields } = read.value;
  if (fields.length === 0) return ok(null);
  const [map, systemUser, databaseUser, ...rest] = fields.map((field) =>
    field.length === 1 && field[0] !== undefined ? asWritten(field[0]) : null,
  );
  if (map == null || systemUser == null || databaseUser == null || rest.length > 0)
    return err("a line is a map, a system user and a database user, each one word");
  return checkIdentMap({ map, systemUser, databaseUser });
}

/** A line of `pg_ident.conf`. */
export function renderIdentLine({ map, systemUser, databaseUser }: IdentMap): string {
  return [map.padEnd(18), systemUser.padEnd(30), databaseUser].join("  ");
}

/** The token of a name that was checked. */
export function tokenOf(name: string): Token {
  const token = readToken(name);
  return token.ok ? token.value : { text: name, isQuoted: false };
}
