import { hostname, networkInterfaces } from "node:os";
import type { HostFacts } from "./config.ts";

/** What this host says of itself: its name, and the first address that others may reach (IPv4 before IPv6). */
export function hostFacts(): HostFacts {
  const addresses = Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    // A link-local address is good on one cable only.
    .filter(({ internal, address }) => !internal && !/^(fe80|169\.254)/i.test(address));
  const first = addresses.find(({ family }) => family === "IPv4") ?? addresses[0];
  return { hostName: hostname(), firstAddress: first?.address ?? null };
}
