/** Versions of what is wanted, for people. */
import type {
  SpecAppliedDocument,
  SpecBlameDocument,
  SpecChangeDocument,
  SpecHistoryDocument,
  SpecVersionDocument,
} from "../api/spec-documents.ts";
import { renderTable, withoutControls } from "./render-table.ts";

export function renderHistory({ versions, generation, next }: SpecHistoryDocument): string {
  if (versions.length === 0) return `Generation ${generation}; no earlier version is kept.\n`;
  const more = next === null ? "" : `\nThere are older ones: --before ${next}\n`;
  return `${versions.map(renderVersion).join("\n")}${more}`;
}

function renderVersion(version: SpecVersionDocument) {
  const { generation, at, by, byName, reason, request, checksum, changes } = version;
  const why = reason === null ? "" : `  ${reason}`;
  const how = request === null ? "" : `  ${request}`;
  const head = `${generation}  ${at}  ${byName ?? by}${how}  ${checksum.slice(0, 12)}${why}`;
  return `${withoutControls(head)}\n${renderChanges(changes, "    ")}`;
}

export function renderChanges(changes: readonly SpecChangeDocument[], indent: string): string {
  return changes
    .map(({ path, at, before, after }) => {
      const place = at === null ? path : `${path}[${at}…]`;
      return `${withoutControls(`${indent}${place}: ${textOf(before)} -> ${textOf(after)}`)}\n`;
    })
    .join("");
}

/** What a document as a whole changed, or would. */
export function renderApplied({ generation, isDryRun, changes, notices }: SpecAppliedDocument): string {
  if (changes.length === 0) return `All of it is so already (generation ${generation}).\n`;
  const said = isDryRun
    ? `This would change generation ${generation}. Nothing was changed.`
    : `This is generation ${generation}.`;
  const told = notices.map((notice) => `${withoutControls(notice)}\n`).join("");
  return `${renderChanges(changes, "")}${told}${said}\n`;
}

export function renderBlame({ values, untold }: SpecBlameDocument): string {
  const rows = values.map(({ path, value, generation, at, by, reason }) => [
    path,
    textOf(value),
    generation === null ? "-" : String(generation),
    at ?? "-",
    by ?? "-",
    reason ?? "",
  ]);
  const more = untold === 0 ? "" : `and ${untold} more; name a path\n`;
  return `${renderTable(["path", "value", "version", "since", "by", "reason"], rows)}${more}`;
}

const TEXT_MAX = 80;

function textOf(value: unknown): string {
  if (value === null || value === undefined) return "-";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length <= TEXT_MAX ? text : `${text.slice(0, TEXT_MAX)}…`;
}
