/** Where people read. The one place that knows stdout and stderr. */
export interface Terminal {
  /** A person watches stdout. */
  readonly isInteractive: boolean;
  /** How wide what a person watches is; null: nobody watches, or it does not say. Asked anew each time. */
  widthMax(): number | null;
  /** Results. */
  out(text: string): void;
  /** Progress and errors. */
  err(text: string): void;
}

/** The terminal of this process. A reader that went away (`| head`) ends nothing with a stack trace. */
export function processTerminal(): Terminal {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  }
  return {
    isInteractive: process.stdout.isTTY === true && process.stderr.isTTY === true,
    widthMax: () =>
      process.stdout.isTTY === true && process.stdout.columns > 0 ? process.stdout.columns : null,
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
  };
}
