/** Imports run downward only; each outside thing has one owner; the core touches nothing. Held to test/tidy/layers.ts. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, readTypeScript } from "../support/source-tree.ts";
import { type Import, readImports } from "./imports.ts";
import { FIRST_IN_ENTRY, LAYERS, type Layer, PURE, TOO_HEAVY_FOR_SUPERVISOR } from "./layers.ts";

const LEAST_FILES = 15;
const LEAST_IMPORTS = 30;

const files = readTypeScript("src");
const imports = files.flatMap(readImports);

describe("the scan", () => {
  test("saw the sources and their imports", () => {
    expect(files.length).toBeGreaterThan(LEAST_FILES);
    expect(imports.length).toBeGreaterThan(LEAST_IMPORTS);
  });

  test("missed no import that Bun's own scanner sees", () => {
    const scanner = new Bun.Transpiler({ loader: "ts" });
    for (const file of files) {
      const ours = new Set(readImports(file).map(({ specifier }) => specifier));
      const missed = scanner.scanImports(file.text).filter(({ path }) => !ours.has(path));
      expect({ file: file.path, missed }).toEqual({ file: file.path, missed: [] });
    }
  });

  test("found every imported file of ours", () => {
    const known = new Set(files.map(({ path }) => path));
    const dangling = imports.filter(({ target }) => target !== null && !known.has(`src/${target}`));
    expect(dangling.map(say)).toEqual([]);
  });
});

describe("the layers", () => {
  test("every folder of src is in the table", () => {
    const folders = new Set(files.map(({ path }) => path.split("/")[1] ?? ""));
    const unknown = [...folders].filter((folder) => layerOf(folder) === undefined);
    expect(unknown).toEqual([]);
  });

  test("imports run downward only", () => expect(upwardImports(imports)).toEqual([]));

  test("each package is imported from its owner only", () => expect(foreignPackages(imports)).toEqual([]));

  test("the core imports no runtime module", () => expect(impureImports(imports)).toEqual([]));

  test("the supervisor stays small, however far away", () => {
    expect(heavyBehind("supervisor/", imports)).toEqual([]);
  });

  test("every dependency of package.json has an owner, and no owner owns what is not there", () => {
    const manifest: unknown = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    const dependencies = Object.keys((manifest as { dependencies: Record<string, string> }).dependencies);
    const owned = LAYERS.flatMap(({ owns }) => owns).filter((name) => !/^(node|bun):/.test(name));
    expect(owned.toSorted()).toEqual(dependencies.toSorted());
  });
});

describe("each check finds what was planted", () => {
  const plant = (path: string, text: string): readonly Import[] => readImports({ path, text });

  test.each([
    ["an upward import", "src/cluster/apply.ts", 'import { x } from "../decision/plan.ts";'],
    [
      "an upward type import over lines",
      "src/base/a.ts",
      'import type {\n  A,\n  B,\n} from "../cluster/state.ts";',
    ],
    ["an upward re-export", "src/base/a.ts", 'export { x } from "../cluster/state.ts";'],
    ["a type expression", "src/base/a.ts", 'let x: import("../cluster/state.ts").ClusterState;'],
    ["a sideways import", "src/agent/loop.ts", 'import { app } from "../api/app.ts";'],
    ["the store reaching into the engine", "src/store/s.ts", 'import { E } from "../raft/engine/engine.ts";'],
    [
      "the peer reaching for the engine",
      "src/peer/p.ts",
      'import type { E } from "../raft/engine/engine.ts";',
    ],
    ["migrations outside the store", "src/main/m.ts", 'import sql from "../../migrations/0000_a.sql";'],
    ["code out of the migrations", "src/store/m.ts", 'import { sql } from "../../migrations/sql.ts";'],
    ["the supervisor probing", "src/supervisor/s.ts", 'import { probe } from "../postgres/probe.ts";'],
    ["the sources importing a test", "src/main/main.ts", 'import { x } from "../../test/support/x.ts";'],
  ])("%s", (_what, path, text) => expect(upwardImports(plant(path, text))).toHaveLength(1));

  test.each([
    ["SQLite outside the store", "src/agent/a.ts", 'import { Database } from "bun:sqlite";'],
    ["a part of a package", "src/cluster/a.ts", 'import { sql } from "drizzle-orm/bun-sqlite";'],
    ["a package that nobody owns", "src/main/a.ts", 'import lodash from "lodash";'],
    ["a bare import that is not the entry's", "src/main/a.ts", 'import "reflect-metadata";'],
    ["a late import", "src/main/a.ts", 'const { t } = await import("elysia");'],
  ])("%s", (_what, path, text) => expect(foreignPackages(plant(path, text))).toHaveLength(1));

  test("a runtime module in the core", () => {
    expect(
      impureImports(plant("src/raft/engine/e.ts", 'import { randomUUID } from "node:crypto";')),
    ).toHaveLength(1);
    expect(impureImports(plant("src/raft/node.ts", 'import { join } from "node:path";'))).toHaveLength(0);
  });

  test("a heavy package two steps behind the supervisor", () => {
    const chain = [
      ...plant("src/supervisor/serve.ts", 'import { start } from "../postgres/start.ts";'),
      ...plant("src/postgres/start.ts", 'import { sql } from "./sql.ts";'),
      ...plant("src/postgres/sql.ts", 'import postgres from "postgres";'),
      ...plant("src/postgres/elsewhere.ts", 'import { Elysia } from "elysia";'),
    ];
    expect(heavyBehind("supervisor/", chain)).toEqual(["src/postgres/sql.ts imports postgres"]);
  });

  test("and nothing in what is allowed", () => {
    const allowed = [
      ...plant(
        "src/store/s.ts",
        'import type { LogStore } from "../raft/ports.ts";\nimport { Database } from "bun:sqlite";',
      ),
      ...plant("src/store/m.ts", 'import sql from "../../migrations/0000_a.sql" with { type: "text" };'),
      ...plant("src/peer/p.ts", 'import type { Message } from "../raft/engine/message.ts";'),
      ...plant(
        "src/base/b.ts",
        '// import { x } from "../main/main.ts";\n/* import "elysia" */\nconst s = "from";',
      ),
      ...plant("src/main/m.ts", 'import { run } from "../agent/run.ts";\nimport pino from "pino";'),
    ];
    expect([...upwardImports(allowed), ...foreignPackages(allowed), ...impureImports(allowed)]).toEqual([]);
  });
});

