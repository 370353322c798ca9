/** Compiled in by `make build`; a run from the sources has neither. */
declare const GUACAMOLE_VERSION: string | undefined;
declare const GUACAMOLE_COMMIT: string | undefined;

export const VERSION = typeof GUACAMOLE_VERSION === "string" ? GUACAMOLE_VERSION : "0.0.0-source";
export const COMMIT = typeof GUACAMOLE_COMMIT === "string" ? GUACAMOLE_COMMIT : "unknown";
