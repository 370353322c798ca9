import { createKeyAndRequest, requestFor } from "../peer/certificates.ts";

/** For the command line: of the key that is there, or of a new one. */
export async function certificateRequest(
  commonName: string,
  presentKeyPem: string | null,
): Promise<{ readonly privateKeyPem: string; readonly csrPem: string }> {
  if (presentKeyPem === null) return createKeyAndRequest(commonName);
  return { privateKeyPem: presentKeyPem, csrPem: await requestFor(commonName, presentKeyPem) };
}
