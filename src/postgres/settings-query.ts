import type { ServerSettings } from "../cluster/server-settings.ts";

/**
 * What a server says of its parameters: those in `$1` (names in lower case, as a JSON list; null: all), and whatever is not as
 * PostgreSQL has it by itself. What this session has set for itself is read as it was before.
 *
 * @see https://www.postgresql.org/docs/current/view-pg-settings.html
 */
export const SETTINGS_QUERY = `
  WITH asked AS MATERIALIZED (
    SELECT $1::text IS NULL AS is_all,
      coalesce((SELECT array_agg(name) FROM json_array_elements_text($1::text::json) AS name), '{}') AS names
  )
  SELECT
    (SELECT coalesce(json_agg(json_build_object(
        'name', name, 'setting', coalesce(CASE source WHEN 'session' THEN reset_val ELSE setting END, ''), 'unit', unit, 'type', vartype, 'context', context,
        'min', min_val, 'max', max_val, 'choices', enumvals, 'source', source, 'sourceFile', sourcefile,
        'pendingRestart', pending_restart, 'description', coalesce(short_desc, '')) ORDER BY lower(name)), '[]')
      FROM pg_settings, asked
      WHERE is_all OR lower(name) = ANY (names) OR pending_restart
        OR source NOT IN ('default', 'override', 'client', 'session')) AS settings,
    (SELECT coalesce(json_agg(DISTINCT lower(split_part(name, '.', 1))), '[]')
      FROM pg_settings WHERE name LIKE '%.%') AS prefixes,
    (SELECT coalesce(json_agg(json_build_object(
        'file', sourcefile, 'line', sourceline, 'name', name, 'error', error) ORDER BY seqno), '[]')
      FROM pg_file_settings
      WHERE error IS NOT NULL AND error <> 'setting could not be applied') AS file_errors`;

/** One row of `SETTINGS_QUERY`. */
export interface SettingsRow {
  readonly settings: ServerSettings["settings"];
  readonly prefixes: readonly string[];
  readonly file_errors: ServerSettings["fileErrors"];
}

/** What waits for a start. */
export const PENDING_QUERY =
  "SELECT coalesce(json_agg(name ORDER BY name), '[]') AS names FROM pg_settings WHERE pending_restart";
