/** What a member keeps beside its database: its certificate, its key, and the cluster's authority. */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writeDurably } from "../store/durable-file.ts";

export interface MemberTls {
  readonly caPem: string;
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

const FILES = { caPem: "ca.crt", certificatePem: "member.crt", privateKeyPem: "member.key" } as const;

/**
 * Written before the identity is: a member that knows who it is can prove it. What is there already is not written again, so
 * a certificate that is renewed for the same key is one file that gets another content at once.
 */
export function writeMemberTls(dataDirectory: string, tls: MemberTls): void {
  const directory = join(dataDirectory, "tls");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (const [key, name] of Object.entries(FILES)) {
    const path = join(directory, name);
    const text = tls[key as keyof MemberTls];
    if (!existsSync(path) || readFileSync(path, "utf8") !== text) writeDurably(path, (write) => write(text));
  }
}

/** @throws an error that names the file, if one is missing: without them the member cannot speak to the others. */
export function readMemberTls(dataDirectory: string): MemberTls {
  const read = (name: string): string => {
    const path = join(dataDirectory, "tls", name);
    if (!existsSync(path)) throw new Error(`${path} is missing: put it back, or join as a new member`);
    return readFileSync(path, "utf8");
  };
  return {
    caPem: read(FILES.caPem),
    certificatePem: read(FILES.certificatePem),
    privateKeyPem: read(FILES.privateKeyPem),
  };
}
