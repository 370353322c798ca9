/** Latency over load as a picture, drawn by hand: readable on a light and on a dark page. */
import type { Seen } from "./closed-loop.ts";
import { type ConsensusReport, type Subject, series } from "./report.ts";

const WIDTH = 760;
const HEIGHT = 420;
const LEFT = 62;
const RIGHT = 20;
const TOP = 64;
const BOTTOM = 52;

interface Style {
  readonly subject: Subject;
  readonly name: string;
}

const STYLES: readonly Style[] = [
  { subject: "etcd", name: "etcd" },
  { subject: "inside", name: "guacamole, inside a member" },
  { subject: "api", name: "guacamole, HTTPS API" },
];

/** Both axes are logarithmic: clients are multiplied, too. */
interface Scale {
  x(perSecond: number): number;
  y(milliseconds: number): number;
  readonly xTicks: readonly number[];
  readonly yTicks: readonly number[];
}

export function drawLatencyOverLoad(report: ConsensusReport): string {
  const lines = STYLES.map((style) => ({ ...style, points: series(report, style.subject, "write") })).filter(
    ({ points }) => points.length > 0,
  );
  const scale = scaleOf(lines.flatMap(({ points }) => points));
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="Latency of writes over their number per second, p50 and p99">`,
    STYLE_SHEET,
    `<text class="title" x="${LEFT}" y="22">Latency of a write over writes per second (256 bytes, three members, one machine)</text>`,
    ...legend(lines),
    ...axes(scale),
    ...lines.flatMap(({ subject, points }) => [
      ...curve(subject, "p50", points, scale),
      ...curve(subject, "p99", points, scale),
      ...clientLabels(subject, points, scale),
    ]),
    "</svg>",
  ].join("\n")}\n`;
}

/** Tones in the middle: no page tells a picture whether it is light or dark itself. */
const STYLE_SHEET = `<style>
  text { font: 12px system-ui, sans-serif; fill: #768390; }
  .title { font-weight: 600; font-size: 14px; }
  .grid { stroke: #8885; stroke-width: 1; }
  .p50, .p99 { fill: none; stroke-width: 2.5; stroke-linejoin: round; }
  .p99 { stroke-dasharray: 5 4; stroke-width: 1.75; }
  .clients { font-size: 10px; }
  .etcd { stroke: #d2691e; } .inside { stroke: #2da44e; } .api { stroke: #3f8cf7; }
  circle.etcd { fill: #d2691e; } circle.inside { fill: #2da44e; } circle.api { fill: #3f8cf7; }
</style>`;

function scaleOf(points: readonly Seen[]): Scale {
  const rates = points.map(({ perSecond }) => perSecond);
  const xMin = Math.min(...rates) / 1.3;
  const xMax = Math.max(...rates) * 1.3;
  const yMin = Math.min(...points.map(({ p50Ms }) => p50Ms)) / 1.5;
  const yMax = Math.max(...points.map(({ p99Ms }) => p99Ms)) * 1.3;
  const place = (value: number, min: number, max: number): number =>
    Math.log(value / min) / Math.log(max / min);
  return {
    x: (perSecond) => LEFT + place(perSecond, xMin, xMax) * (WIDTH - LEFT - RIGHT),
    y: (milliseconds) => HEIGHT - BOTTOM - place(milliseconds, yMin, yMax) * (HEIGHT - TOP - BOTTOM),
    xTicks: ticks(xMin, xMax),
    yTicks: ticks(yMin, yMax),
  };
}

/** 1, 2 and 5 of each decade. */
function ticks(min: number, max: number): readonly number[] {
  const found: number[] = [];
  for (let decade = Math.floor(Math.log10(min)); decade <= Math.log10(max); decade += 1) {
    for (const digit of [1, 2, 5]) {
      const value = digit * 10 ** decade;
      if (value >= min && value <= max) found.push(value);
    }
  }
  return found;
}

function axes({ x, y, xTicks, yTicks }: Scale): readonly string[] {
  const bottom = HEIGHT - BOTTOM;
  return [
    ...xTicks.flatMap((value) => [
      `<line class="grid" x1="${at(x(value))}" y1="${TOP}" x2="${at(x(value))}" y2="${bottom}"/>`,
      `<text x="${at(x(value))}" y="${bottom + 18}" text-anchor="middle">${value.toLocaleString("en-US")}</text>`,
    ]),
    ...yTicks.flatMap((value) => [
      `<line class="grid" x1="${LEFT}" y1="${at(y(value))}" x2="${WIDTH - RIGHT}" y2="${at(y(value))}"/>`,
      `<text x="${LEFT - 8}" y="${at(y(value) + 4)}" text-anchor="end">${rounded(value)} ms</text>`,
    ]),
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 10}" text-anchor="middle">writes per second (small figures: clients)</text>`,
  ];
}

function legend(lines: readonly Style[]): readonly string[] {
  let x = LEFT;
  const entries = lines.flatMap(({ subject, name }) => {
    const begin = x;
    x += 42 + name.length * 6.6;
    return [
      `<line class="p50 ${subject}" x1="${begin}" y1="42" x2="${begin + 24}" y2="42"/>`,
      `<text x="${begin + 30}" y="46">${name}</text>`,
    ];
  });
  return [...entries, `<text x="${WIDTH - RIGHT}" y="46" text-anchor="end">solid p50, dashed p99</text>`];
}

function curve(
  subject: Subject,
  which: "p50" | "p99",
  points: readonly Seen[],
  { x, y }: Scale,
): readonly string[] {
  const value = (seen: Seen): number => (which === "p50" ? seen.p50Ms : seen.p99Ms);
  const corners = points.map((seen) => `${at(x(seen.perSecond))},${at(y(value(seen)))}`);
  return [
    `<polyline class="${which} ${subject}" points="${corners.join(" ")}"/>`,
    ...points.map(
      (seen) =>
        `<circle class="${subject}" cx="${at(x(seen.perSecond))}" cy="${at(y(value(seen)))}" r="${which === "p50" ? 3.5 : 2}"/>`,
    ),
  ];
}

function clientLabels(subject: Subject, points: readonly Seen[], { x, y }: Scale): readonly string[] {
  const below = subject === "inside" ? 16 : -8;
  return points.map(
    ({ clients, perSecond, p50Ms }) =>
      `<text class="clients" x="${at(x(perSecond))}" y="${at(y(p50Ms) + below)}" text-anchor="middle">${clients}</text>`,
  );
}

function at(value: number): string {
  return value.toFixed(1);
}

function rounded(value: number): string {
  return String(Number(value.toPrecision(2)));
}
