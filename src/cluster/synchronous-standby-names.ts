const NOBODY = "(nobody)";

/**
 * The text of `synchronous_standby_names` for a cohort, as PostgreSQL takes it: `ANY 1 ("m2","m3")`. Empty for k = 0.
 *
 * Names are sorted, so that the same cohort always gives the same text and a difference is a difference.
 *
 * @see https://www.postgresql.org/docs/current/runtime-config-replication.html (`synchronous_standby_names`)
 */
export function renderSynchronousStandbyNames(k: number, names: readonly string[]): string {
  if (k === 0) return "";
  // PostgreSQL takes no empty list. No member can have this name, so commits wait.
  if (names.length === 0) return `ANY ${k} ("${NOBODY}")`;
  const quoted = [...names].sort().map((name) => `"${name.replaceAll('"', '""')}"`);
  return `ANY ${k} (${quoted.join(",")})`;
}
