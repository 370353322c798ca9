import type { FailoverDocument } from "../api/documents.ts";
import { type Column, renderFitting, renderTable, withoutControls } from "./render-table.ts";

/**
 * All changes of the primary, one row each.
 *
 * @param widthMax in columns of the terminal; null: nobody watches, and nothing is left out.
 */
export function renderFailovers(
  failovers: readonly FailoverDocument[],
  widthMax: number | null = null,
): string {
  if (failovers.length === 0) return "The primary has not changed yet.\n";
  const hasLoss = failovers.some(({ loss }) => loss !== null);
  const columns: readonly Column<FailoverDocument>[] = [
    { head: "no", text: ({ number }) => String(number) },
    { head: "when", text: ({ at }) => at.replace(/\.\d+Z$/, "Z"), leftOut: 1 },
    { head: "kind", text: ({ kind }) => kind, leftOut: 3 },
    { head: "from", text: ({ from }) => from },
    { head: "to", text: ({ to }) => to ?? "-" },
    { head: "epoch", text: ({ epoch, nextEpoch }) => `${epoch} -> ${nextEpoch ?? "?"}`, leftOut: 6 },
    { head: "reason", text: ({ reason }) => reason },
    { head: "writable in", text: (row) => renderMs(sinceFirstSign(row, "writable")), leftOut: 2 },
    { head: "all back in", text: (row) => renderMs(sinceFirstSign(row, "rejoined")), leftOut: 5 },
    {
      head: "loss",
      text: ({ loss }) => (loss === null ? "none" : "possible"),
      ...(hasLoss ? {} : { leftOut: 4 }),
    },
  ];
  return renderFitting(columns, failovers, widthMax, "'guacamole history show NO', or --output json");
}

function sinceFirstSign(failover: FailoverDocument, phase: string): number | null {
  const step = failover.phases.find((each) => each.phase === phase);
  return step === undefined ? null : step.afterMs + (failover.detectionMs ?? 0);
}

const LABELS: Readonly<Record<string, string>> = {
  detected: "detected",
  revoked: "revoked, successor chosen",
  appointed: "appointed",
  promoted: "out of recovery",
  writable: "commits acknowledged",
  rejoined: "everybody streams",
};

/** With the longest label, and a way back of a day behind the bar: 80 columns. */
const BAR_WIDTH = 30;

/**
 * One change of the primary as a timeline. Each step has a bar from where the one before ended; all that comes before writes
 * are acknowledged again shares one scale, and what comes after has its own, so that a long way back does not squash it.
 */
export function renderFailover(failover: FailoverDocument): string {
  const { number, kind, from, to, epoch, nextEpoch, reason, reasonText, at, by } = failover;
  const asked = by === "leader" ? "" : `, by ${by}`;
  const head = [
    `${kind} no. ${number}: ${from} -> ${to ?? "nobody yet"}, epoch ${epoch} -> ${nextEpoch ?? "?"}`,
    `${at}${asked}`,
    `${reason}: ${reasonText}`,
  ];
  const evidence = failover.evidence.map((each) => `  ${each}`);
  const parts = [
    ...head,
    ...(evidence.length === 0 ? [] : ["", "What was seen:", ...evidence]),
    "",
    ...timeline(failover),
    "",
    ...positions(failover),
    "",
    failover.loss === null ? "No acknowledged commit was lost." : `Possible loss: ${failover.loss}.`,
  ];
  return `${parts.map(withoutControls).join("\n").trimEnd()}\n`;
}

interface Step {
  readonly label: string;
  readonly fromMs: number;
  readonly toMs: number;
}

function timeline(failover: FailoverDocument): readonly string[] {
  const steps = stepsOf(failover);
  if (steps.length === 0) return ["  nothing was measured yet"];
  const isEarly = ({ label }: Step) => label !== LABELS["rejoined"];
  const early = steps.filter(isEarly);
  const late = steps.filter((step) => !isEarly(step));
  const earlyMs = Math.max(1, ...early.map(({ toMs }) => toMs));
  const width = Math.max(...steps.map(({ label }) => label.length));
  const line = (step: Step, bar: string) => {
    const took = `+${renderMs(step.toMs - step.fromMs)}`.padStart(10);
    return `  ${step.label.padEnd(width)} ${bar.padEnd(BAR_WIDTH)} ${took}  ${renderMs(step.toMs)}`;
  };
  return [
    ...early.map((step) => line(step, scaled(step, earlyMs))),
    ...late.map((step) => line(step, `${" ".repeat(BAR_WIDTH - 3)}...`)),
  ];
}

/** From the first sign on. */
function stepsOf({ detectionMs, phases }: FailoverDocument): readonly Step[] {
  const beforeMs = detectionMs ?? 0;
  const ends = [
    ...(detectionMs === null ? [] : [{ phase: "detected", atMs: beforeMs }]),
    ...phases.map(({ phase, afterMs }) => ({ phase, atMs: beforeMs + afterMs })),
  ];
  return ends.map(({ phase, atMs }, index) => ({
    label: LABELS[phase] ?? phase,
    fromMs: index === 0 ? 0 : (ends[index - 1]?.atMs ?? 0),
    toMs: Math.max(atMs, index === 0 ? 0 : (ends[index - 1]?.atMs ?? 0)),
  }));
}

function scaled({ fromMs, toMs }: Step, totalMs: number): string {
  const start = Math.min(BAR_WIDTH - 1, Math.floor((fromMs / totalMs) * BAR_WIDTH));
  const end = Math.min(BAR_WIDTH, Math.max(start + 1, Math.round((toMs / totalMs) * BAR_WIDTH)));
  return `${" ".repeat(start)}${"#".repeat(end - start)}`;
}

function positions({ positions: seen, passedOver, to }: FailoverDocument): readonly string[] {
  if (seen.length === 0) return [];
  const whyNot = new Map(passedOver.map(({ member, reason }) => [member, reason]));
  const table = renderTable(
    ["member", "position", "pledged", ""],
    seen.map(({ member, position, hasPledged }) => [
      member,
      position ?? "-",
      hasPledged ? "yes" : "no",
      member === to ? "appointed" : (whyNot.get(member) ?? ""),
    ]),
  );
  return table
    .trimEnd()
    .split("\n")
    .map((line) => `  ${line}`);
}

function renderMs(durationMs: number | null): string {
  if (durationMs === null) return "-";
  return durationMs < 10_000 ? `${Math.round(durationMs)} ms` : `${(durationMs / 1_000).toFixed(1)} s`;
}
