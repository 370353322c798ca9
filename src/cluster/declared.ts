import { type DefaultGrants, MADE_KINDS, type ObjectGrants } from "./grants.ts";

/**
 * What PostgreSQL's catalogs shall say of roles and databases (`roadmap/0007-declared-roles.md`). Only what is named is wanted:
 * whatever a declaration does not name stays as it is on the server.
 */
export interface DeclaredSpec {
  /** The generation that said so last: what the primary's member reports to have looked at. */
  readonly revision: number;
  /** Somebody changed by hand what is in force. Absent: it is put back at the next look; `report`: it is only told. */
  readonly drift?: "report";
  /** By name. */
  readonly roles?: Readonly<Record<string, RoleWish>>;
  readonly databases?: Readonly<Record<string, DatabaseWish>>;
}

/** What is wanted of one role. */
export interface RoleWish {
  /** The generation that said so last. */
  readonly since: number;
  /** Somebody with the scope `admin` said it: it may concern what is as powerful as a superuser. */
  readonly isTrusted?: true;
  /** There shall be no such role. Nothing else is named then. */
  readonly isAbsent?: true;
  readonly login?: boolean;
  readonly superuser?: boolean;
  readonly createdb?: boolean;
  readonly createrole?: boolean;
  readonly replication?: boolean;
  readonly bypassrls?: boolean;
  readonly inherit?: boolean;
  /** -1: as many as there may be. */
  readonly connectionLimit?: number;
  /** UTC with milliseconds, as `Date.toISOString` writes it; null: for ever. */
  readonly validUntil?: string | null;
  /** A verifier (`base/scram.ts`), never a password; null: none, so that nobody logs in by password. */
  readonly password?: string | null;
  /** By the name of the other role. */
  readonly memberOf?: Readonly<Record<string, Membership>>;
  /** By parameter; null: the role has none of its own. */
  readonly settings?: RoleSettings;
  /** The same in single databases, by their names. */
  readonly databaseSettings?: Readonly<Record<string, RoleSettings>>;
  /** Two logins of its own take turns, so that an old and a new password are good at once. */
  readonly rotation?: RotationWish;
  /** Since the first rotation: whose turn it is. */
  readonly logins?: LoginPair;
}

/** Who logs in: the role itself, or one of the two. */
export type Login = "self" | "a" | "b";

/** Whose turn it is. Only rotations change it, whatever else is declared of the role. */
export interface LoginPair {
  /** Has the newest password, which is good for ever. */
  readonly newest: Exclude<Login, "self">;
  /** The one before is good until then: UTC with milliseconds, as `Date.toISOString` writes it. */
  readonly previous: { readonly login: Login; readonly until: string };
  /** Each under a name that masks it (`secrets.ts`). Absent: whatever the server has. */
  readonly selfVerifier?: string;
  readonly aVerifier?: string;
  readonly bVerifier?: string;
}

/** That the logins of a role take turns. */
export interface RotationWish {
  /** How long the one before stays good, where a rotation says nothing. */
  readonly overlapSeconds: number;
}

/** What is wanted of one database. */
export interface DatabaseWish {
  /** As of a role. */
  readonly since: number;
  readonly isTrusted?: true;
  /** There shall be no such database. Nothing else is named then. */
  readonly isAbsent?: true;
  readonly owner?: string;
  /** These three count where it is made; of one that is there, another encoding or locale is impossible. */
  readonly template?: string;
  readonly encoding?: string;
  readonly locale?: string;
  /** -1: as many as there may be. */
  readonly connectionLimit?: number;
  readonly settings?: RoleSettings;
  /** By name; null: it shall not be there. */
  readonly extensions?: Readonly<Record<string, ExtensionWish | null>>;
  readonly schemas?: Readonly<Record<string, SchemaWish | null>>;
  /** By role (`public`: everybody): these, and no others. */
  readonly privileges?: Readonly<Record<string, readonly DatabasePrivilege[]>>;
  /** By the role that makes objects, in whichever schema: what others get of each from then on. */
  readonly defaultPrivileges?: Readonly<Record<string, DefaultGrants>>;
}

export interface ExtensionWish {
  readonly schema?: string;
  readonly version?: string;
}

export interface SchemaWish {
  readonly owner?: string;
  readonly privileges?: Readonly<Record<string, readonly SchemaPrivilege[]>>;
  readonly tables?: ObjectGrants;
  readonly sequences?: ObjectGrants;
  readonly functions?: ObjectGrants;
  readonly types?: ObjectGrants;
  readonly columns?: ObjectGrants;
  /** By the role that makes objects in this schema. It adds to what is so in all of them. */
  readonly defaultPrivileges?: Readonly<Record<string, DefaultGrants>>;
}

export const DATABASE_PRIVILEGES = ["connect", "create", "temporary"] as const;
export type DatabasePrivilege = (typeof DATABASE_PRIVILEGES)[number];
export const SCHEMA_PRIVILEGES = ["usage", "create"] as const;
export type SchemaPrivilege = (typeof SCHEMA_PRIVILEGES)[number];

/** Everybody, where a role is named. */
export const EVERYBODY = "public";

/** In these guacamole itself, or every new database, would meet what is said of them: only `admin` may. */
export const OWN_DATABASES: ReadonlySet<string> = new Set(["postgres", "template1"]);

