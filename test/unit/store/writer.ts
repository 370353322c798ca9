/** Appends and applies entries as fast as it can, and says after each commit which index is durable. To be killed. */
import { writeSync } from "node:fs";
import type { LogIndex } from "../../../src/base/ids.ts";
import { commandEntry, openStore, tokenCommand, write } from "./sample.ts";

const store = openStore(process.argv[2] ?? "");
const { hard, last } = store.load();
for (let index = last.index + 1; ; index += 1) {
  const added = commandEntry(index, hard.term, tokenCommand(`c${index}`));
  write(store, { entries: [added], hard: { ...hard, commit: index as LogIndex }, committed: [added] });
  writeSync(1, `${index}\n`);
}
