import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClientAuthority } from "../../support/client-authority.ts";
import { applyCommands, stateOf } from "../api/fixture.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

const authority = await ClientAuthority.create([{ CN: ["Corp CA"] }]);
let member: FakeMember;
let directory: string;
beforeEach(async () => {
  member = await startFakeMember();
  member.fake.state = stateOf({ featureLevel: 4 });
  applyCommands(member.fake);
  directory = mkdtempSync(join(tmpdir(), "cli-certificate-"));
});
afterEach(async () => {
  await member.close();
  rmSync(directory, { recursive: true });
});

const guacamole = (...argv: string[]) =>
  member.guacamole(["client-certificate", ...argv], { newId: () => crypto.randomUUID() });
const agreed = () => member.fake.state?.spec.identity?.clientCertificates;

test("authorities are trusted, changed value by value, and taken away", async () => {
  expect((await guacamole()).out).toBe("Nobody is believed by a client certificate.\n");
  expect((await guacamole("set", "--map", "ou=dba:admin")).err).toContain("--ca-file is wanted");
  const file = join(directory, "ca.pem");
  writeFileSync(file, authority.pem);
  const set = await guacamole(
    "set",
    "--ca-file",
    file,
    "--map",
    "ou=dba:admin",
    "--map",
    "uri=spiffe://a/b=c:viewer",
  );
  expect(set.err).toBe("");
  expect(set.out).toContain("takes none: its file names no [api] certificate-listen");
  expect(set.out).toContain("authority: CN=Corp CA, until 2120-01-01");
  const scopes = [
    { attribute: "ou", value: "dba", scope: "admin" },
    { attribute: "uri", value: "spiffe://a/b=c", scope: "viewer" },
  ] as const;
  expect(agreed()).toEqual({ authorities: authority.pem, scopes });
  const digest = "AB:".repeat(31).concat("AB");
  await guacamole("set", "--block", digest);
  expect(agreed()).toEqual({ authorities: authority.pem, scopes, blocked: ["ab".repeat(32)] });
  await guacamole("set", "--unblock", digest, "--map", "cn=ann:operator");
  expect(agreed()).toEqual({
    authorities: authority.pem,
    scopes: [{ attribute: "cn", value: "ann", scope: "operator" }],
  });
  expect((await guacamole("set", "--block", "abc")).err).toContain("is no SHA-256");
  expect((await guacamole("set", "--map", "colour=red:admin")).err).toContain("attribute=value:scope");
  expect((await guacamole("remove")).out).toBe("Nobody is believed by a client certificate.\n");
  expect(agreed()).toBeUndefined();
});

test("a certificate is shown with its key or not at all", async () => {
  const ran = await member.guacamole(["status", "--endpoint", "127.0.0.1:1", "--client-cert", "x.crt"]);
  expect([ran.code, ran.err]).toEqual([2, expect.stringContaining("--client-cert and --client-key")]);
});