/** `admin`: a member, and may make others members. */
export type Membership = "member" | "admin" | "none";

export type RoleSettings = Readonly<Record<string, string | null>>;

/** What is switched on or off of a role. */
export const ROLE_FLAGS = [
  "login",
  "superuser",
  "createdb",
  "createrole",
  "replication",
  "bypassrls",
  "inherit",
] as const;

export type RoleFlag = (typeof ROLE_FLAGS)[number];

/** Who has one of these can do what a superuser can, or reads and writes past every rule: only `admin` may give it. */
export const POWERS: readonly RoleFlag[] = ["superuser", "createrole", "replication", "bypassrls"];

/** Roles of PostgreSQL's own whose members can do the same. */
export const POWERFUL_ROLES: ReadonlySet<string> = new Set([
  "pg_checkpoint",
  "pg_create_subscription",
  "pg_execute_server_program",
  "pg_read_all_data",
  "pg_read_server_files",
  "pg_write_all_data",
  "pg_write_server_files",
]);

/** More are refused: all of them are part of each member's memory, and of every snapshot. */
export const DECLARED_MAX = 20_000;

/** What changes at once in a declaration: null takes it out, so that nothing is wanted of it any more. */
export interface DeclaredChanges {
  readonly roles?: Readonly<Record<string, Omit<RoleWish, "since"> | null>>;
  readonly databases?: Readonly<Record<string, Omit<DatabaseWish, "since"> | null>>;
  readonly drift?: "correct" | "report";
}

/** The declaration after a change, as of `revision`. What is empty is absent; null: nothing is declared. */
export function changedDeclaration(
  present: DeclaredSpec | undefined,
  changes: DeclaredChanges,
  revision: number,
): DeclaredSpec | null {
  const roles = changed(present?.roles, changes.roles, revision);
  const databases = changed(present?.databases, changes.databases, revision);
  const drift = changes.drift ?? present?.drift ?? "correct";
  if (roles === null && databases === null && drift === "correct") return null;
  return {
    revision,
    ...(drift === "report" ? { drift } : {}),
    ...(roles === null ? {} : { roles }),
    ...(databases === null ? {} : { databases }),
  };
}

function changed<Wish extends object>(
  present: Readonly<Record<string, Wish & { readonly since: number }>> = {},
  changes: Readonly<Record<string, Wish | null>> = {},
  since: number,
): Readonly<Record<string, Wish & { readonly since: number }>> | null {
  const names = Object.keys(changes);
  if (names.length === 0) return Object.keys(present).length === 0 ? null : present;
  const after = new Map(Object.entries(present));
  // Thousands stay in their order where one of them changes.
  const isOrdered = names.every((name) => after.has(name));
  for (const name of names) {
    const wish = changes[name] ?? null;
    if (wish === null) after.delete(name);
    else after.set(name, { ...wish, since });
  }
  if (after.size === 0) return null;
  return Object.fromEntries(isOrdered ? after : [...after].sort(byName));
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** How many roles and databases are declared. */
export function countDeclared(declared: DeclaredSpec | null): number {
  return Object.keys(declared?.roles ?? {}).length + Object.keys(declared?.databases ?? {}).length;
}

/** The wish for a role; a role may be called `constructor`. */
export function wishOfRole(declared: DeclaredSpec | undefined, name: string): RoleWish | null {
  const roles = declared?.roles ?? {};
  return Object.hasOwn(roles, name) ? (roles[name] ?? null) : null;
}

/** The wish for a database. */
export function wishOfDatabase(declared: DeclaredSpec | undefined, name: string): DatabaseWish | null {
  const databases = declared?.databases ?? {};
  return Object.hasOwn(databases, name) ? (databases[name] ?? null) : null;
}

/** What has to be read in a database, so that what is declared there can be held against it. */
export interface InsideQuestion {
  /** Of which it is wanted to know whether the host has them. */
  readonly extensions: readonly string[];
  /** Of whose objects privileges are wanted. */
  readonly schemas: readonly string[];
  /** Roles of which it is wanted to know what others get of what they make. */
  readonly creators: readonly string[];
  /** Schemas whose tables' columns count: there are many of them. */
  readonly columnsIn: readonly string[];
}

/** Databases into which one has to look: something is wanted inside. */
export function insideQuestions({ databases = {} }: DeclaredSpec): ReadonlyMap<string, InsideQuestion> {
  return new Map(
    Object.entries(databases).flatMap(([name, { extensions, schemas, defaultPrivileges }]) => {
      if (extensions === undefined && schemas === undefined && defaultPrivileges === undefined) return [];
      const wishes = Object.entries(schemas ?? {});
      const creators = wishes.flatMap(([, wish]) => Object.keys(wish?.defaultPrivileges ?? {}));
      const question = {
        extensions: Object.keys(extensions ?? {}),
        schemas: wishes.flatMap(([schema, wish]) =>
          MADE_KINDS.some((kind) => wish?.[kind] !== undefined) ? [schema] : [],
        ),
        creators: [...new Set([...Object.keys(defaultPrivileges ?? {}), ...creators])],
        columnsIn: wishes.flatMap(([schema, wish]) => (wish?.columns === undefined ? [] : [schema])),
      };
      return [[name, question] as const];
    }),
  );
}
