import type { ServerLimits } from "../cluster/observation.ts";
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

/**
 * What waits for a start; and of the limits that a standby shares with its primary (names in `$1`, as a JSON list), what the
 * server runs with and what its files say. The files are read only where one of them waits.
 */
export const PENDING_QUERY = `
  SELECT
    (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pg_settings WHERE pending_restart) AS names,
    (SELECT json_object_agg(s.name, json_build_object('running', s.setting::bigint, 'wanted', CASE
        WHEN NOT s.pending_restart THEN s.setting
        ELSE coalesce((SELECT substring(f.setting from '^[0-9]+$') FROM pg_file_settings f
          WHERE lower(f.name) = s.name ORDER BY f.seqno DESC LIMIT 1), s.boot_val)
      END::bigint))
      FROM pg_settings s WHERE s.name IN (SELECT json_array_elements_text($1::text::json))) AS limits`;

/** One row of `PENDING_QUERY`. */
export interface PendingRow {
  readonly names: readonly string[];
  readonly limits: ServerLimits;
}
