/** What a member keeps beside its database: its certificate, its key, and the cluster's authority. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

export interface MemberTls {
  readonly caPem: string;
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

const FILES = { caPem: "ca.crt", certificatePem: "member.crt", privateKeyPem: "member.key" } as const;

/** Written before the identity is: a member that knows who it is can prove it. */
export function writeMemberTls(dataDirectory: string, tls: MemberTls): void {
  const directory = join(dataDirectory, "tls");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (const [key, name] of Object.entries(FILES)) {
    writeDurably(join(directory, name), tls[key as keyof MemberTls]);
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

function writeDurably(path: string, text: string): void {
  const aside = `${path}.new`;
  const file = openSync(aside, "w", 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(aside, path);
}
