/** The silences after each failure as a picture, drawn by hand: readable on a light and on a dark page. */
import { median } from "../measured.ts";
import { COLUMNS, type FailoverReport, lostRows, type Sample, samplesOf, short } from "./report.ts";
import { MODES, type Mode } from "./rival.ts";
import { SCENARIO_TEXTS, SCENARIOS } from "./scenario.ts";

const WIDTH = 900;
const LEFT = 190;
const RIGHT = 210;
const TOP = 74;
const BOTTOM = 40;
const TITLE_HEIGHT = 24;
const ROW_HEIGHT = 17;
const GROUP_GAP = 12;
const RADIUS = 4.5;

interface Row {
  readonly title: string;
  readonly look: string;
  readonly marks: readonly { readonly mode: Mode; readonly samples: readonly Sample[] }[];
}

interface Group {
  readonly title: string;
  readonly rows: readonly Row[];
}

interface Scale {
  x(milliseconds: number): number;
  readonly ticks: readonly number[];
}

/** Tones in the middle: no page tells a picture whether it is light or dark itself. */
const STYLE_SHEET = `<style>
  text { font: 12px system-ui, sans-serif; fill: #768390; }
  .title { font-weight: 600; font-size: 14px; }
  .group { font-weight: 600; }
  .value { font-size: 11px; }
  .lost { font-size: 11px; font-weight: 600; fill: #d1242f; }
  .grid { stroke: #8885; stroke-width: 1; }
  .whisker { stroke-width: 2; }
  .async.whisker { stroke-dasharray: 3 2; }
  .async.dot { fill-opacity: 0.12; stroke-width: 2; }
  .bare { stroke: #8b949e; fill: #8b949e; } .guacamole { stroke: #2da44e; fill: #2da44e; }
  .patroni { stroke: #d2691e; fill: #d2691e; } .pg_auto_failover { stroke: #3f8cf7; fill: #3f8cf7; }
</style>`;

export function drawGaps(report: FailoverReport): string {
  const groups = groupsOf(report);
  const scale = scaleOf(
    groups.flatMap(({ rows }) => rows.flatMap(({ marks }) => marks.flatMap((each) => each.samples))),
  );
  const bodies: string[] = [];
  let top = TOP;
  for (const group of groups) {
    bodies.push(...drawGroup(group, top, scale));
    top += TITLE_HEIGHT + group.rows.length * ROW_HEIGHT + GROUP_GAP;
  }
  const height = top + BOTTOM;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Longest silence of writes after each failure, per manager">`,
    STYLE_SHEET,
    `<text class="title" x="16" y="24">Longest silence of writes after a failure (four writers, three hosts, logarithmic)</text>`,
    ...legend(),
    ...axis(scale, top),
    ...bodies,
    "</svg>",
  ].join("\n")}\n`;
}

function groupsOf(report: FailoverReport): readonly Group[] {
  return SCENARIOS.flatMap((scenario) => {
    const rows = COLUMNS.flatMap((column) => {
      const marks = MODES.flatMap((mode) => {
        const samples = samplesOf(report, column, mode, scenario);
        return samples.length === 0 ? [] : [{ mode, samples }];
      });
      return marks.length === 0 ? [] : [{ title: column.title, look: column.system, marks }];
    });
    return rows.length === 0 ? [] : [{ title: SCENARIO_TEXTS[scenario].title, rows }];
  });
}

function scaleOf(samples: readonly Sample[]): Scale {
  const gaps = samples.map(({ gapMs }) => gapMs);
  const least = Math.min(...gaps) / 1.3;
  const most = Math.max(...gaps) * 1.2;
  const ticks: number[] = [];
  for (let decade = 1; decade <= 1_000_000; decade *= 10) {
    for (const digit of [1, 2, 5]) {
      if (digit * decade >= least && digit * decade <= most) ticks.push(digit * decade);
    }
  }
  return {
    x: (milliseconds) =>
      LEFT + (Math.log(milliseconds / least) / Math.log(most / least)) * (WIDTH - LEFT - RIGHT),
    ticks,
  };
}

function drawGroup({ title, rows }: Group, top: number, scale: Scale): readonly string[] {
  return [
    `<text class="group" x="16" y="${top + 14}">${title}</text>`,
    ...rows.flatMap((row, index) => drawRow(row, top + TITLE_HEIGHT + (index + 0.5) * ROW_HEIGHT, scale)),
  ];
}

function drawRow({ title, look, marks }: Row, y: number, { x }: Scale): readonly string[] {
  // Side by side they would hide each other where they are equal.
  const shift = (mode: Mode): number => (marks.length === 1 ? 0 : mode === "sync" ? -3.5 : 3.5);
  const lost = marks.reduce((sum, { samples }) => sum + lostRows(samples), 0);
  const medians = marks.map(({ samples }) => short(median(samples.map(({ gapMs }) => gapMs)))).join(" / ");
  const remark = lost > 0 ? ` <tspan class="lost">${lost.toLocaleString("en-US")} lost</tspan>` : "";
  return [
    `<text x="${LEFT - 10}" y="${at(y + 4)}" text-anchor="end">${title}</text>`,
    ...marks.flatMap(({ mode, samples }) => {
      const gaps = samples.map(({ gapMs }) => gapMs);
      const height = at(y + shift(mode));
      const dot = mode === "sync" ? RADIUS : RADIUS - 1;
      return [
        `<line class="whisker ${mode} ${look}" x1="${at(x(Math.min(...gaps)))}" y1="${height}" x2="${at(x(Math.max(...gaps)))}" y2="${height}"/>`,
        `<circle class="dot ${mode} ${look}" cx="${at(x(median(gaps)))}" cy="${height}" r="${dot}"/>`,
      ];
    }),
    `<text class="value" x="${WIDTH - RIGHT + 8}" y="${at(y + 4)}">${medians}${remark}</text>`,
  ];
}

function legend(): readonly string[] {
  const y = 48;
  return [
    `<line class="whisker sync bare" x1="16" y1="${y - 4}" x2="56" y2="${y - 4}"/>`,
    `<circle class="dot sync bare" cx="34" cy="${y - 4}" r="${RADIUS}"/>`,
    `<text x="64" y="${y}">sync: median, least and most</text>`,
    `<line class="whisker async bare" x1="250" y1="${y - 4}" x2="290" y2="${y - 4}"/>`,
    `<circle class="dot async bare" cx="268" cy="${y - 4}" r="${RADIUS - 1}"/>`,
    `<text x="298" y="${y}">async</text>`,
    `<text class="value" x="${WIDTH - RIGHT + 8}" y="${y}">medians, sync / async</text>`,
  ];
}

function axis({ x, ticks }: Scale, bottom: number): readonly string[] {
  return [
    ...ticks.flatMap((value) => [
      `<line class="grid" x1="${at(x(value))}" y1="${TOP - 8}" x2="${at(x(value))}" y2="${bottom}"/>`,
      `<text x="${at(x(value))}" y="${bottom + 18}" text-anchor="middle">${value < 1_000 ? `${value} ms` : `${value / 1_000} s`}</text>`,
    ]),
  ];
}

function at(value: number): string {
  return value.toFixed(1);
}
