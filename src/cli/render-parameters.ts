import type { ParametersDocument } from "../api/parameter-documents.ts";
import { renderTable, withoutControls } from "./render-table.ts";

type Parameter = ParametersDocument["parameters"][number];
type MemberParameter = Parameter["members"][number];

interface RenderOptions {
  /** With what each one is and takes. */
  readonly isDetailed: boolean;
  /** What is said where there is nothing to show. */
  readonly none?: string;
}

/** One row per parameter, or one per value where members differ; then what needs a look. */
export function renderParameters(document: ParametersDocument, { isDetailed, none }: RenderOptions): string {
  const rows = document.parameters.flatMap(rowsOf);
  const table =
    rows.length === 0
      ? (none ?? "Every parameter is as PostgreSQL has it by itself.\n")
      : renderTable(["parameter", "members", "wanted", "by", "in effect", "from", ""], rows);
  const details = isDetailed ? document.parameters.map(describe) : [];
  return [table, ...details, notesOf(document)].filter((part) => part !== "").join("\n");
}

function rowsOf({ name, members }: Parameter): readonly (readonly string[])[] {
  const groups = Map.groupBy(members, (each) => JSON.stringify({ ...each, member: "", role: "" }));
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const who =
      group.length === members.length && groups.size === 1 && members.length > 1
        ? "all"
        : group.map(({ member }) => member).join(",");
    return [
      [
        name,
        who,
        first.desired ?? "-",
        first.desiredFrom ?? "",
        first.effective ?? "-",
        first.source ?? "",
        stateOf(first),
      ],
    ];
  });
}

function stateOf({ pendingRestart, isDrifting }: MemberParameter): string {
  if (pendingRestart) return "waits for a start";
  return isDrifting ? "NOT as wanted" : "";
}

const WHEN: Readonly<Record<Parameter["takesEffect"], string>> = {
  reload: "takes effect at once",
  "new-connections": "takes effect in new connections",
  restart: "takes effect when PostgreSQL is started again",
  never: "cannot be set",
};

function describe({ name, description, allowed, takesEffect, needs }: Parameter): string {
  const who = needs === "nobody" ? "guacamole sets it" : `scope ${needs} changes it`;
  return `${withoutControls(`${name}: ${description}`)}\n  ${withoutControls(`${allowed}; ${WHEN[takesEffect]}; ${who}`)}\n`;
}

function notesOf({ notices, takenOut, fileErrors, unseen, pendingRestart }: ParametersDocument): string {
  const notes = [
    ...notices,
    ...pendingRestart.map(
      ({ member, names }) => `${member}: ${names.join(", ")} wait for PostgreSQL to be started again`,
    ),
    ...takenOut.map(
      ({ member, names }) => `${member}: ALTER SYSTEM had set ${names.join(", ")}; it was taken out`,
    ),
    ...fileErrors.map(({ member, file, line, error }) => `${member}: ${file}:${line}: ${error}`),
    ...unseen.map(({ member, why }) => `${member}: its PostgreSQL does not say (${why})`),
  ];
  return notes.map((note) => `${withoutControls(note)}\n`).join("");
}
