/** What sets passwords is written down by no extension, although it writes down everybody else's statements. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SCRAM_SALT_BYTES, scramVerifier } from "../../src/base/scram.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { realClock } from "../support/postgres-clock.ts";
import { PostgresFarm, type TestServer } from "../support/postgres-farm.ts";
import { postgresMajors } from "../support/postgres-majors.ts";

const STEP_MS = 60_000;
const OURS = /SCRAM-SHA-256|ROLE "quiet"/;

describe.each(postgresMajors().map((installation) => [installation.major, installation] as const))(
  "PostgreSQL %d",
  (_major, installation) => {
    let farm: PostgresFarm;
    let server: TestServer;
    let catalog: Catalog;

    beforeAll(async () => {
      farm = await PostgresFarm.create(installation);
      server = await farm.addPrimary("m1", {
        parameters: {
          shared_preload_libraries: "pg_stat_statements,auto_explain",
          "pg_stat_statements.track": "all",
          "pg_stat_statements.track_utility": "on",
          "auto_explain.log_min_duration": "0",
        },
      });
      const { socketDirectory, port } = server;
      catalog = new Catalog({
        socketDirectory,
        port,
        user: "postgres",
        database: "postgres",
        clock: realClock,
      });
      server.sql("CREATE EXTENSION pg_stat_statements");
    }, STEP_MS);

    afterAll(async () => {
      await catalog?.close();
      await farm.remove();
    }, STEP_MS);

    test(
      "pg_stat_statements and auto_explain see others' passwords, and none of ours",
      async () => {
        const salt = crypto.getRandomValues(new Uint8Array(SCRAM_SALT_BYTES));
        const password = await scramVerifier("x", salt);
        const make = { kind: "create-role", role: "quiet", attributes: { login: true, password } } as const;
        const alter = { kind: "alter-role", role: "quiet", attributes: { password } } as const;
        const results = await catalog.run([make, alter, make]);
        expect(results.map((each) => each?.message ?? null)).toEqual([
          null,
          null,
          'role "quiet" already exists',
        ]);
        await catalog.read();
        await catalog.glance();
        server.sql("CREATE ROLE loud PASSWORD 'seen-by-all'");
        server.sql("SELECT 'somebody else'::text");
        const seen = server.sql("SELECT query FROM pg_stat_statements");
        expect(seen).toMatch(/CREATE ROLE loud/);
        expect(OURS.test(seen)).toBe(false);
        const log = readFileSync(server.paths.postgresLogFile, "utf8");
        expect(log.includes("somebody else")).toBe(true);
        expect(OURS.test(log)).toBe(false);
        const texts = join(server.paths.dataDirectory, "pg_stat_tmp");
        const files = existsSync(texts)
          ? readdirSync(texts).map((name) => readFileSync(join(texts, name), "latin1"))
          : [];
        expect(files.filter((text) => text.includes(password.slice(0, 60)))).toEqual([]);
      },
      STEP_MS,
    );
  },
);
