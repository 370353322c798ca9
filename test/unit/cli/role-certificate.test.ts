import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AUTHORITY, applyCommands, stateOf } from "../api/fixture.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

let member: FakeMember;
let directory: string;
/** What the API was sent, which must never be a key. */
const sent: string[] = [];

beforeAll(async () => {
  member = await startFakeMember();
  const { ports } = member.fake;
  Object.assign(ports, {
    signRole: async ({ csrPem, role, expiresAtMs }: Parameters<typeof ports.signRole>[0]) => {
      sent.push(csrPem);
      return {
        ok: true,
        value: { certificatePem: `CERT ${role}\n`, serial: "4d", authority: AUTHORITY, expiresAtMs },
      };
    },
  });
  member.fake.state = stateOf({ featureLevel: 4 });
  applyCommands(member.fake);
  directory = mkdtempSync(join(tmpdir(), "role-certificate-"));
});

afterAll(async () => {
  await member.close();
  rmSync(directory, { recursive: true });
});

const certificate = (...argv: string[]) =>
  member.guacamole(["role", "certificate", ...argv], { newId: () => crypto.randomUUID() });
const text = (name: string) => readFileSync(join(directory, "tls", name), "utf8");

test("the key is made here and stays here; the certificate is renewed for the same one", async () => {
  const out = join(directory, "tls");
  const made = await certificate("app", "--for", "90d", "--out", out);
  expect(made.err).toBe("");
  expect(made.out).toContain("sslmode=verify-full");
  expect(readdirSync(out).toSorted()).toEqual(["app.crt", "app.key", "ca.crt"]);
  expect(statSync(join(out, "app.key")).mode & 0o777).toBe(0o600);
  const key = text("app.key");
  expect(key).toStartWith("-----BEGIN PRIVATE KEY-----");
  expect([text("app.crt"), text("ca.crt").includes("BEGIN CERTIFICATE")]).toEqual(["CERT app\n", true]);
  expect((await certificate("app", "--out", out)).code).toBe(0);
  expect(text("app.key")).toBe(key);
  expect(sent).toHaveLength(2);
  for (const each of sent) {
    expect(each).toStartWith("-----BEGIN CERTIFICATE REQUEST-----");
    expect(each).not.toContain("PRIVATE");
  }
  const listed = await certificate("app", "--list");
  expect(listed.out).toMatch(/^4d +/m);
  expect(sent).toHaveLength(2);
});

test("whatever a role is called, nothing is written elsewhere, and a key that is none is not overwritten", async () => {
  const out = join(directory, "tls");
  expect((await certificate("../../app", "--out", out)).code).toBe(0);
  expect(readdirSync(out)).toContain("______app.key");
  expect(readdirSync(directory)).toEqual(["tls"]);
  writeFileSync(join(out, "bad.key"), "no key\n");
  const refused = await certificate("bad", "--out", out);
  expect([refused.code, refused.err.includes("bad.key cannot be made or used")]).toEqual([2, true]);
  expect(text("bad.key")).toBe("no key\n");
});

test("a request of one's own is signed, and the certificate printed", async () => {
  const file = join(directory, "own.csr");
  writeFileSync(file, "-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n");
  const made = await certificate("app", "--csr", file);
  expect(made.out).toBe("CERT app\n");
  expect(made.err).toContain("hba add");
  expect((await certificate("app", "--for", "soon")).err).toContain("30m, 12h or 90d");
});
