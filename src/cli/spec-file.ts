/** All that is wanted as a file for people: YAML, in an order that reads, with a line on what each section is. */
import { readFile } from "node:fs/promises";
import { Document, isMap, isScalar, isSeq, parseDocument, visit } from "yaml";
import type { SpecBody } from "../api/spec-body.ts";
import { CliError, EXIT } from "./exit-code.ts";

type Section = keyof SpecBody;

const HEAD = ` What is wanted of the cluster. 'guacamole apply -f FILE' wants all of this, as one change or not at all.
 A section that is taken out stays as it is; null is its default. What is *** is a secret, and stays what it is.`;

/** In the order in which they are written. */
const SECTIONS: Readonly<Record<Section, string>> = {
  durability: " How commits are kept ('guacamole topology').",
  failover: " When a failover happens by itself.",
  timing: " How fast it is seen that somebody is gone.",
  consensus: " How many members vote at most.",
  postgres:
    " PostgreSQL's parameters; a member's own count more than its role's, and those more than the cluster's.",
  access: " Who may connect: rules as in pg_hba.conf, in order; guacamole's own come before them.",
  declared:
    " Roles and databases, kept so on the primary. Whatever is not named stays there as it is. No passwords here.",
  breakGlass: " What is asked of break-glass access.",
  identity: " Who else vouches for callers of the API, and for what ('guacamole identity-provider').",
};

/** As the text of a file; only these sections, if any are named. The same spec gives the same text. */
export function renderSpecFile(spec: SpecBody, only?: readonly Section[]): string {
  const named = only ?? (Object.keys(SECTIONS) as Section[]);
  const said = named.flatMap((key) => (spec[key] === undefined ? [] : [[key, spec[key]] as const]));
  const document = new Document(Object.fromEntries(said));
  document.commentBefore = HEAD;
  if (isMap(document.contents)) {
    for (const { key } of document.contents.items) {
      if (!isScalar(key)) continue;
      key.commentBefore = SECTIONS[key.value as Section];
      key.spaceBefore = true;
    }
  }
  visit(document, {
    Seq(_, list) {
      // Names in one line.
      if (list.items.every(isScalar)) list.flow = true;
    },
    Map(_, map) {
      if (map.items.length === 0) map.flow = true;
    },
  });
  return document.toString({ lineWidth: 110 });
}

/**
 * What a file says, as it is sent: the API says what is wrong with it.
 *
 * @throws {CliError} where it is no YAML, or no map of sections.
 */
export function parseSpecFile(text: string, name: string): Readonly<Record<string, unknown>> {
  const document = parseDocument(text);
  const [first] = document.errors;
  if (first !== undefined) throw new CliError(EXIT.usage, `${name}: ${first.message.trimEnd()}`);
  if (!isMap(document.contents) || isSeq(document.contents)) {
    throw new CliError(
      EXIT.usage,
      `${name} holds no sections of a spec`,
      "'guacamole spec export' writes one that does.",
    );
  }
  return document.toJS() as Readonly<Record<string, unknown>>;
}

/** @throws {CliError} */
export async function readSpecFile(file: string): Promise<Readonly<Record<string, unknown>>> {
  const text = await readText(file);
  return parseSpecFile(text, file === "-" ? "standard input" : file);
}

/** A file, or standard input for '-'. @throws {CliError} */
export async function readText(file: string): Promise<string> {
  try {
    return file === "-" ? await Bun.stdin.text() : await readFile(file, "utf8");
  } catch (error) {
    throw new CliError(
      EXIT.usage,
      `${file} cannot be read: ${error instanceof Error ? error.message : error}`,
    );
  }
}
