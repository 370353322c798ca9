/** Verifiers on real PostgreSQL: the ones that it makes itself are the ones that we make, and whoever has the password gets in. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { SCRAM_SALT_BYTES, scramVerifier } from "../../src/base/scram.ts";
import { epoch, PostgresFarm, type TestServer } from "../support/postgres-farm.ts";
import { postgresMajors } from "../support/postgres-majors.ts";

const STEP_MS = 60_000;

const PASSWORDS = [
  "secret",
  'it\'s "quoted" \\ and %20',
  " ",
  "Gr\u00fc\u00dfe",
  "\u00aa\u2168\u00adx",
  "a\u00a0b\u200bc",
  "\u00ad",
  "\u0627\u0628",
  "\u0627a",
  "\u00e9\u0007",
  "\u{1f510}\u00aa",
  "\u1e9b\u0323",
];

describe.each(postgresMajors().map((installation) => [installation.major, installation] as const))(
  "PostgreSQL %d",
  (_major, installation) => {
    let farm: PostgresFarm;
    let server: TestServer;

    beforeAll(async () => {
      farm = await PostgresFarm.create(installation);
      server = await farm.add("m1");
      await farm.installCertificates(server);
      const options = { encoding: "UTF8", locale: "C.UTF-8" };
      await server.ask({ kind: "initdb", clusterId: server.settings().clusterId, options });
      await server.ask({ kind: "configure", epoch: epoch(1), timelines: [], settings: server.settings() });
      await server.ask({ kind: "start", epoch: epoch(1) });
      await server.probed("standby");
      await server.ask({ kind: "promote", epoch: epoch(1), timelines: [], needsLease: false });
      await server.probed("primary");
    }, STEP_MS);

    afterAll(async () => {
      await farm.remove();
    }, STEP_MS);

    test(
      "makes the verifier that we make",
      async () => {
        for (const [index, password] of PASSWORDS.entries()) {
          server.sql(`CREATE ROLE its${index} LOGIN PASSWORD '${password.replaceAll("'", "''")}'`);
          const its = server.sql(`SELECT rolpassword FROM pg_authid WHERE rolname = 'its${index}'`);
          const [, iterations, salt] = /^SCRAM-SHA-256\$(\d+):([^$]+)\$/.exec(its) ?? [];
          const bytes = Uint8Array.from(Buffer.from(salt ?? "", "base64"));
          expect({ password, verifier: await scramVerifier(password, bytes, Number(iterations)) }).toEqual({
            password,
            verifier: its,
          });
        }
      },
      STEP_MS,
    );

    test(
      "lets in whoever has the password, and nobody else",
      async () => {
        const salt = crypto.getRandomValues(new Uint8Array(SCRAM_SALT_BYTES));
        for (const [index, password] of PASSWORDS.entries()) {
          const verifier = await scramVerifier(password, salt);
          server.sql(`CREATE ROLE ours${index} LOGIN PASSWORD '${verifier}'`);
          expect({ password, said: logIn(server, `ours${index}`, password) }).toEqual({
            password,
            said: `ours${index}`,
          });
          expect(logIn(server, `ours${index}`, `${password}x`)).toContain("password authentication failed");
        }
      },
      STEP_MS,
    );
  },
);

function logIn(server: TestServer, user: string, password: string): string {
  const conninfo = `host=127.0.0.1 port=${server.port} user=${user} dbname=postgres sslmode=require`;
  const command = [join(server.binDirectory, "psql"), "-XAtwqc", "SELECT current_user", conninfo];
  const run = Bun.spawnSync(command, { env: { PATH: process.env["PATH"] ?? "", PGPASSWORD: password } });
  return `${run.stdout.toString()}${run.stderr.toString()}`.trim();
}
