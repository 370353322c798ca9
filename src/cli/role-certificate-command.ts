import { mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { RoleCertificateDocument, RoleCertificatesDocument } from "../api/role-certificate-documents.ts";
import type { ApiClient } from "./client.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import { renderTable, withoutControls } from "./render-table.ts";
import { readText } from "./spec-file.ts";

/** `guacamole role certificate` */
export function roleCertificateCommand(ports: CliPorts) {
  return clientCommand("certificate")
    .summary("a client certificate by which a role logs in, signed by the cluster's authority")
    .description(
      `Makes a key here, which never leaves this host, has the cluster's authority sign a certificate for the role, and writes
NAME.key (mode 0600), NAME.crt and ca.crt. A key that is there already is used again, and its certificate replaced: so it is renewed.
It lets in where a rule for connections has the method 'cert', or clientcert=verify-full. It cannot be taken back before it ends:
take '--login' from the role, or the rule away. For roles with the power of a superuser it needs a token of scope admin.`,
    )
    .argument("<name>", "of the role")
    .option("--for <duration>", "how long it is good: 12h, 90d (default: 90d)", seconds)
    .option("--out <directory>", "where to write the files", ".")
    .option(
      "--csr <file>",
      "have this request signed instead ('-': standard input), and print the certificate",
    )
    .option("--list", "list the role's certificates that are good, and issue none")
    .addHelpText(
      "after",
      `
Examples:
  guacamole role certificate app --for 90d --out /etc/app/tls
  psql "host=10.0.0.1 user=app dbname=sales sslmode=verify-full sslcert=app.crt sslkey=app.key sslrootcert=ca.crt"
  guacamole role certificate app --csr app.csr > app.crt
  guacamole role certificate app --list`,
    )
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      if (options.list === true) {
        const listed = await client.get<RoleCertificatesDocument>(pathOf(name));
        printResult(ports, options.output, listed, renderCertificates);
        return;
      }
      if (options.csr !== undefined) {
        const made = await ask(client, name, await readText(options.csr), options.for);
        for (const notice of made.notices) ports.terminal.err(`${withoutControls(notice)}\n`);
        printResult(ports, options.output, made, ({ certificatePem }) => certificatePem);
        return;
      }
      const files = await prepare(ports, name, options.out);
      const made = await ask(client, name, files.csrPem, options.for);
      await write(files.certificate, made.certificatePem, 0o644);
      await write(files.ca, made.caPem, 0o644);
      printResult(ports, options.output, { ...made, files: files.named }, (shown) => renderMade(shown));
    });
}

function ask(
  client: ApiClient,
  name: string,
  csrPem: string,
  forSeconds: number | undefined,
): Promise<RoleCertificateDocument> {
  return client.post<RoleCertificateDocument>(pathOf(name), {
    csrPem,
    ...(forSeconds === undefined ? {} : { forSeconds }),
  });
}

interface Named {
  readonly key: string;
  readonly certificate: string;
  readonly ca: string;
}

/** The key lies there before anything is asked for: what is signed then is never lost with its key. */
async function prepare(ports: CliPorts, name: string, directory: string) {
  // A role may be called `../x`.
  const base = name.replace(/[^A-Za-z0-9_-]/g, "_");
  const at = (file: string) => join(directory, file);
  const named: Named = { key: at(`${base}.key`), certificate: at(`${base}.crt`), ca: at("ca.crt") };
  try {
    await mkdir(directory, { recursive: true });
    const present = await readFile(named.key, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return null;
      throw error;
    });
    const { privateKeyPem, csrPem } = await ports.certificateRequest(name, present);
    if (present === null) await write(named.key, privateKeyPem, 0o600);
    return { ...named, named, csrPem };
  } catch (error) {
    throw new CliError(
      EXIT.usage,
      `${named.key} cannot be made or used: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** Whole or not at all; readable by others only from the moment on at which that is meant. */
async function write(path: string, text: string, mode: number): Promise<void> {
  const aside = `${path}.new`;
  const file = await open(aside, "w", mode);
  try {
    await file.chmod(mode);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(aside, path);
}

function renderMade({
  role,
  expiresAt,
  files,
  notices,
}: RoleCertificateDocument & { readonly files: Named }): string {
  const { key, certificate, ca } = files;
  return [
    `  certificate  ${certificate}, for the role ${role}, good until ${expiresAt}`,
    `  key          ${key}`,
    `  authority    ${ca}`,
    `  connect      sslmode=verify-full sslcert=${certificate} sslkey=${key} sslrootcert=${ca}`,
    ...notices.map((notice) => `  note         ${notice}`),
  ]
    .map((line) => `${withoutControls(line)}\n`)
    .join("");
}

function renderCertificates({ role, certificates }: RoleCertificatesDocument): string {
  if (certificates.length === 0) return withoutControls(`No certificate of ${role} is good.`).concat("\n");
  return renderTable(
    ["serial", "issued", "by", "good until"],
    certificates.map(({ serial, issuedAt, by, expiresAt }) => [
      serial,
      issuedAt,
      withoutControls(by),
      expiresAt,
    ]),
  );
}

function pathOf(name: string): string {
  return `/v1/access/roles/${encodeURIComponent(name)}/certificate`;
}

const SECONDS: Readonly<Record<string, number>> = { m: 60, h: 3600, d: 86_400 };

function seconds(text: string): number {
  const match = /^([0-9]{1,6})([mhd])$/.exec(text);
  const unit = SECONDS[match?.[2] ?? ""];
  if (match === null || unit === undefined)
    throw new InvalidArgumentError("A duration is wanted: 30m, 12h or 90d.");
  return Number(match[1]) * unit;
}
