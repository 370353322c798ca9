/** Put before a member's command, it runs ahead of PostgreSQL, as by the README's unit (`Nice=-10`). Needs root. */
export const UNIT_PRIORITY: readonly string[] = ["nice", "-n", "-10"];
