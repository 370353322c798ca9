/** What a server's catalogs say of roles and databases, and what is done to them: data, as the primary's member reads and writes it. */
import type { RoleFlag } from "./declared.ts";
import type { MadeKind, ObjectKind } from "./grants.ts";

/** A look that costs little. */
export interface CatalogGlance {
  /** Equal as long as nothing of it changed. */
  readonly fingerprint: string;
  /** By the server's clock, which `VALID UNTIL` goes by: UTC with milliseconds, as `Date.toISOString` writes it. */
  readonly now: string;
}

export interface ObservedCatalog {
  /** As of a glance. */
  readonly now: string;
  /** Of the server. */
  readonly major: number;
  /** All there are, by name. */
  readonly roles: ReadonlyMap<string, ObservedRole>;
  /** All there are, by name. */
  readonly databases: ReadonlyMap<string, ObservedDatabase>;
}

/** Roles that have privileges, each with which. */
export type ObservedPrivileges = ReadonlyMap<string, ReadonlySet<string>>;

export interface ObservedDatabase {
  readonly owner: string;
  readonly encoding: string;
  /** Of collation; where a locale is said, that is one for everything. */
  readonly locale: string;
  readonly connectionLimit: number;
  readonly settings: ReadonlyMap<string, string>;
  readonly privileges: ObservedPrivileges;
  /** Null: nobody looked. */
  readonly inside: ObservedInside | null;
}

export interface ObservedInside {
  readonly extensions: ReadonlyMap<string, { readonly version: string; readonly schema: string }>;
  /** Of the host, by name. */
  readonly available: ReadonlyMap<string, { readonly isTrusted: boolean }>;
  readonly schemas: ReadonlyMap<string, { readonly owner: string; readonly privileges: ObservedPrivileges }>;
  /** By schema, of those that were asked for. */
  readonly objects: ReadonlyMap<string, Readonly<Record<ObjectKind, readonly ObservedObject[]>>>;
  /** By the role that makes objects, of those that were asked for. */
  readonly defaults: ReadonlyMap<string, ObservedDefaults>;
}

export interface ObservedObject extends ObjectName {
  readonly owner: string;
  readonly privileges: ObservedPrivileges;
  /** Runs as its owner, or in a language that is not trusted. */
  readonly isDangerous: boolean;
}

export interface ObjectName {
  readonly name: string;
  /** Of a function the types of its arguments, as PostgreSQL writes them; the column, where `name` is its table; else null. */
  readonly detail: string | null;
}

/** What roles get of what another one makes. */
export interface ObservedDefaults {
  readonly everywhere: Readonly<Record<MadeKind, ObservedPrivileges>>;
  /** In single schemas, beside that. */
  readonly schemas: ReadonlyMap<string, Readonly<Partial<Record<MadeKind, ObservedPrivileges>>>>;
}

