/** What the routes of declared roles and of declared databases share. */

import {
  changedDeclaration,
  type DeclaredChanges,
  type DeclaredSpec,
  type RoleSettings,
} from "../cluster/declared.ts";
import { flawOfLoginNames } from "../cluster/login-pair.ts";
import { masked, SETTINGS_PLACE } from "../cluster/secrets.ts";
import { type Caller, scopesText } from "./access.ts";
import { type Asked, changeWanted } from "./change-wanted.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import type { Sight } from "./sight.ts";

/**
 * Has a declaration agreed, made by `changesOf` from what is agreed now.
 *
 * @throws {ApiProblem} whatever `changesOf` throws, and as `changeWanted` does.
 */
export async function declare(
  ports: ApiPorts,
  asked: Asked,
  changesOf: (sight: Sight) => Promise<DeclaredChanges>,
): Promise<void> {
  await changeWanted(ports, asked, async (sight, generation) => {
    const changes = await changesOf(sight);
    requireOwnLogins(changedDeclaration(sight.state.spec.declared, changes, generation + 1));
    return { change: { kind: "declare", generation, changes }, told: null };
  });
}

/** @throws {ApiProblem} 422 where a role is declared for itself that is a login of another. */
export function requireOwnLogins(declared: DeclaredSpec | null): void {
  const flaw = flawOfLoginNames(declared);
  if (flaw === null) return;
  throw new ApiProblem({
    status: 422,
    code: "invalid-request",
    detail: `${flaw}. Nothing was changed.`,
  });
}

/** Settings as PostgreSQL's catalogs have them. */
export function textsOf(settings: Readonly<Record<string, string | number | boolean | null>>): RoleSettings {
  return Object.fromEntries(
    Object.entries(settings).map(([name, value]) => [
      name,
      typeof value === "boolean" ? (value ? "on" : "off") : value === null ? null : String(value),
    ]),
  );
}

/** The same with the values masked that are secrets by their names, or say a password. */
export function shownSettings(settings: RoleSettings): Record<string, string | null> {
  return masked(settings, SETTINGS_PLACE) as Record<string, string | null>;
}

/** What is asked for is no wish for the role or the database of this name. */
export function invalidWish(kind: "role" | "database", name: string, flaw: string): ApiProblem {
  return new ApiProblem({
    status: 422,
    code: "invalid-request",
    detail: `The ${kind} '${name.slice(0, 80)}' cannot be declared so: ${flaw}. Nothing was changed.`,
    errors: [{ field: name.slice(0, 80), message: flaw }],
  });
}

/** It gives power that is only `admin`'s to give. */
export function tooPowerful(name: string, guarded: readonly string[], caller: Caller): ApiProblem {
  return new ApiProblem({
    status: 403,
    code: "scope-insufficient",
    detail: `${name}: ${guarded.join(", ")} makes it as powerful as a superuser. It needs a token of scope 'admin'; this one has ${scopesText(caller)}. Nothing was changed.`,
  });
}
