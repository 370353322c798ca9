/** Whether grants may be declared so, as far as that can be said without a server. */
import { flawOfName, flawOfRoleName } from "./check-role.ts";
import { type DatabaseWish, EVERYBODY, type SchemaWish } from "./declared.ts";
import { type DefaultGrants, EVERY_OBJECT, MADE_KINDS, OBJECT_KINDS } from "./grants.ts";

const ENTRIES_MAX = 200;
const DETAILED_BYTES_MAX = 2_000;

/** Why a role of this name can own nothing that is declared, in a sentence; null: it can. */
export function flawOfOwner(name: string): string | null {
  return name === "postgres" ? null : flawOfRoleName(name);
}

/** What is wrong with roles that are given something, in a sentence; null: nothing. */
export function flawOfGrantees(privileges: Readonly<Record<string, unknown>> = {}): string | null {
  const names = Object.keys(privileges);
  if (names.length > ENTRIES_MAX) return `privileges has more than ${ENTRIES_MAX} entries`;
  for (const name of names) {
    const flaw = name === EVERYBODY || name.startsWith("pg_") ? null : flawOfOwner(name);
    if (flaw !== null) return `privileges '${name.slice(0, 80)}': ${flaw}`;
  }
  return null;
}

/** What is wrong with what is granted in a schema, in a sentence; null: nothing. */
export function flawOfSchemaGrants(wish: SchemaWish): string | null {
  for (const kind of OBJECT_KINDS) {
    const entries = Object.entries(wish[kind] ?? {});
    if (entries.length > ENTRIES_MAX) return `${kind} has more than ${ENTRIES_MAX} entries`;
    for (const [name, grants] of entries) {
      const flaw = flawOfObjectName(kind, name) ?? flawOfGrantees(grants);
      if (flaw !== null) return `${kind} '${name.slice(0, 80)}': ${flaw}`;
    }
  }
  return flawOfDefaults(wish.defaultPrivileges);
}

function flawOfObjectName(kind: string, name: string): string | null {
  if (name === EVERY_OBJECT) return null;
  if (kind !== "functions" && kind !== "columns") return flawOfName(name);
  if (name.length > DETAILED_BYTES_MAX) return "it is longer than any such name";
  return (
    flawOfName(name.slice(0, 1)) ??
    ([...name].some((each) => each < " ") ? "control characters are in it" : null)
  );
}

/** What is wrong with what is granted of objects to come, in a sentence; null: nothing. */
export function flawOfDefaults(defaults: DatabaseWish["defaultPrivileges"] = {}): string | null {
  const creators = Object.entries(defaults);
  if (creators.length > ENTRIES_MAX) return `defaultPrivileges has more than ${ENTRIES_MAX} entries`;
  for (const [creator, grants] of creators) {
    const flaw = flawOfOwner(creator) ?? flawOfCreator(grants);
    if (flaw !== null) return `defaultPrivileges '${creator.slice(0, 80)}': ${flaw}`;
  }
  return null;
}

function flawOfCreator(grants: DefaultGrants): string | null {
  for (const kind of MADE_KINDS) {
    const flaw = flawOfGrantees(grants[kind]);
    if (flaw !== null) return flaw;
  }
  return null;
}
