import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { writeDurably } from "./durable-file.ts";

/**
 * `postgresql.auto.conf` (ALTER SYSTEM) is read after every other file, and there is no way around it: so what guacamole
 * owns is taken out of it. Everything else in it stays.
 */
export function withoutOwnedSettings(text: string, owned: ReadonlySet<string>): string {
  return text
    .split("\n")
    .filter((line) => {
      const name = settingOf(line);
      return name === null || !owned.has(name);
    })
    .join("\n");
}

/** Which settings such a file says, of those that are `owned`. */
export function ownedSettingsIn(text: string, owned: ReadonlySet<string>): readonly string[] {
  const names = text.split("\n").flatMap((line) => settingOf(line) ?? []);
  return [...new Set(names.filter((name) => owned.has(name)))];
}

function settingOf(line: string): string | null {
  return /^\s*([A-Za-z_][A-Za-z0-9_.$]*)/.exec(line)?.[1]?.toLowerCase() ?? null;
}

/**
 * Takes `owned` out of the data directory's `postgresql.auto.conf`; does not write if there is nothing to take out.
 *
 * @returns the names that were in it.
 */
export function cleanAutoConf(dataDirectory: string, owned: ReadonlySet<string>): readonly string[] {
  const file = autoConfOf(dataDirectory);
  if (!existsSync(file)) return [];
  const text = readFileSync(file, "utf8");
  const found = ownedSettingsIn(text, owned);
  if (found.length > 0) writeDurably(file, withoutOwnedSettings(text, owned), statSync(file).mode & 0o777);
  return found;
}

/** Sees whether ALTER SYSTEM has said anything of what is owned, and reads the file only when it changed. */
export class AutoConfWatch {
  #seen: { readonly key: string; readonly isClean: boolean } | null = null;

  isClean(dataDirectory: string, owned: ReadonlySet<string>): boolean {
    const file = autoConfOf(dataDirectory);
    const stat = statSync(file, { throwIfNoEntry: false });
    if (stat === undefined) return true;
    const key = `${stat.ino} ${stat.mtimeMs} ${stat.size} ${[...owned].join()}`;
    if (this.#seen?.key !== key) {
      const isClean = ownedSettingsIn(readFileSync(file, "utf8"), owned).length === 0;
      this.#seen = { key, isClean };
    }
    return this.#seen.isClean;
  }
}

function autoConfOf(dataDirectory: string): string {
  return join(dataDirectory, "postgresql.auto.conf");
}
