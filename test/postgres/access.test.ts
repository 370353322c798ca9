/** Rules for connections on real PostgreSQL: what it reads, what it refuses, and which rule it meets. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Attempt, meetRule } from "../../src/cluster/hba-match.ts";
import { OWN_RULES } from "../../src/cluster/hba-own.ts";
import { parseHba, renderHbaText, renderRule, renderRuleLine } from "../../src/cluster/hba-text.ts";
import type { AccessLines } from "../../src/cluster/managed-settings.ts";
import type { SupervisorRequest } from "../../src/supervisor/protocol.ts";
import { HBA_FILES } from "../support/hba-files.ts";
import { epoch, PostgresFarm, type TestServer, until } from "../support/postgres-farm.ts";
import { postgresMajors } from "../support/postgres-majors.ts";

const STEP_MS = 60_000;

function rulesOf(text: string) {
  const parsed = parseHba(text);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.error));
  return parsed.value;
}

function linesOf(text: string, revision = 1): AccessLines {
  return { revision, hba: rulesOf(text).flatMap(renderRule), identMaps: [] };
}

function configure(server: TestServer, access: AccessLines | null, at = 1): SupervisorRequest {
  const settings = server.settings(access === null ? {} : { access });
  return { kind: "configure", epoch: epoch(at), timelines: [], settings };
}

/** All that PostgreSQL understands of the file that the server has now, with each address as a range. */
function understood(server: TestServer): string {
  return server.sql(`SELECT type, database, user_name,
    CASE WHEN netmask IS NULL THEN address
      ELSE host(address::inet & netmask::inet) || '/' || netmask END,
    auth_method, (SELECT array_agg(o ORDER BY o) FROM unnest(options) o), error FROM pg_hba_file_rules ORDER BY line_number`);
}

