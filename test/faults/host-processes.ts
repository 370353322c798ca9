/** What runs on a host of a test network: found by its network namespace, whoever the parents are by now. */

import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { isAlive } from "../../src/demo/local-cluster.ts";
import type { NamespaceHost } from "../support/network-namespaces.ts";

export type Part = "member" | "supervisor" | "postmaster" | "postgres" | "clone" | "rewind" | "everything";

interface Found {
  readonly pid: number;
  readonly parent: number;
  readonly program: string;
  readonly argv: readonly string[];
}

/** The processes of a part, or of all. A host that is dead has none. */
export function processesOf(host: NamespaceHost, part: Part): readonly number[] {
  const found = everything(host);
  return found.filter((each) => isOf(part, each, found)).map(({ pid }) => pid);
}

export function signalPart(host: NamespaceHost, part: Part, signal: NodeJS.Signals): number {
  const pids = processesOf(host, part);
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      // It ended by itself meanwhile.
      if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
    }
  }
  return pids.length;
}

function isOf(part: Part, { program, argv, parent }: Found, all: readonly Found[]): boolean {
  switch (part) {
    case "everything":
      return true;
    case "member":
      return argv[1] === "run";
    case "supervisor":
      return argv[1] === "supervise";
    case "postgres":
      return program === "postgres";
    case "postmaster":
      return (
        program === "postgres" && !all.some((each) => each.pid === parent && each.program === "postgres")
      );
    case "clone":
      return program === "pg_basebackup";
    case "rewind":
      return program === "pg_rewind";
  }
}

function everything(host: NamespaceHost): readonly Found[] {
  const namespace = `net:[${statSync(`/run/netns/${host.name}`).ino}]`;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        if (readlinkSync(`/proc/${name}/ns/net`) !== namespace || !isAlive(Number(name))) return [];
        const program = readlinkSync(`/proc/${name}/exe`).split("/").at(-1) ?? "";
        const argv = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
        // After the program's name, which stands in brackets and may hold anything.
        const parent = Number(readFileSync(`/proc/${name}/stat`, "utf8").split(") ").at(-1)?.split(" ")[1]);
        return [{ pid: Number(name), parent, program, argv }];
      } catch {
        // It ended while we looked.
        return [];
      }
    });
}
