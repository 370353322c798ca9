/** Where a syslog daemon listens, as the host's file says it. */
import { parseHostPort } from "./host-port.ts";

export type SyslogTarget =
  /** A datagram socket of this host. */
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "udp" | "tcp" | "tls"; readonly host: string; readonly port: number };

export interface SyslogConfig {
  readonly target: SyslogTarget;
  /** As the protocol numbers it. */
  readonly facility: number;
  /** PEM of the authority that signed what a `tls` daemon shows. Null: one that this program's runtime trusts. */
  readonly caFile: string | null;
}

/** RFC 5424, table 1: those that are for programs. */
export const FACILITIES: Readonly<Record<string, number>> = {
  user: 1,
  daemon: 3,
  auth: 4,
  authpriv: 10,
  audit: 13,
  ...Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`local${index}`, 16 + index])),
};

/** As registered: RFC 5426, RFC 6587, RFC 5425. */
const PORTS = { udp: 514, tcp: 601, tls: 6514 } as const;

/** `unix:/dev/log`, `udp://10.0.0.9:514`, `tcp://log.example:601`, `tls://log.example`; null for anything else. */
export function parseSyslogTarget(text: string): SyslogTarget | null {
  const unix = /^unix:(\/[^\0]{1,106})$/.exec(text)?.[1];
  if (unix !== undefined) return { kind: "unix", path: unix };
  const [, kind, rest = ""] = /^(udp|tcp|tls):\/\/(.+)$/.exec(text) ?? [];
  if (kind !== "udp" && kind !== "tcp" && kind !== "tls") return null;
  const at = parseHostPort(rest) ?? parseHostPort(`${rest}:${PORTS[kind]}`);
  return at === null ? null : { kind, ...at };
}

/** As the host's file says it. */
export function syslogTargetName(target: SyslogTarget): string {
  if (target.kind === "unix") return `unix:${target.path}`;
  const host = target.host.includes(":") ? `[${target.host}]` : target.host;
  return `${target.kind}://${host}:${target.port}`;
}
