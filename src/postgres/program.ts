import { getPriority, setPriority } from "node:os";
import { err, ok, type Result } from "../base/result.ts";

/** Runs one of PostgreSQL's programs to its end, in a process group of its own, so that all of it can be ended. */
export interface ProgramRun {
  readonly command: readonly string[];
  /** Beside what all programs get. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Called for each line of standard error as it comes (progress). */
  readonly onErrorLine?: (line: string) => void;
  /** Called for each line of standard output as it comes; of a long one only the end is kept. */
  readonly onOutputLine?: (line: string) => void;
  /** Ends the program, with its children, when aborted. */
  readonly signal?: AbortSignal;
  /** Called once the program runs, with the id of its process and process group. */
  readonly onStarted?: (pid: number) => void;
}

export interface ProgramOutput {
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProgramFailure {
  /** What failed, with the end of what the program said. */
  readonly message: string;
  readonly stderr: string;
  readonly wasCancelled: boolean;
}

/** How much of a program's words is kept. */
const KEPT_CHARACTERS = 64 * 1024;
const TOLD_CHARACTERS = 2000;

/** Resolves once the program and its output ended. Never rejects: a program that fails is an answer. */
export async function runProgram(run: ProgramRun): Promise<Result<ProgramOutput, ProgramFailure>> {
  const [file = ""] = run.command;
  if (run.signal?.aborted) return err({ message: `${file} was cancelled`, stderr: "", wasCancelled: true });
  let child: Bun.Subprocess<"ignore", "pipe", "pipe">;
  try {
    child = Bun.spawn([...run.command], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      env: { ...programEnvironment(process.env), ...run.environment },
      cwd: "/",
      detached: true,
    });
  } catch (error) {
    return err({
      message: `${file} could not be started: ${describe(error)}`,
      stderr: "",
      wasCancelled: false,
    });
  }
  giveOrdinaryPriority(child.pid);
  run.onStarted?.(child.pid);
  const cancel = (): void => killGroup(child.pid);
  run.signal?.addEventListener("abort", cancel, { once: true });
  try {
    const [stdout, stderr, exitCode] = await Promise.all([
      collect(child.stdout, run.onOutputLine),
      collect(child.stderr, run.onErrorLine),
      child.exited,
    ]);
    if (run.signal?.aborted) return err({ message: `${file} was cancelled`, stderr, wasCancelled: true });
    if (exitCode === 0) return ok({ stdout, stderr });
    const ended = child.signalCode === null ? `exit code ${exitCode}` : `signal ${child.signalCode}`;
    const said = (stderr.trim() || stdout.trim()).slice(-TOLD_CHARACTERS);
    return err({ message: `${file} ended with ${ended}: ${said}`, stderr, wasCancelled: false });
  } finally {
    run.signal?.removeEventListener("abort", cancel);
  }
}

/**
 * The environment for PostgreSQL's programs: none of libpq's variables (nobody's PGPASSWORD or PGOPTIONS may change what
 * they do), messages in English, since we read some of them.
 */
export function programEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const kept: Record<string, string> = { LC_ALL: "C" };
  for (const name of ["PATH", "HOME", "TZ", "LD_LIBRARY_PATH", "TMPDIR"]) {
    const value = environment[name];
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}

/**
 * A service manager may start the control plane ahead of all else (`Nice=-10`), so that it hears and decides in time on a busy
 * host. What it starts, and what that starts, is the load: it gets the ordinary priority (setpriority(2), which the kernel
 * lets anybody lower).
 *
 * @param pid a program that was spawned just now; gone already is fine.
 */
export function giveOrdinaryPriority(pid: number): void {
  if (getPriority() >= 0) return;
  try {
    setPriority(pid, 0);
  } catch (error) {
    if (!(error instanceof Error && error.message.includes("ESRCH"))) throw error;
  }
}

/** SIGKILL to a process group; gone already is fine. */
export function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

async function collect(
  stream: ReadableStream<Uint8Array>,
  onLine: ((line: string) => void) | undefined,
): Promise<string> {
  const decoder = new TextDecoder();
  let kept = "";
  let pending = "";
  for await (const chunk of stream) {
    const text = decoder.decode(chunk, { stream: true });
    kept = (kept + text).slice(-KEPT_CHARACTERS);
    if (onLine === undefined) continue;
    const lines = (pending + text).split(/[\r\n]/);
    pending = lines.pop() ?? "";
    for (const line of lines) if (line !== "") onLine(line);
  }
  if (onLine !== undefined && pending !== "") onLine(pending);
  return kept;
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
