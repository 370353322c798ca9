import { err, ok, type Result } from "../base/result.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port`; an IPv6 address stands in brackets, as in `[::1]:8009`. Port 0 is "any" and only good to listen on. */
export function parseAddress(text: string): Result<Address, string> {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) return err(`'${text}' is not an address (10.0.0.1:8009 is)`);
  return ok({ host, port });
}
