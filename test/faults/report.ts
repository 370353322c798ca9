/** What all faults did, in one table: medians and the worst where there were several rounds. */

import type { Outcome } from "./suite.ts";

export function outcomeTable(outcomes: readonly Outcome[]): string {
  const names = [...new Set(outcomes.map(({ fault }) => fault))];
  const rows = names.map((name) => {
    const rounds = outcomes.filter(({ fault }) => fault === name);
    const failed = rounds.filter(({ broken }) => broken.length > 0).length;
    return [
      name,
      `${rounds.length - failed} of ${rounds.length}`,
      `${rounds.filter(({ hasMoved }) => hasMoved).length}`,
      spread(rounds.map(({ writableMs }) => writableMs)),
      spread(rounds.map(({ silenceMs }) => silenceMs)),
      spread(rounds.map(({ wholeAfterMs }) => wholeAfterMs)),
    ];
  });
  const head = ["fault", "passed", "reigns ended", "writable after", "longest silence", "whole, once mended"];
  const acknowledged = outcomes.reduce((sum, outcome) => sum + outcome.acknowledged, 0);
  const failed = outcomes.filter(({ broken }) => broken.length > 0);
  return [
    "",
    `| ${head.join(" | ")} |`,
    `|${" --- |".repeat(head.length)}`,
    ...rows.map((row) => `| ${row.join(" | ")} |`),
    "",
    ...failed.map(({ fault, seed, broken }) => `FAILED  ${fault} (SEED=${seed}): ${broken.join("; ")}`),
    `faults: ${outcomes.length - failed.length} passed, ${failed.length} failed; ${acknowledged} rows acknowledged`,
  ].join("\n");
}

function spread(values: readonly (number | null)[]): string {
  const known = values.filter((value) => value !== null).toSorted((one, other) => one - other);
  const [least] = known;
  if (least === undefined) return "–";
  const median = known[Math.floor((known.length - 1) / 2)];
  const most = known.at(-1);
  return least === most ? `${median} ms` : `${median} ms (${least}–${most})`;
}
