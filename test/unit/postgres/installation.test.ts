import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterId } from "../../../src/base/ids.ts";
import { inspectDataDirectory, markDataDirectory } from "../../../src/postgres/data-directory.ts";
import { inspectInstallation } from "../../../src/postgres/versions.ts";

const CLUSTER_ID = "11111111-2222-4333-8444-555555555555" as ClusterId;

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gcm-unit-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function program(name: string, says = ""): void {
  const file = join(directory, name);
  writeFileSync(file, `#!/bin/sh\necho '${says}'\n`);
  chmodSync(file, 0o755);
}

test("an incomplete installation is refused by the names of what is missing", () => {
  for (const name of ["postgres", "initdb", "pg_controldata"]) program(name);
  const inspected = inspectInstallation(directory);
  expect(inspected.ok).toBe(false);
  if (!inspected.ok) expect(inspected.error).toContain("pg_basebackup, pg_rewind missing");
});

test("a version that is too old is refused by its number", () => {
  for (const name of ["initdb", "pg_basebackup", "pg_rewind", "pg_controldata"]) program(name);
  program("postgres", "postgres (PostgreSQL) 13.4");
  const inspected = inspectInstallation(directory);
  expect(inspected.ok).toBe(false);
  if (!inspected.ok) expect(inspected.error).toContain("PostgreSQL 13.4");
  program("postgres", "postgres (PostgreSQL) 16.1");
  expect(inspectInstallation(directory)).toMatchObject({ ok: true, value: { major: 16, version: "16.1" } });
});

test("a data directory is ours only by our mark, and only with programs of its version", () => {
  const data = join(directory, "data");
  expect(inspectDataDirectory(data, 15).kind).toBe("absent");
  mkdirSync(data);
  expect(inspectDataDirectory(data, 15).kind).toBe("absent");
  writeFileSync(join(data, "PG_VERSION"), "15\n");
  expect(inspectDataDirectory(data, 15).kind).toBe("foreign");
  markDataDirectory(data, CLUSTER_ID);
  expect(inspectDataDirectory(data, 15)).toEqual({ kind: "ours", clusterId: CLUSTER_ID });
  expect(inspectDataDirectory(data, 17)).toMatchObject({
    kind: "foreign",
    detail: expect.stringContaining("set postgres.bin-dir"),
  });
  writeFileSync(join(data, "guacamole.json"), "{");
  expect(inspectDataDirectory(data, 15).kind).toBe("foreign");
});
