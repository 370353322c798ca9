/** What a finished command says to the shell. Documented in `guacamole --help`; scripts may look at it. */
export const EXIT = {
  ok: 0,
  usage: 2,
  refused: 3,
  unreachable: 4,
  failed: 5,
  unknown: 6,
  differs: 7,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends a command: the sentence goes to stderr, the code to the shell. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: ExitCode;
  readonly hint: string | null;
  /** The problem document, where the API sent one. */
  readonly problem: unknown;

  constructor(exitCode: ExitCode, message: string, hint: string | null = null, problem: unknown = null) {
    super(message);
    this.exitCode = exitCode;
    this.hint = hint;
    this.problem = problem;
  }
}
