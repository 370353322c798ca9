/**
 * Free TCP ports on loopback. Below 32768: a client that connects in a loop to a port of the ephemeral range can end up
 * connected to itself, and then it is in use.
 */
const LOWEST = 10_000;
const HIGHEST = 32_000;

/** @throws if no run of `count` free ports is found. */
export function freePorts(count: number, integer: (min: number, max: number) => number): readonly number[] {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const first = integer(LOWEST, HIGHEST - count);
    const ports = Array.from({ length: count }, (_, index) => first + index);
    if (ports.every(isFree)) return ports;
  }
  throw new Error(`no ${count} free ports between ${LOWEST} and ${HIGHEST} on 127.0.0.1`);
}

function isFree(port: number): boolean {
  try {
    Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }).stop(true);
    return true;
  } catch {
    // In use: exactly what was asked.
    return false;
  }
}
