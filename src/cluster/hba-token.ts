/** The words of PostgreSQL's authentication files: quotes, commas, comments, as `hba.c` reads them. */
import { err, ok, type Result } from "../base/result.ts";

export interface Token {
  readonly text: string;
  /** It began with a quote: it is no keyword, whatever it says. */
  readonly isQuoted: boolean;
}

export interface TokenLine {
  /** Each field is a list: what commas hold together. */
  readonly fields: readonly (readonly Token[])[];
  /** What stood behind `#`, without it; null: nothing did. */
  readonly comment: string | null;
}

/** Takes a line apart. The error says what is wrong with it. */
export function readLine(line: string): Result<TokenLine, string> {
  const fields: Token[][] = [];
  let at = 0;
  let joins = false;
  while (at < line.length) {
    const next = nextToken(line, at);
    if (!next.ok) return next;
    const { token, end, hasComma, comment } = next.value;
    if (token !== null) {
      if (joins) fields.at(-1)?.push(token);
      else fields.push([token]);
      joins = hasComma;
    }
    if (comment !== null) return ok({ fields, comment });
    at = end;
  }
  return ok({ fields, comment: null });
}

/** Reads exactly one token. */
export function readToken(text: string): Result<Token, string> {
  const said = text.slice(0, 80);
  if (/[\0\n\r]/.test(text)) return err("a name is one line");
  const line = readLine(text);
  if (!line.ok) return line;
  const [field, ...more] = line.value.fields;
  const [token, ...rest] = field ?? [];
  const isOne = token !== undefined && more.length === 0 && rest.length === 0 && line.value.comment === null;
  if (!isOne || /^[,\s]|[,\s]$/.test(text))
    return err(`'${said}' is not one name: put double quotes around what has blanks, commas or '#'`);
  return ok(token);
}

/** @param isLiteral quotes are needed, so that it is no keyword. */
export function formatToken(text: string, isLiteral: boolean): string {
  const needsQuotes = isLiteral || text === "" || /[\s,#"]/.test(text) || text.endsWith("\\");
  return needsQuotes ? `"${text.replaceAll('"', '""')}"` : text;
}

interface Next {
  readonly token: Token | null;
  readonly end: number;
  readonly hasComma: boolean;
  readonly comment: string | null;
}

function isBlank(character: string): boolean {
  return character === " " || character === "\t" || character === "\r";
}

/** As `next_token` of `hba.c`, step by step: two quotes within quotes are one. */
function nextToken(line: string, from: number): Result<Next, string> {
  let at = from;
  while (at < line.length && (isBlank(line.charAt(at)) || line.charAt(at) === ",")) at += 1;
  let text = "";
  let [isInQuotes, wasQuote, isQuoted, isEmpty] = [false, false, false, true];
  for (; at < line.length; at += 1) {
    const character = line.charAt(at);
    if (isBlank(character) && !isInQuotes) break;
    if (character === "#" && !isInQuotes) {
      const comment = line.slice(at + 1);
      return ok({ token: isEmpty ? null : { text, isQuoted }, end: line.length, hasComma: false, comment });
    }
    if (character === "," && !isInQuotes)
      return ok({ token: { text, isQuoted }, end: at + 1, hasComma: true, comment: null });
    if (character !== '"' || wasQuote) text += character;
    wasQuote = isInQuotes && character === '"' ? !wasQuote : false;
    if (character === '"') {
      isInQuotes = !isInQuotes;
      if (text === "" && isEmpty) isQuoted = true;
    }
    isEmpty = false;
  }
  if (isInQuotes) return err("a double quote is not closed");
  return ok({ token: isEmpty ? null : { text, isQuoted }, end: at, hasComma: false, comment: null });
}
