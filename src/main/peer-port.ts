/** Whether the peer port can be had, asked before anything is written that would make this host a member. */

/** @returns why it cannot be had, for people, or null. */
export function whyNoPeerPort({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): string | null {
  try {
    Bun.listen({ hostname: host, port, socket: { data: () => undefined } }).stop(true);
    return null;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (code === "EADDRINUSE")
      return `Port ${port} on ${host}, where the other members shall reach this one, is in use.`;
    const why = error instanceof Error ? error.message : String(error);
    return `This member cannot listen for the others on ${host}, port ${port}: ${why}.`;
  }
}