export interface ObservedRole extends Readonly<Record<RoleFlag, boolean>> {
  readonly connectionLimit: number;
  /** UTC with milliseconds; null: for ever. */
  readonly validUntil: string | null;
  /** As `pg_authid` has it; null: none. */
  readonly password: string | null;
  /** Roles that this one is a member of. One may be given several times, by several grantors. */
  readonly memberOf: readonly ObservedMembership[];
  readonly settings: ReadonlyMap<string, string>;
  /** By database. */
  readonly databaseSettings: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

export interface ObservedMembership {
  readonly role: string;
  readonly isAdmin: boolean;
  readonly grantor: string;
}

/** What may be changed of a role in one statement. */
export interface RoleAttributes extends Partial<Readonly<Record<RoleFlag, boolean>>> {
  readonly connectionLimit?: number;
  readonly validUntil?: string | null;
  readonly password?: string | null;
}

/** One statement, before it is SQL. */
export type CatalogStatement = RoleStatement | DatabaseStatement | InsideStatement;

/** What is done to a role. */
export type RoleStatement =
  | { readonly kind: "create-role"; readonly role: string; readonly attributes: RoleAttributes }
  | { readonly kind: "alter-role"; readonly role: string; readonly attributes: RoleAttributes }
  | { readonly kind: "drop-role"; readonly role: string }
  | {
      readonly kind: "grant-role";
      readonly role: string;
      readonly member: string;
      readonly isAdmin: boolean;
    }
  | {
      readonly kind: "revoke-role";
      readonly role: string;
      readonly member: string;
      /** Whose grant is meant; null: before PostgreSQL 16 there is one. */
      readonly grantor: string | null;
      /** It stays a member, and makes nobody else one. */
      readonly isAdminOnly: boolean;
    }
  | {
      readonly kind: "set-role";
      readonly role: string;
      /** Null: in every database. */
      readonly database: string | null;
      readonly name: string;
      /** Null: none of its own any more. */
      readonly value: string | null;
    };

/** What is done to a database from outside. */
export type DatabaseStatement =
  | {
      readonly kind: "create-database";
      readonly database: string;
      readonly owner?: string;
      readonly template?: string;
      readonly encoding?: string;
      readonly locale?: string;
    }
  | { readonly kind: "drop-database"; readonly database: string }
  | { readonly kind: "own-database"; readonly database: string; readonly owner: string }
  | { readonly kind: "limit-database"; readonly database: string; readonly connectionLimit: number }
  | {
      readonly kind: "set-database";
      readonly database: string;
      readonly name: string;
      readonly value: string | null;
    }
  | {
      readonly kind: "grant-database" | "revoke-database";
      readonly database: string;
      readonly role: string;
      readonly privileges: readonly string[];
    };

/** What is done over a connection to that database. */
export type InsideStatement =
  | {
      readonly kind: "create-schema" | "own-schema";
      readonly inside: string;
      readonly schema: string;
      readonly owner: string | null;
    }
  | { readonly kind: "drop-schema"; readonly inside: string; readonly schema: string }
  | {
      readonly kind: "grant-schema" | "revoke-schema";
      readonly inside: string;
      readonly schema: string;
      readonly role: string;
      readonly privileges: readonly string[];
    }
  | {
      readonly kind: "create-extension";
      readonly inside: string;
      readonly extension: string;
      readonly schema: string | null;
      readonly version: string | null;
    }
  | {
      readonly kind: "update-extension";
      readonly inside: string;
      readonly extension: string;
      readonly version: string;
    }
  | {
      readonly kind: "move-extension";
      readonly inside: string;
      readonly extension: string;
      readonly schema: string;
    }
  | { readonly kind: "drop-extension"; readonly inside: string; readonly extension: string }
  | {
      readonly kind: "grant-objects" | "revoke-objects";
      readonly inside: string;
      readonly schema: string;
      readonly objects: ObjectKind;
      readonly names: readonly ObjectName[];
      readonly role: string;
      readonly privileges: readonly string[];
    }
  | {
      readonly kind: "grant-default" | "revoke-default";
      readonly inside: string;
      /** Null: in all of them. */
      readonly schema: string | null;
      readonly creator: string;
      readonly objects: MadeKind;
      readonly role: string;
      readonly privileges: readonly string[];
    };

/** Why a statement was not carried out. */
export interface CatalogFailure {
  /** It may work another time: something stood in the way for now. */
  readonly isPassing: boolean;
  /** In PostgreSQL's words, without any secret. */
  readonly message: string;
}

/** What a wish is for. */
export interface DeclaredItem {
  readonly kind: "role" | "database";
  readonly name: string;
}

/** Why a wish is not as it should be on the primary. */
export interface DeclaredProblem extends DeclaredItem {
  /** `impossible`: it cannot be; `drift`: somebody changed it, and that is only told; `pending`: it will be tried again. */
  readonly state: "impossible" | "drift" | "pending";
  /** A sentence or several. */
  readonly reason: string;
}

/** What somebody had changed by hand, and was put back. */
export interface CorrectedDrift extends DeclaredItem {
  readonly what: string;
  /** By the wall clock of the primary's host. */
  readonly atMs: number;
}

/** What the primary's member found when it looked last. */
export interface DeclaredReport {
  /** Of the declaration that was held against the catalogs; null: none yet. */
  readonly revision: number | null;
  /** Whatever is declared and not among these is in force. */
  readonly problems: readonly DeclaredProblem[];
  /** The latest, oldest first. */
  readonly corrected: readonly CorrectedDrift[];
}
