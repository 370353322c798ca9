/** The complete PostgreSQL installations on this machine, one of each major: tests run on every one. */

import { existsSync, readdirSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { type Installation, inspectInstallation } from "../../src/postgres/versions.ts";

const TOOLS = resolve(import.meta.dir, "../../.tools");

/** Sorted by major. `GUACAMOLE_TEST_MAJORS=15,18` takes only these. */
export function postgresMajors(): readonly Installation[] {
  const wanted = process.env["GUACAMOLE_TEST_MAJORS"]?.split(",").map(Number);
  const byMajor = new Map<number, Installation>();
  for (const directory of candidates()) {
    if (!existsSync(join(directory, "postgres"))) continue;
    const found = inspectInstallation(directory);
    if (!found.ok || byMajor.has(found.value.major)) continue;
    if (wanted === undefined || wanted.includes(found.value.major))
      byMajor.set(found.value.major, found.value);
  }
  return [...byMajor.values()].sort((a, b) => a.major - b.major);
}

function candidates(): readonly string[] {
  return [
    ...directoriesIn("/usr/lib/postgresql", () => true),
    ...directoriesIn(TOOLS, (name) => name.startsWith("postgresql-")),
    ...(process.env["PATH"] ?? "").split(delimiter).filter((directory) => directory !== ""),
  ];
}

function directoriesIn(root: string, accept: (name: string) => boolean): readonly string[] {
  if (!existsSync(root)) return [];
  return readdirSync(root)
    .filter(accept)
    .map((name) => join(root, name, "bin"));
}
