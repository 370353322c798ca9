/** What became of rules that a PostgreSQL was to read for once, before anybody relies on them. */
export type AccessTrial =
  | { readonly kind: "good"; readonly version: string }
  | { readonly kind: "bad"; readonly version: string; readonly faults: readonly AccessFault[] }
  /** It could not be tried: nothing is known of the rules. */
  | { readonly kind: "untried"; readonly why: string };

export interface AccessFault {
  /** The line as it was tried; null where PostgreSQL names none. */
  readonly line: string | null;
  /** In PostgreSQL's words. */
  readonly message: string;
}

/** For people, one sentence. */
export function describeFault({ line, message }: AccessFault): string {
  return line === null ? message : `'${line.replace(/\s+/g, " ")}': ${message}`;
}