function layerOf(folder: string): Layer | undefined {
  return LAYERS.find((layer) => layer.folder === folder);
}

function folderOf(from: string): string {
  return from.split("/")[1] ?? "";
}

function upwardImports(all: readonly Import[]): readonly string[] {
  return all.filter((one) => one.packageName === null && !isDownward(one)).map(say);
}

function isDownward({ from, target, outside }: Import): boolean {
  const folder = folderOf(from);
  if (outside !== null) {
    const embeds = layerOf(folder)?.embeds;
    return embeds !== undefined && outside.startsWith(embeds) && !outside.endsWith(".ts");
  }
  if (target === null) return false;
  if (target.startsWith(`${folder}/`)) return true;
  const layer = layerOf(folder);
  if (layer === undefined || layer.except?.includes(target)) return false;
  return layer.mayImport.some((allowed) => target === allowed || target.startsWith(`${allowed}/`));
}

/** Runtime modules (`node:fs`) are free where nobody owns them; an npm package always has an owner. */
function foreignPackages(all: readonly Import[]): readonly string[] {
  return all
    .filter(({ from, packageName }) => {
      if (packageName === null) return false;
      if (from === FIRST_IN_ENTRY.from && packageName === FIRST_IN_ENTRY.packageName) return false;
      const owner = LAYERS.find(({ owns }) => owns.includes(packageName))?.folder;
      if (owner === undefined) return !/^(node|bun)(:|$)/.test(packageName);
      return owner !== folderOf(from);
    })
    .map(say);
}

function impureImports(all: readonly Import[]): readonly string[] {
  return all
    .filter(
      ({ from, packageName }) => packageName !== null && PURE.some((path) => from.startsWith(`src/${path}`)),
    )
    .map(say);
}

function heavyBehind(prefix: string, all: readonly Import[]): readonly string[] {
  const reached = new Set<string>();
  const waiting = [...new Set(all.map(({ from }) => from))].filter((from) =>
    from.startsWith(`src/${prefix}`),
  );
  for (let from = waiting.pop(); from !== undefined; from = waiting.pop()) {
    if (reached.has(from)) continue;
    reached.add(from);
    for (const one of all) if (one.from === from && one.target !== null) waiting.push(`src/${one.target}`);
  }
  return all
    .filter(
      ({ from, packageName }) => reached.has(from) && TOO_HEAVY_FOR_SUPERVISOR.includes(packageName ?? ""),
    )
    .map(say);
}

function say({ from, specifier }: Import): string {
  return `${from} imports ${specifier}`;
}
