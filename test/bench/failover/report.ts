/** What was found, and how people read it. */
import { median, percentile } from "../measured.ts";
import { type Entrant, nameOf } from "./effort.ts";
import { MODES, type Mode, type System, type Tuning } from "./rival.ts";
import { SCENARIO_TEXTS, SCENARIOS, type Scenario } from "./scenario.ts";
import type { Trial } from "./trial.ts";

/** What else is the case: `plain` is a small database and four writers. */
export const CONDITIONS = ["plain", "before", "200 idle clients", "2 GB database", "10 GB database"] as const;
export type Condition = (typeof CONDITIONS)[number];

export interface Sample extends Trial {
  readonly system: System;
  readonly tuning: Tuning;
  readonly mode: Mode;
  readonly scenario: Scenario;
  readonly condition: Condition;
  /** Of the machine's last minute. */
  readonly load: number;
}

export interface BringUp {
  readonly system: System;
  readonly tuning: Tuning;
  readonly mode: Mode;
  readonly atWallMs: number;
  readonly tookMs: number;
}

export interface Described {
  readonly system: System;
  readonly tuning: Tuning;
  readonly mode: Mode;
  readonly version: string;
  readonly settings: string;
}

export interface FailoverReport {
  readonly place: string;
  readonly described: readonly Described[];
  readonly bringUps: readonly BringUp[];
  readonly samples: readonly Sample[];
}

/** In tables and pictures, from left to right and from top to bottom. */
export const COLUMNS: readonly (Entrant & { readonly title: string })[] = [
  { system: "bare", tuning: "default", title: "bare PostgreSQL" },
  { system: "guacamole", tuning: "default", title: "guacamole" },
  { system: "patroni", tuning: "tight", title: "Patroni, tight" },
  { system: "patroni", tuning: "default", title: "Patroni, default" },
  { system: "pg_auto_failover", tuning: "tight", title: "pg_auto_failover, tight" },
  { system: "pg_auto_failover", tuning: "default", title: "pg_auto_failover, default" },
];

const NONE = "–";

export function samplesOf(
  { samples }: Pick<FailoverReport, "samples">,
  entrant: Entrant,
  mode: Mode,
  scenario: Scenario,
  condition: Condition = "plain",
): readonly Sample[] {
  return samples.filter(
    (sample) =>
      nameOf(sample) === nameOf(entrant) &&
      sample.mode === mode &&
      sample.scenario === scenario &&
      sample.condition === condition,
  );
}

export function lostRows(samples: readonly Sample[]): number {
  return samples.reduce((sum, { lost }) => sum + lost, 0);
}

/** For the README and for the terminal alike: Markdown. */
export function markdown(report: FailoverReport): string {
  const columns = COLUMNS.filter((column) => report.samples.some((each) => nameOf(each) === nameOf(column)));
  const parts = [
    gapTable(report, columns),
    wholeTable(report, columns),
    independenceTable(report),
    bringUpLine(report, columns),
    lossLine(report),
    settingsLines(report),
  ];
  return parts.filter((part) => part !== "").join("\n\n");
}

type Columns = typeof COLUMNS;

function gapTable(report: FailoverReport, columns: Columns): string {
  const managers = columns.filter(({ system }) => system !== "bare");
  const rows = eachRow(report, columns, (scenario, mode) => {
    const floor = report.samples.filter(
      (each) => each.system === "bare" && each.scenario === scenario && each.mode === mode,
    );
    const floorMs = median(floor.map(({ gapMs }) => gapMs));
    return [
      floor.length === 0 ? NONE : `${short(floorMs)}, n ${floor.length}`,
      ...managers.map((column) => gapCell(samplesOf(report, column, mode, scenario), floorMs)),
    ];
  });
  return table(
    [
      "longest silence of writes: median (p99), × floor",
      "bare PostgreSQL, the floor",
      ...managers.map(({ title }) => title),
    ],
    rows,
  );
}

function gapCell(samples: readonly Sample[], floorMs: number): string {
  if (samples.length === 0) return NONE;
  const gaps = samples.map(({ gapMs }) => gapMs);
  const middleMs = median(gaps);
  const ratio = Number.isFinite(floorMs) ? `, ×${ratioText(middleMs / floorMs)}` : "";
  const spread = samples.length === 1 ? "" : ` (${short(percentile(gaps, 0.99))})`;
  const lost = lostRows(samples);
  const failed = samples.filter(({ problem }) => problem !== null).length;
  const remarks = [
    ...(lost > 0 ? [`**${lost.toLocaleString("en-US")} rows lost**`] : []),
    ...(failed > 0 ? [`**${failed} not mended**`] : []),
  ];
  return [`${short(middleMs)}${spread}${ratio}, n ${samples.length}`, ...remarks].join(", ");
}

