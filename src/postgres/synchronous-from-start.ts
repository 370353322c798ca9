/** The first releases in which no session commits without its synchronous standbys before the checkpointer has started. */
const FIXED_MINORS: Readonly<Record<number, number>> = { 15: 13, 16: 9, 17: 5 };

/**
 * Whether a server of this version (`15.18`) that is started as a primary waits for its synchronous standbys from its very
 * first commit on. Before, a session could commit alone until the checkpointer had published the setting.
 *
 * @see https://www.postgresql.org/docs/release/17.5/ (race condition in handling of synchronous_standby_names after startup)
 */
export function waitsFromItsStart(version: string): boolean {
  const match = /^(\d+)(?:\.(\d+))?/.exec(version);
  if (match === null) return false;
  const [major, minor] = [Number(match[1]), Number(match[2] ?? 0)];
  const fixed = FIXED_MINORS[major];
  return fixed === undefined ? major >= 18 : minor >= fixed;
}
