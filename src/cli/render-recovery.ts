import type { Inspection, NewGroupPlan } from "./recover-ports.ts";
import { renderTable, withoutControls } from "./render-table.ts";

/** What a stopped member knows. */
export function renderInspection(inspection: Inspection): string {
  const { primary, epoch, flaws } = inspection;
  const lines = [
    `member ${inspection.memberName} (${inspection.memberId}) of cluster '${inspection.clusterName}' (${inspection.clusterId}), recovered ${inspection.recoveryEpoch} times`,
    `last entry   term ${inspection.lastTerm}, index ${inspection.lastIndex}: the greater, the more it knows`,
    `knows of     term ${inspection.term}; committed ${inspection.commitIndex}, applied ${inspection.appliedIndex}, log from ${inspection.floorIndex + 1}`,
    `voters       ${list(inspection.voters)}`,
    `learners     ${list(inspection.learners)}`,
    `members      ${list(inspection.members)}`,
    `primary      ${primary === null ? "none yet" : `${primary}, epoch ${epoch}`}`,
    flaws.length === 0
      ? "every checksum is right"
      : `BROKEN:\n${flaws.map((flaw) => `  ${withoutControls(flaw)}`).join("\n")}`,
  ];
  return `${lines.join("\n")}\n`;
}

export interface Comparison {
  /** The most advanced first. */
  readonly ranked: readonly Inspection[];
  /** Name of the member to recover from; null where none can be named. */
  readonly best: string | null;
  readonly advice: string;
}

/** Raft's order: the newer last term knows more, however short its log; among equals the longer log. */
export function compareInspections(inspections: readonly Inspection[]): Comparison {
  const ranked = inspections.toSorted(
    (a, b) => b.lastTerm - a.lastTerm || b.lastIndex - a.lastIndex || (a.memberName < b.memberName ? -1 : 1),
  );
  const groups = new Set(ranked.map(({ clusterId, recoveryEpoch }) => `${clusterId} ${recoveryEpoch}`));
  if (groups.size > 1) {
    return { ranked, best: null, advice: "these are not members of one cluster: nothing can be compared" };
  }
  const best = ranked.find(({ flaws }) => flaws.length === 0);
  if (best === undefined) return { ranked, best: null, advice: "none of these logs is whole" };
  const more =
    ranked[0] === best ? "" : ` (${ranked[0]?.memberName ?? ""} knows more, but its log is broken)`;
  const quorum = Math.floor(best.voters.length / 2) + 1;
  const present = ranked.filter(({ memberName }) => best.voters.includes(memberName)).length;
  const advice =
    present >= quorum
      ? `${present} of ${best.voters.length} voters are here: start them, and nothing has to be forced`
      : `recover from ${best.memberName}${more}`;
  return { ranked, best: best.memberName, advice };
}

export function renderComparison({ ranked, advice }: Comparison): string {
  const table = renderTable(
    ["member", "last term", "last index", "committed", "voter", "primary", "log"],
    ranked.map((each) => [
      each.memberName,
      String(each.lastTerm),
      String(each.lastIndex),
      String(each.commitIndex),
      each.voters.includes(each.memberName) ? "yes" : "no",
      each.primary === null ? "-" : `${each.primary}, epoch ${each.epoch}`,
      each.flaws.length === 0 ? "whole" : "BROKEN",
    ]),
  );
  return `${table}\n${withoutControls(advice)}\n`;
}

/** What is kept, what is dropped, what must be done elsewhere. */
export function renderPlan(plan: NewGroupPlan): string {
  const part = (title: string, lines: readonly string[]) => [
    title,
    ...lines.map((line) => `  - ${withoutControls(line)}`),
  ];
  return `${[
    `${plan.memberName} of cluster '${plan.clusterName}' (${plan.clusterId}) would become a group of its own.`,
    ...part("Kept:", plan.kept),
    ...part("Dropped:", plan.dropped),
    ...part("To be done elsewhere:", plan.elsewhere),
  ].join("\n")}\n`;
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.join(", ");
}
