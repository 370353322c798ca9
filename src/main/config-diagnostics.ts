/** Helps to find a mistake in a configuration: the line of a key, and the key that was probably meant. */

/** Where `section.key` (or a key of no section, or a section) stands in a TOML text, from 1; null if it is not found. */
export function findKeyLine(text: string, key: string): number | null {
  const [first = "", second] = key.split(".");
  let section = "";
  for (const [index, line] of text.split("\n").entries()) {
    const header = /^\s*\[+\s*"?([^\]"]+?)"?\s*\]+/.exec(line)?.[1];
    if (header !== undefined) {
      section = header;
      if (header === key) return index + 1;
      continue;
    }
    const name = /^\s*"?([A-Za-z0-9_.-]+)"?\s*=/.exec(line)?.[1];
    if (name === undefined) continue;
    const full = section === "" ? name : `${section}.${name}`;
    if (full === key || (second !== undefined && section === "" && name === first)) return index + 1;
  }
  return null;
}

/** The candidate that differs least, if it differs by a slip of the finger or two; null if none is close. */
export function nearest(word: string, candidates: readonly string[]): string | null {
  const tail = word.split(".").at(-1) ?? word;
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(word.length / 4)) + 1;
  for (const candidate of candidates) {
    // A right key in a wrong section is close as well.
    const sameTail = candidate.split(".").at(-1) === tail ? 1 : Number.POSITIVE_INFINITY;
    const distance = Math.min(editDistance(word, candidate), sameTail);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein's: how many letters must be put in, taken out or changed. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      const changed = (row[j] ?? 0) + Number(letter !== other);
      next.push(Math.min(changed, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
