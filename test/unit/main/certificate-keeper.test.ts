import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { err, ok, type Result } from "../../../src/base/result.ts";
import { CertificateKeeper, type CertificateTaker } from "../../../src/main/certificate-keeper.ts";
import { type MemberTls, readMemberTls, writeMemberTls } from "../../../src/main/member-files.ts";
import { OwnCertificateFiles } from "../../../src/main/own-certificate.ts";
import {
  certificatesIn,
  createAuthority,
  fingerprint,
  isSignedBy,
  readCertificate,
  selfSigned,
} from "../../../src/peer/certificates.ts";
import { identityFor } from "../peer/identities.ts";
import { CLUSTER, M1 } from "../store/sample.ts";

const NOW = Date.now();
const DAY = 86_400_000;
const log = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
const authority = await createAuthority(CLUSTER, NOW);
const next = await createAuthority(CLUSTER, NOW, authority.certificatePem);

type Agreed = ReturnType<ConstructorParameters<typeof CertificateKeeper>[0]["cluster"]>;

let directory: string;
let nowMs: number;
let agreed: Agreed;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "guacamole-keeper-"));
  nowMs = NOW;
  agreed = { clusterId: CLUSTER, authority };
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

async function keeper(
  takers: readonly CertificateTaker[],
  own: OwnCertificateFiles | null = null,
  installed: (() => MemberTls | null) | null = null,
) {
  const { certificatePem, privateKeyPem } = await identityFor(authority, CLUSTER, M1);
  writeMemberTls(directory, { caPem: authority.certificatePem, certificatePem, privateKeyPem });
  return new CertificateKeeper({
    dataDirectory: directory,
    subject: { memberId: M1, name: "m", hosts: ["127.0.0.1"] },
    cluster: () => agreed,
    own,
    takers,
    installed,
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

describe("the authorities", () => {
  const both = () => `${authority.certificatePem}${next.certificatePem}`;
  const change = {
    operationId: "op",
    other: next,
    fingerprint: fingerprint(authority.certificatePem),
    otherFingerprint: fingerprint(next.certificatePem),
  };
  const trusting: Agreed = { clusterId: CLUSTER, authority, authorityChange: { ...change, step: "trust" } };
  const signing: Agreed = {
    clusterId: CLUSTER,
    authority: next,
    authorityChange: {
      ...change,
      step: "sign",
      other: authority,
      fingerprint: change.otherFingerprint,
      otherFingerprint: change.fingerprint,
    },
  };
  const replaced: Agreed = {
    clusterId: CLUSTER,
    authority: next,
    authorityChange: null,
    formerAuthorities: [authority.certificatePem],
  };
  const issuerOf = (pem: string) => (isSignedBy(pem, next.certificatePem) ? "next" : "present");

  test("are trusted as they are agreed, and the certificate is signed anew when the next one signs", async () => {
    const peers = taker("peers", false);
    const kept = await keeper([peers]);
    await kept.look();
    const { fingerprint: present, otherFingerprint } = change;
    expect(kept.status).toMatchObject({ trusted: [present], issuer: present });

    agreed = trusting;
    const before = readMemberTls(directory);
    await kept.look();
    expect(readMemberTls(directory)).toEqual({ ...before, caPem: both() });
    expect(kept.status).toMatchObject({ trusted: [present, otherFingerprint], issuer: present });
    expect(peers.taken).toHaveLength(1);

    agreed = signing;
    await kept.look();
    await kept.look();
    const after = readMemberTls(directory);
    expect(issuerOf(after.certificatePem)).toBe("next");
    expect(after.privateKeyPem).toBe(before.privateKeyPem);
    expect(kept.status).toMatchObject({ trusted: [otherFingerprint, present], issuer: otherFingerprint });
    expect(kept.status?.problems).toEqual([]);

    agreed = replaced;
    await kept.look();
    expect(readMemberTls(directory).caPem).toBe(next.certificatePem);
    expect(kept.status).toMatchObject({ trusted: [otherFingerprint], issuer: otherFingerprint });
  });

  test("are not said to be trusted before everybody here has taken them", async () => {
    const postgres = taker("PostgreSQL", false, 1);
    let installed: MemberTls | null = null;
    const kept = await keeper([postgres], null, () => installed);
    await kept.look();
    expect(kept.status?.trusted).toBeUndefined();
    installed = readMemberTls(directory);
    await kept.look();
    expect(kept.status?.trusted).toHaveLength(1);

    agreed = trusting;
    await kept.look();
    expect(readMemberTls(directory).caPem).toBe(both());
    expect(kept.status?.trusted).toHaveLength(1);
    await kept.look();
    expect(kept.status?.trusted).toHaveLength(1);
    installed = readMemberTls(directory);
    await kept.look();
    expect(kept.status?.trusted).toHaveLength(2);
  });

  test("are never given up by a member that has not heard yet what its own disk knows", async () => {
    const kept = await keeper([]);
    agreed = trusting;
    await kept.look();
    agreed = signing;
    await kept.look();
    const before = readMemberTls(directory);
    // A host that lost its power, and begins with what was agreed a moment earlier.
    agreed = trusting;
    await kept.look();
    expect(readMemberTls(directory).certificatePem).toBe(before.certificatePem);
    agreed = { clusterId: CLUSTER, authority };
    await kept.look();
    expect(readMemberTls(directory).certificatePem).toBe(before.certificatePem);
    expect(certificatesIn(readMemberTls(directory).caPem)).toHaveLength(2);
    agreed = replaced;
    await kept.look();
    expect(readMemberTls(directory)).toEqual({ ...before, caPem: next.certificatePem });
  });

  test("are the ones from before again where the change was ended, late or early", async () => {
    const kept = await keeper([]);
    const before = readMemberTls(directory);
    const ended: Agreed = { clusterId: CLUSTER, authority, formerAuthorities: [next.certificatePem] };
    agreed = trusting;
    await kept.look();
    agreed = ended;
    await kept.look();
    expect(readMemberTls(directory)).toEqual(before);

    for (const each of [trusting, signing]) {
      agreed = each;
      await kept.look();
    }
    expect(issuerOf(readMemberTls(directory).certificatePem)).toBe("next");
    agreed = { ...trusting, authorityChange: { ...change, step: "sign", cancelledBy: "ann" } };
    await kept.look();
    expect(issuerOf(readMemberTls(directory).certificatePem)).toBe("present");
    expect(certificatesIn(readMemberTls(directory).caPem)).toHaveLength(2);
    agreed = ended;
    await kept.look();
    expect(readMemberTls(directory).caPem).toBe(before.caPem);
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
