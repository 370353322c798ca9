import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { err, ok, type Result } from "../../../src/base/result.ts";
import { CertificateKeeper, type CertificateTaker } from "../../../src/main/certificate-keeper.ts";
import { readMemberTls, writeMemberTls } from "../../../src/main/member-files.ts";
import { OwnCertificateFiles } from "../../../src/main/own-certificate.ts";
import { createAuthority, readCertificate, selfSigned } from "../../../src/peer/certificates.ts";
import { identityFor } from "../peer/identities.ts";
import { CLUSTER, M1 } from "../store/sample.ts";

const NOW = Date.now();
const DAY = 86_400_000;
const log = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
const authority = await createAuthority(CLUSTER, NOW);

let directory: string;
let nowMs: number;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "guacamole-keeper-"));
  nowMs = NOW;
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function taker(name: string, showsOwn: boolean, refusals = 0) {
  const taken: string[] = [];
  let left = refusals;
  const take: CertificateTaker["take"] = async (tls, own): Promise<Result<void, string>> => {
    left -= 1;
    if (left >= 0) return err("not now");
    taken.push(own?.cert ?? tls.certificatePem);
    return ok(undefined);
  };
  return { name, showsOwn, take, taken };
}

async function keeper(takers: readonly CertificateTaker[], own: OwnCertificateFiles | null = null) {
  const { certificatePem, privateKeyPem } = await identityFor(authority, CLUSTER, M1);
  writeMemberTls(directory, { caPem: authority.certificatePem, certificatePem, privateKeyPem });
  return new CertificateKeeper({
    dataDirectory: directory,
    subject: { memberId: M1, name: "m", hosts: ["127.0.0.1"] },
    cluster: () => ({ clusterId: CLUSTER, authority }),
    own,
    takers,
    earliness: 0,
    clock: { nowMs: () => nowMs, wallMs: () => nowMs, sleep: () => Promise.resolve() },
    log,
  });
}

describe("a member's own certificate", () => {
  test("is left alone while it is good", async () => {
    const postgres = taker("PostgreSQL", false);
    const kept = await keeper([postgres]);
    const before = readMemberTls(directory);
    await kept.look();
    expect(readMemberTls(directory)).toEqual(before);
    expect(postgres.taken).toEqual([]);
    expect(kept.status?.problems).toEqual([]);
  });

  test("is replaced when it is due, once, and all who show it take it", async () => {
    const all = [taker("peers", false), taker("API", true), taker("PostgreSQL", false)];
    const kept = await keeper(all);
    const before = readMemberTls(directory);
    nowMs = NOW + 300 * DAY;
    await kept.look();
    await kept.look();
    const after = readMemberTls(directory);
    expect(after.privateKeyPem).toBe(before.privateKeyPem);
    expect(readCertificate(after.certificatePem).notAfterMs).toBeGreaterThan(NOW + 660 * DAY);
    for (const { taken } of all) expect(taken).toEqual([after.certificatePem]);
    expect(kept.status?.memberEndsAtMs).toBe(readCertificate(after.certificatePem).notAfterMs);
    const tls = join(directory, "tls");
    expect(readdirSync(tls).toSorted()).toEqual(["ca.crt", "member.crt", "member.key"]);
    expect(statSync(join(tls, "member.crt")).mode & 0o777).toBe(0o600);
  });

  test("is renewed, too, where it ended long ago", async () => {
    const kept = await keeper([]);
    nowMs = NOW + 1_000 * DAY;
    await kept.look();
    expect(readCertificate(readMemberTls(directory).certificatePem).notAfterMs).toBeGreaterThan(nowMs);
  });

  test("is offered again to who did not take it, and that is said meanwhile", async () => {
    const postgres = taker("PostgreSQL", false, 1);
    const kept = await keeper([postgres]);
    nowMs = NOW + 300 * DAY;
    await kept.look();
    expect(kept.status?.problems).toEqual(["PostgreSQL has not taken the new certificate yet"]);
    await kept.look();
    expect(postgres.taken).toHaveLength(1);
    expect(kept.status?.problems).toEqual([]);
  });

  test("that cannot be written stays, and that is said", async () => {
    const kept = await keeper([taker("API", true)]);
    const before = readMemberTls(directory);
    rmSync(join(directory, "tls"), { recursive: true });
    writeFileSync(join(directory, "tls"), "in the way");
    nowMs = NOW + 300 * DAY;
    await kept.look();
    expect(kept.status?.problems.join()).toContain("its certificate was not renewed");
    rmSync(join(directory, "tls"));
    await kept.look();
    expect(kept.status?.problems).toEqual([]);
    expect(readMemberTls(directory).privateKeyPem).toBe(before.privateKeyPem);
  });
});

describe("an owner's certificate", () => {
  const place = () => ({ certificateFile: join(directory, "own.crt"), keyFile: join(directory, "own.key") });

  async function put(): Promise<string> {
    const { certificatePem, privateKeyPem } = await selfSigned("db.example.com", [], NOW);
    writeFileSync(place().certificateFile, certificatePem);
    writeFileSync(place().keyFile, privateKeyPem);
    return certificatePem;
  }

  function read(): OwnCertificateFiles {
    const own = OwnCertificateFiles.read(place());
    if (!own.ok) throw new Error(own.error);
    return own.value;
  }

  const whyNot = () => {
    const own = OwnCertificateFiles.read(place());
    return own.ok ? "" : own.error;
  };

  test("is refused at start with the file's name, whatever is wrong with it", async () => {
    expect(whyNot()).toContain("own.crt cannot be read");
    await put();
    expect(whyNot()).toBe("");
    writeFileSync(place().keyFile, (await selfSigned("other", [], NOW)).privateKeyPem);
    expect(whyNot()).toContain("is not that of the certificate");
    writeFileSync(place().keyFile, "no key");
    expect(whyNot()).toContain("own.key holds no private key");
    writeFileSync(place().certificateFile, "no certificate");
    expect(whyNot()).toContain("own.crt holds no certificate");
    expect(whyNot()).toContain("[api] certificate-file");
  });

  test("is shown again when its files change; only the API takes it", async () => {
    await put();
    const [peers, api] = [taker("peers", false), taker("API", true)];
    const kept = await keeper([peers, api], read());
    await kept.look();
    expect(api.taken).toEqual([]);
    const next = await put();
    await kept.look();
    await kept.look();
    expect(api.taken).toEqual([next]);
    expect(peers.taken).toEqual([]);
    expect(kept.status?.apiEndsAtMs).toBe(readCertificate(next).notAfterMs);
  });

  test("stays as it was while its files are no pair, and that is said", async () => {
    await put();
    const api = taker("API", true);
    const kept = await keeper([api], read());
    writeFileSync(place().keyFile, "half a ke");
    await kept.look();
    expect(api.taken).toEqual([]);
    expect(kept.status?.problems.join()).toContain("own.key holds no private key");
    const next = await put();
    await kept.look();
    expect(api.taken).toEqual([next]);
    expect(kept.status?.problems).toEqual([]);
  });
});
