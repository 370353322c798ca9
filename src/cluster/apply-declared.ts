/** What is declared of roles and databases, change by change. */
import type { Generation } from "../base/ids.ts";
import { type Applied, accept, type ChangeOf, event, refuse } from "./applied.ts";
import type { Command } from "./command.ts";
import { changedDeclaration, countDeclared, DECLARED_MAX } from "./declared.ts";
import { isUnderstoodByAll } from "./feature-level.ts";
import type { ClusterState } from "./state.ts";

const NAMES_TOLD = 10;

/** The next generation of what operators want, with these declarations changed. */
export function declare(state: ClusterState, command: Command, change: ChangeOf<"declare">): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  if (change.generation !== state.generation) return refuse(state, "stale-generation");
  const generation = (state.generation + 1) as Generation;
  const { declared: before, ...rest } = state.spec;
  const declared = changedDeclaration(before, change.changes, generation);
  if (countDeclared(declared) > DECLARED_MAX) return refuse(state, "too-many-declared");
  const spec = declared === null ? rest : { ...rest, declared };
  const { roles = {}, databases = {} } = change.changes;
  const names = [...Object.keys(roles), ...Object.keys(databases)];
  const told = names.slice(0, NAMES_TOLD).join(", ");
  const more = names.length > NAMES_TOLD ? ` and ${names.length - NAMES_TOLD} more` : "";
  return accept(
    { ...state, generation, spec },
    event(command, "spec.declared", `${command.by} declared: ${told}${more} (generation ${generation})`, {
      generation,
      count: names.length,
    }),
  );
}

/** From here on what differs from this revision is a change that somebody made by hand. */
export function noteDeclared(
  state: ClusterState,
  _command: Command,
  change: ChangeOf<"note-declared">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const { declared } = state.spec;
  if (declared === undefined || change.revision > declared.revision) return refuse(state, "stale-generation");
  if (change.revision <= (state.declaredInForce ?? 0)) return refuse(state, "stale-generation");
  return accept({ ...state, declaredInForce: change.revision });
}
