import Table from "cli-table3";

const PLAIN = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "  ",
};

/** A table without lines, so that `awk` reads it as people do. Ends in a line break; no blanks at the ends of lines. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const table = new Table({
    head: head.map((each) => each.toUpperCase()),
    chars: PLAIN,
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0, compact: true },
  });
  table.push(...rows.map((row) => row.map(withoutControls)));
  return `${table
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n")}\n`;
}

/** A column that may be left out where there is no room. */
export interface Column<Row> {
  readonly head: string;
  readonly text: (row: Row) => string;
  /** The highest goes first. Absent: it stays. */
  readonly leftOut?: number;
}

/**
 * A table no wider than `widthMax` where leaving columns out can make it so; what is left out is named below.
 *
 * @param widthMax in columns of the terminal. Null: as wide as it is, for files and programs.
 * @param where where all of it can be seen, as the end of a sentence.
 */
export function renderFitting<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  widthMax: number | null,
  where: string,
): string {
  let shown = columns;
  const render = () =>
    renderTable(
      shown.map(({ head }) => head),
      rows.map((row) => shown.map(({ text }) => text(row))),
    );
  let table = render();
  while (widthMax !== null && widthOf(table) > widthMax) {
    const [next] = shown
      .filter(({ leftOut }) => leftOut !== undefined)
      .toSorted((a, b) => (b.leftOut ?? 0) - (a.leftOut ?? 0));
    if (next === undefined) break;
    shown = shown.filter((column) => column !== next);
    table = render();
  }
  const missing = columns.filter((column) => !shown.includes(column)).map(({ head }) => head);
  if (missing.length === 0) return table;
  return `${table}\nLeft out for want of room: ${missing.join(", ")}.\nAll of it: ${where}.\n`;
}

function widthOf(table: string): number {
  return Math.max(...table.split("\n").map((line) => Bun.stringWidth(line)));
}

/** What a server sent must not move the cursor of the one who reads it. */
export function withoutControls(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it removes.
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, " ");
}
