/** This process as its commands see it: its terminal, the wish that it ends, and how it starts itself again. */
import { join } from "node:path";
import { processTerminal } from "../cli/terminal.ts";
import type { LogLevel } from "./json-log.ts";

export const EXIT_OK = 0;
export const EXIT_USAGE = 2;
export const EXIT_FAILED = 5;

export const terminal = processTerminal();

const shutdown = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => shutdown.abort());

/** Aborted when this process shall end. */
export const shutdownSignal: AbortSignal = shutdown.signal;

/** How this program starts itself again: a compiled binary is its own; from the sources it is bun with the entry file. */
export function selfCommand(): readonly string[] {
  return Bun.isStandaloneExecutable
    ? [process.execPath]
    : [process.execPath, join(import.meta.dir, "main.ts")];
}

export function logLevel(): LogLevel {
  const wanted = process.env["GUACAMOLE_LOG_LEVEL"];
  return wanted === "debug" || wanted === "warn" || wanted === "error" ? wanted : "info";
}

/** Says it on standard error. @returns the exit code, to be handed on. */
export function fail(message: string, exitCode: number): number {
  terminal.err(`guacamole: ${message}\n`);
  return exitCode;
}

export function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    if (shutdownSignal.aborted) resolve();
    else shutdownSignal.addEventListener("abort", () => resolve(), { once: true });
  });
}
