import { err, type Result } from "../base/result.ts";
import type { DeclaredItem, DeclaredReport } from "../cluster/catalog.ts";
import { memberName } from "../cluster/state.ts";
import type { ApiPorts } from "./ports.ts";
import { isUnreachable, type Sight } from "./sight.ts";

/** What became of declarations, as the primary's member found it. */

export interface ItemState {
  readonly state: "in-force" | "pending" | "impossible" | "drift" | "unknown";
  readonly reason: string | null;
}

/** Asks the primary's member; the error says why nothing is known. */
export async function askReport(ports: ApiPorts, sight: Sight): Promise<Result<DeclaredReport, string>> {
  const { state } = sight;
  const { reign } = state;
  if (reign === null) return err("there is no primary: 'guacamole init' builds the PostgreSQL cluster");
  const { primaryId } = reign;
  const name = memberName(state, primaryId);
  if (isUnreachable(sight, primaryId)) return err(`the primary ${name} cannot be reached`);
  const report = await ports.declaredReport(primaryId);
  return report.ok ? report : err(`the primary ${name} does not say: ${report.error}`);
}

/** The states of single items: of many, each is found without a search. */
export function statesIn(
  report: Result<DeclaredReport, string>,
): (item: DeclaredItem, since: number) => ItemState {
  if (!report.ok) return () => ({ state: "unknown", reason: report.error });
  const { revision, problems } = report.value;
  const found = new Map<string, ItemState>();
  for (const { kind, name, state, reason } of problems) {
    const key = `${kind} ${name}`;
    const before = found.get(key);
    if (before === undefined) found.set(key, { state, reason });
    else if (before.state === state) found.set(key, { state, reason: `${before.reason} ${reason}` });
  }
  return ({ kind, name }, since) => {
    if (revision === null || since > revision) return { state: "pending", reason: null };
    return found.get(`${kind} ${name}`) ?? { state: "in-force", reason: null };
  };
}
