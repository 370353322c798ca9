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
      const name = /^\s*([A-Za-z_][A-Za-z0-9_.]*)/.exec(line)?.[1];
      return name === undefined || !owned.has(name.toLowerCase());
    })
    .join("\n");
}

/** Takes `owned` out of the data directory's `postgresql.auto.conf`; does not write if there is nothing to take out. */
export function cleanAutoConf(dataDirectory: string, owned: ReadonlySet<string>): void {
  const file = join(dataDirectory, "postgresql.auto.conf");
  if (!existsSync(file)) return;
  const text = readFileSync(file, "utf8");
  const cleaned = withoutOwnedSettings(text, owned);
  if (cleaned !== text) writeDurably(file, cleaned, statSync(file).mode & 0o777);
}
