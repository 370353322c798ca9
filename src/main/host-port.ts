/** Addresses as people write them. */

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** `10.0.0.1:8008`, `m1.example:8008`, `[::1]:8008`; null for anything else. */
export function parseHostPort(text: string): HostPort | null {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)):([0-9]{1,5})$/.exec(
    text,
  );
  const port = Number(match?.[4]);
  if (match === null || port < 1 || port > 65_535) return null;
  return { host: match[1] ?? match[2] ?? "", port };
}

/** The inverse of `parseHostPort`. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
