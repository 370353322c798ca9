/** What one server says of one of its parameters: a row of `pg_settings`. */
export interface ServerSetting {
  readonly name: string;
  /** The value in effect, in `unit`. */
  readonly setting: string;
  readonly unit: string | null;
  readonly type: "bool" | "integer" | "real" | "string" | "enum";
  /** `internal`, `postmaster`, `sighup`, `superuser-backend`, `backend`, `superuser`, `user`. */
  readonly context: string;
  readonly min: string | null;
  readonly max: string | null;
  readonly choices: readonly string[] | null;
  /** PostgreSQL's own word: `default`, `configuration file`, `command line`, `database`, … */
  readonly source: string;
  readonly sourceFile: string | null;
  readonly pendingRestart: boolean;
  readonly description: string;
}

/** A line of a configuration file that PostgreSQL does not take. */
export interface ConfigFileError {
  readonly file: string;
  readonly line: number;
  readonly name: string | null;
  readonly error: string;
}

export interface ServerSettings {
  readonly settings: readonly ServerSetting[];
  /** Words before the dot that some parameter on this server has. */
  readonly prefixes: readonly string[];
  readonly fileErrors: readonly ConfigFileError[];
  /** What ALTER SYSTEM had set although it is wanted otherwise, since the supervisor started: it was taken out. */
  readonly takenOut: readonly string[];
}

/** What became of trying parameters on a server: `refused` in PostgreSQL's words; `unknown` where it could not be tried. */
export type TriedParameters =
  | { readonly kind: "fits" }
  | { readonly kind: "refused"; readonly why: string }
  | { readonly kind: "unknown"; readonly why: string };
