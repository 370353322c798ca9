import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";

/** Where to ask: a Unix socket, or an HTTPS address with the CA to trust. */
export type Target =
  | { readonly kind: "unix"; readonly path: string }
  | {
      readonly kind: "https";
      readonly origin: string;
      readonly caPem: string | null;
      /** PEM: the certificate that is shown where one is asked for. Absent: none. */
      readonly shown?: { readonly cert: string; readonly key: string };
    };

export interface Connection {
  /** Tried in turn. Never empty. */
  readonly targets: readonly Target[];
  readonly token: string | null;
  /** Why something is changed (GUACAMOLE_REASON). Absent: nobody says. */
  readonly reason?: string;
}

export interface ConnectionOptions {
  readonly endpoint?: readonly string[] | undefined;
  readonly token?: string | undefined;
  readonly ca?: string | undefined;
  readonly clientCert?: string | undefined;
  readonly clientKey?: string | undefined;
  readonly socket?: string | undefined;
  readonly config?: string | undefined;
}

const USUAL_SOCKETS = ["/run/guacamole/api.sock", "/var/lib/guacamole/api.sock"] as const;

/**
 * Finds out whom to ask: `--endpoint` if given, otherwise a socket on this host.
 *
 * @throws {CliError} for an endpoint, a CA file or a configuration that cannot be used.
 */
export async function resolveConnection(ports: CliPorts, options: ConnectionOptions): Promise<Connection> {
  const { env } = ports;
  const token = options.token ?? env["GUACAMOLE_TOKEN"] ?? null;
  const said = env["GUACAMOLE_REASON"]?.trim() ?? "";
  const asked = { token, ...(said === "" ? {} : { reason: said }) };
  const isSocketMeant = options.socket !== undefined || options.config !== undefined;
  const fromEnv = isSocketMeant
    ? []
    : (env["GUACAMOLE_ENDPOINT"] ?? "").split(",").filter((each) => each.trim() !== "");
  const endpoints = options.endpoint ?? fromEnv;
  if (endpoints.length > 0) {
    const caPath = options.ca ?? env["GUACAMOLE_CA"];
    const caPem = caPath === undefined ? null : await readPem("the CA's certificate", caPath);
    const shown = await clientCertificate(
      options.clientCert ?? env["GUACAMOLE_CLIENT_CERTIFICATE"],
      options.clientKey ?? env["GUACAMOLE_CLIENT_KEY"],
    );
    return {
      ...asked,
      targets: endpoints.map((each) => ({
        kind: "https",
        origin: parseEndpoint(each.trim()),
        caPem,
        ...(shown === null ? {} : { shown }),
      })),
    };
  }
  return { ...asked, targets: [{ kind: "unix", path: await findSocket(ports, options) }] };
}

async function findSocket(ports: CliPorts, options: ConnectionOptions): Promise<string> {
  if (options.socket !== undefined) return options.socket;
  if (options.config !== undefined) {
    const path = await ports.socketPathOf(options.config);
    if (!path.ok) throw new CliError(EXIT.usage, path.error);
    return path.value;
  }
  const fromEnv = ports.env["GUACAMOLE_SOCKET"];
  if (fromEnv !== undefined && fromEnv !== "") return fromEnv;
  const [first] = USUAL_SOCKETS;
  return USUAL_SOCKETS.find((path) => existsSync(path)) ?? first;
}

/** Null: none is shown. */
async function clientCertificate(
  certificateFile: string | undefined,
  keyFile: string | undefined,
): Promise<{ readonly cert: string; readonly key: string } | null> {
  if (certificateFile === undefined && keyFile === undefined) return null;
  if (certificateFile === undefined || keyFile === undefined)
    throw new CliError(EXIT.usage, "--client-cert and --client-key are given together");
  return {
    cert: await readPem("the client's certificate", certificateFile),
    key: await readPem("the client's key", keyFile),
  };
}

async function readPem(what: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new CliError(
      EXIT.usage,
      `cannot read ${what}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** `host:port`, `host` (port 8008) or `https://host:port`. Never `http`: the token would be readable on the way. */
export function parseEndpoint(text: string): string {
  const withScheme = text.includes("://") ? text : `https://${text}`;
  const bad = () =>
    new CliError(EXIT.usage, `'${text}' is not an endpoint: 10.0.0.1:8008 and https://m1.example:8008 are`);
  if (!URL.canParse(withScheme)) throw bad();
  const url = new URL(withScheme);
  if (url.protocol !== "https:" || url.pathname !== "/" || url.search !== "" || url.username !== "")
    throw bad();
  const isPortGiven = /:[0-9]+\/?$/.test(withScheme);
  return `https://${url.hostname}:${isPortGiven ? url.port || "443" : "8008"}`;
}

/** For messages. */
export function targetName(target: Target): string {
  return target.kind === "unix" ? target.path : target.origin;
}
