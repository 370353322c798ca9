import type { ClusterId, MemberId } from "../../../src/base/ids.ts";
import type { CertificateAuthority } from "../../../src/cluster/state.ts";
import { createKeyAndRequest, signMember } from "../../../src/peer/certificates.ts";
import type { PeerIdentity } from "../../../src/peer/transport.ts";

/** What a member has after it formed or joined. */
export async function identityFor(
  authority: CertificateAuthority,
  clusterId: ClusterId,
  memberId: MemberId,
  wallMs = Date.now(),
): Promise<PeerIdentity> {
  const { privateKeyPem, csrPem } = await createKeyAndRequest("member");
  const subject = { memberId, name: "m", hosts: ["127.0.0.1"] };
  const certificate = await signMember(authority, csrPem, subject, wallMs);
  if (!certificate.ok) throw new Error(certificate.error);
  return {
    clusterId,
    memberId,
    recoveryEpoch: 0,
    privateKeyPem,
    certificatePem: certificate.value,
    authorityPem: authority.certificatePem,
  };
}

/** A port on 127.0.0.1 that is free now, below the range from which outgoing connections take theirs. */
export function freePort(): number {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    try {
      Bun.listen({ hostname: "127.0.0.1", port, socket: { data: () => undefined } }).stop(true);
      return port;
    } catch {
      // In use: another one.
    }
  }
  throw new Error("no port below 32768 is free");
}