function wholeTable(report: FailoverReport, columns: Columns): string {
  const managers = columns.filter(({ system }) => system !== "bare");
  const rows = eachRow(report, managers, (scenario, mode) =>
    managers.map((column) => {
      const times = samplesOf(report, column, mode, scenario).flatMap(({ wholeMs }) =>
        wholeMs === null ? [] : [wholeMs],
      );
      if (times.length === 0) return NONE;
      return times.length === 1
        ? short(median(times))
        : `${short(median(times))} (${short(Math.max(...times))})`;
    }),
  );
  return table(["three stream again after: median (longest)", ...managers.map(({ title }) => title)], rows);
}

/** A row for each scenario and mode of which there is anything. */
function eachRow(
  report: FailoverReport,
  columns: Columns,
  cells: (scenario: Scenario, mode: Mode) => readonly string[],
): readonly (readonly string[])[] {
  return SCENARIOS.flatMap((scenario) =>
    MODES.flatMap((mode) => {
      const isSeen = columns.some((column) => samplesOf(report, column, mode, scenario).length > 0);
      return isSeen ? [[`${SCENARIO_TEXTS[scenario].title}, ${mode}`, ...cells(scenario, mode)]] : [];
    }),
  );
}

function independenceTable(report: FailoverReport): string {
  const ours = report.samples.filter(
    ({ system, condition }) => system === "guacamole" && condition !== "plain",
  );
  const conditions = CONDITIONS.filter((condition) => ours.some((each) => each.condition === condition));
  if (ours.length === 0) return "";
  const rows = SCENARIOS.filter((scenario) => ours.some((each) => each.scenario === scenario)).map(
    (scenario) => [
      `${SCENARIO_TEXTS[scenario].title}, sync`,
      ...conditions.map((condition) => {
        const found = ours.filter((each) => each.scenario === scenario && each.condition === condition);
        if (found.length === 0) return NONE;
        const gap = median(found.map(({ gapMs }) => gapMs));
        const whole = median(found.flatMap(({ wholeMs }) => (wholeMs === null ? [] : [wholeMs])));
        return `${short(gap)}, whole after ${short(whole)}, n ${found.length}`;
      }),
    ],
  );
  const heads = conditions.map((condition) => (condition === "before" ? "small, four writers" : condition));
  return table(["guacamole, medians", ...heads], rows);
}

function bringUpLine(report: FailoverReport, columns: Columns): string {
  const found = columns.flatMap((column) => {
    const times = report.bringUps
      .filter((each) => nameOf(each) === nameOf(column))
      .map(({ tookMs }) => tookMs);
    return times.length === 0 ? [] : [`${column.title} ${short(median(times))}`];
  });
  return found.length === 0 ? "" : `From nothing to three that stream (medians): ${found.join(", ")}.`;
}

function lossLine({ samples }: FailoverReport): string {
  const ours = samples.filter(({ system }) => system === "guacamole");
  const sum = ours.reduce((total, { acknowledged }) => total + acknowledged, 0);
  const lost = (["sync", "async"] as const).flatMap((mode) => {
    const measured = ours.filter((each) => each.mode === mode);
    return measured.length === 0 ? [] : [`${lostRows(measured)} in ${mode} mode`];
  });
  if (ours.length === 0) return "";
  return `Of ${sum.toLocaleString("en-US")} rows that guacamole's servers acknowledged around ${ours.length} failures, lost: ${lost.join(", ")}.`;
}

function settingsLines({ described }: FailoverReport): string {
  return COLUMNS.flatMap((column) => {
    const own = described.filter((each) => nameOf(each) === nameOf(column));
    const [first] = own;
    if (first === undefined) return [];
    const settings = own.map(({ mode, settings: text }) => `${mode}: ${text}`);
    return [`- ${column.title}: ${first.version}; ${[...new Set(settings)].join("; ")}`];
  }).join("\n");
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}

/** Of a duration: milliseconds below ten seconds. */
export function short(durationMs: number): string {
  if (!Number.isFinite(durationMs)) return NONE;
  if (durationMs < 1_000) return `${Math.round(durationMs)} ms`;
  return `${(durationMs / 1000).toFixed(durationMs < 9_950 ? 2 : 1)} s`;
}

function ratioText(ratio: number): string {
  return ratio < 10 ? ratio.toFixed(1) : Math.round(ratio).toLocaleString("en-US");
}