/** One story: each test goes on where the one before it ended. */
describe.each(postgresMajors().map((installation) => [installation.major, installation] as const))(
  "PostgreSQL %d reads rules",
  (major, installation) => {
    let farm: PostgresFarm;
    let server: TestServer;

    beforeAll(async () => {
      farm = await PostgresFarm.create(installation);
      server = await farm.add("m1");
      await farm.installCertificates(server);
      const options = { encoding: "UTF8", locale: "C.UTF-8" };
      await server.ask({ kind: "initdb", clusterId: server.settings().clusterId, options });
      await server.ask(configure(server, null));
      await server.ask({ kind: "start", epoch: epoch(1) });
      await server.probed("standby");
      await server.ask({ kind: "promote", epoch: epoch(1), timelines: [], needsLease: false });
      await server.probed("primary");
    }, STEP_MS);

    afterAll(async () => {
      await farm.remove();
    }, STEP_MS);

    test(
      "as the same ones after we have read and written them",
      () => {
        const own = readFileSync(server.paths.hbaFile, "utf8");
        for (const [name, text] of Object.entries(HBA_FILES)) {
          writeFileSync(server.paths.hbaFile, text);
          const before = understood(server);
          writeFileSync(server.paths.hbaFile, renderHbaText(rulesOf(text)));
          expect({ name, rules: understood(server) }).toEqual({ name, rules: before });
        }
        writeFileSync(server.paths.hbaFile, own);
      },
      STEP_MS,
    );

    test(
      "and says of a trial which line it does not take, and why; nothing is left of it",
      async () => {
        const file = readFileSync(server.paths.hbaFile, "utf8");
        for (const [name, text] of Object.entries(HBA_FILES)) {
          const trial = await server.tryAccess(linesOf(text));
          // Not every PostgreSQL is built with every method, and it says so.
          const faults = trial.kind === "bad" ? trial.faults : [];
          if (faults.some(({ message }) => message.includes("not supported by this build"))) continue;
          expect({ name, kind: trial.kind }).toEqual({ name, kind: "good" });
        }
        const bad = await server.tryAccess({
          revision: 1,
          hba: [
            "host all all all scram-sha-256",
            "host all all 10.0.0.0/8 scram-sha-256 map=x",
            "host all all all md6",
          ],
          identMaps: [],
        });
        if (bad.kind !== "bad") throw new Error(`it is ${bad.kind}`);
        expect(bad.faults.map(({ line }) => line)).toEqual([
          "host all all 10.0.0.0/8 scram-sha-256 map=x",
          "host all all all md6",
        ]);
        expect(bad.faults[1]?.message).toContain('"md6"');
        const map = await server.tryAccess({ revision: 1, hba: [], identMaps: ["krb /^( x"] });
        expect(map).toMatchObject({ kind: "bad" });
        expect(readFileSync(server.paths.hbaFile, "utf8")).toBe(file);
        expect(readdirSync(server.paths.stateDirectory).filter((each) => each.includes("trial"))).toEqual([]);
      },
      STEP_MS,
    );

    test(
      "and keeps what it has where it is given one that it cannot read, also over a restart",
      async () => {
        await server.ask(
          configure(server, linesOf("host all app 127.0.0.1/32 scram-sha-256\nlocal all all reject", 2)),
        );
        const good = readFileSync(server.paths.hbaFile, "utf8");
        expect(good).toContain("host      all           app");
        expect((await server.look()).access).toEqual({ revision: 2, askedRevision: 2, problem: null });
        const bad = { revision: 3, hba: ["host all all all scram-sha-256 map=x"], identMaps: [] };
        const { access, settingsHash } = await server.ask(configure(server, bad));
        expect(access).toMatchObject({ revision: 2, askedRevision: 3 });
        expect(access?.problem).toContain('"map" is only valid');
        expect(readFileSync(server.paths.hbaFile, "utf8")).toBe(good);
        // It is configured as it was told, as far as that goes: nobody has to try again and again.
        expect((await server.look()).settingsHash).toBe(settingsHash);
        await server.endSupervisor("SIGKILL");
        await server.supervise();
        expect(await server.look()).toMatchObject({ access: { revision: 2 }, settingsHash });
        expect(readFileSync(server.paths.hbaFile, "utf8")).toBe(good);
        expect((await server.ask(configure(server, null))).access).toMatchObject({
          revision: null,
          problem: null,
        });
        expect(readFileSync(server.paths.hbaFile, "utf8")).not.toBe(good);
      },
      STEP_MS,
    );

    test(
      "and meets the one that we say",
      async () => {
        server.sql("CREATE ROLE ops; CREATE ROLE anna LOGIN IN ROLE ops; CREATE ROLE bert LOGIN");
        server.sql("CREATE ROLE bernd LOGIN");
        for (const database of ["sales", "anna", "ops"]) server.sql(`CREATE DATABASE ${database}`);
        const text = `
        hostssl   sales        bert       all           scram-sha-256
        hostnossl sales        bert       127.0.0.1/32  scram-sha-256
        host      sameuser     all        127.0.0.0/8   scram-sha-256
        host      samerole     all        samehost      scram-sha-256
        host      sales        +ops       127.0.0.1 255.255.255.255 scram-sha-256
        host      "all"        all        all           scram-sha-256
        host      replication  bert       all           scram-sha-256
        host      all          /^bern     127.0.0.1/32  scram-sha-256
        host      postgres     all        10.0.0.0/8    scram-sha-256
        host      all          anna       ::1/128       scram-sha-256
        local     sales        bert       scram-sha-256
        host      ops          bert       all           reject`;
        await server.ask(configure(server, linesOf(text, 4)));
        await server.ask({ kind: "reload" });
        const rules = [...OWN_RULES, ...rulesOf(text)];
        const attempts: readonly Attempt[] = ["anna", "bert", "bernd"].flatMap((user) =>
          ["sales", "anna", "ops", "postgres"].flatMap((database) => [
            ...(["none", "ssl"] as const).map((encryption) => ({
              user,
              database,
              isReplication: false,
              network: { address: "127.0.0.1", encryption },
            })),
            { user, database, isReplication: false, network: null },
          ]),
        );
        const replicating = { user: "bert", database: "", isReplication: true };
        const network = { address: "127.0.0.1", encryption: "none" as const };
        await until("the rules are loaded", async () =>
          /line/.test(metBy(server, attempts[6] ?? { ...replicating, network })) ? true : null,
        );
        for (const attempt of [...attempts, { ...replicating, network }, { ...replicating, network: null }]) {
          const memberOf = attempt.user === "anna" ? ["ops"] : [];
          const { index, open } = meetRule(rules, attempt, { major, memberOf });
          const rule = index === null ? null : (rules[index] ?? null);
          const expected =
            rule === null
              ? "none"
              : rule.method === "reject"
                ? "reject"
                : `line ${renderRuleLine(rule).replace(/\s+/g, " ")}`;
          expect({ attempt, open, met: metBy(server, attempt) }).toEqual({
            attempt,
            open: [],
            met: expected,
          });
        }
      },
      STEP_MS * 2,
    );
  },
);

/** Nobody here has a password: the server says in its log which rule asked for one. */
function metBy(server: TestServer, { user, database, isReplication, network }: Attempt): string {
  const from = readFileSync(server.paths.postgresLogFile, "utf8").length;
  const where =
    network === null
      ? `host=${server.socketDirectory} sslmode=disable`
      : `host=127.0.0.1 sslmode=${network.encryption === "ssl" ? "require" : "disable"}`;
  const what = isReplication ? "replication=true" : `dbname=${database}`;
  const conninfo = `${where} port=${server.port} user=${user} ${what} gssencmode=disable password=x`;
  const psql = join(server.binDirectory, "psql");
  const run = Bun.spawnSync([psql, "-Xwqc", "SELECT 1", conninfo], {
    env: { PATH: process.env["PATH"] ?? "" },
  });
  const said = run.stderr.toString();
  if (said.includes("no pg_hba.conf entry")) return "none";
  if (said.includes("pg_hba.conf rejects")) return "reject";
  const log = readFileSync(server.paths.postgresLogFile, "utf8").slice(from);
  const matched = /Connection matched .*line \d+: "(.*)"\n/.exec(log)?.[1];
  return matched === undefined ? said : `line ${matched.replaceAll('""', '"').replace(/\s+/g, " ").trim()}`;
}
