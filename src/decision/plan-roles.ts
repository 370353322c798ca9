/** What is to be done so that roles are as declared. Pure. */
import type {
  CatalogStatement,
  DeclaredProblem,
  ObservedCatalog,
  ObservedMembership,
  ObservedRole,
  RoleAttributes,
} from "../cluster/catalog.ts";
import {
  type DeclaredSpec,
  ROLE_FLAGS,
  type RoleSettings,
  type RoleWish,
  wishOfDatabase,
  wishOfRole,
} from "../cluster/declared.ts";
import { isSameSetting } from "../cluster/setting-list.ts";
import type { CatalogStep } from "./catalog-step.ts";
import { type RoleSubject, subjectsOf, whyForeign } from "./plan-logins.ts";
import { powerfulRoles } from "./powerful-roles.ts";

interface RolePlan {
  readonly attributes: readonly CatalogStep[];
  readonly memberships: readonly CatalogStep[];
  readonly settings: readonly CatalogStep[];
  readonly drops: readonly CatalogStep[];
  readonly impossible: readonly DeclaredProblem[];
}

/** The grantor of whatever guacamole grants (from PostgreSQL 16 on there may be others'). */
const GRANTORS_FROM = 16;

/** What is to be done so that roles are as declared. */
export function planRoles(declared: DeclaredSpec, observed: ObservedCatalog): RolePlan {
  const wishes = Object.entries(declared.roles ?? {});
  const powerful = powerfulRoles(observed, declared.roles);
  const isKnown = (name: string) => {
    const wish = wishOfRole(declared, name);
    return wish === null ? observed.roles.has(name) : wish.isAbsent !== true;
  };
  const hasDatabase = (name: string) => {
    const wish = wishOfDatabase(declared, name);
    return wish === null ? observed.databases.has(name) : wish.isAbsent !== true;
  };
  const impossible: DeclaredProblem[] = [];
  const attributes: CatalogStep[] = [];
  const memberships: CatalogStep[] = [];
  const settings: CatalogStep[] = [];
  const drops: CatalogStep[] = [];
  for (const [item, wish] of wishes) {
    const subjects = subjectsOf(item, wish, observed);
    const why = firstOf(
      subjects,
      (subject) =>
        whyForeign(subject, observed) ??
        whyImpossible({
          ...subject,
          powerful,
          isKnown,
          hasDatabase: isSaid(subject) ? hasDatabase : anywhere,
        }),
    );
    if (why !== null) {
      impossible.push({ kind: "role", name: item, state: "impossible", reason: why });
      continue;
    }
    for (const subject of subjects) {
      const role = observed.roles.get(subject.name);
      if (subject.wish.isAbsent === true) {
        if (role !== undefined)
          drops.push(step(subject, { kind: "drop-role", role: subject.name }, "it exists"));
        continue;
      }
      attributes.push(...attributeSteps(subject, role));
      memberships.push(...membershipSteps(subject, role, observed.major));
      settings.push(...settingSteps(subject, role));
    }
  }
  return { attributes, memberships, settings, drops, impossible };
}

function firstOf<T>(all: readonly T[], find: (each: T) => string | null): string | null {
  for (const each of all) {
    const found = find(each);
    if (found !== null) return found;
  }
  return null;
}

/** What a login has of its role is asked of that. */
function isSaid({ item, name }: RoleSubject): boolean {
  return item === name;
}

function anywhere(): boolean {
  return true;
}

interface Wished {
  readonly name: string;
  readonly wish: RoleWish;
  readonly powerful: ReadonlySet<string>;
  readonly isKnown: (name: string) => boolean;
  readonly hasDatabase: (name: string) => boolean;
}

function whyImpossible({ name, wish, powerful, isKnown, hasDatabase }: Wished): string | null {
  const joined = Object.entries(wish.memberOf ?? {}).flatMap(([role, membership]) =>
    membership === "none" ? [] : [role],
  );
  const missing = joined.find((role) => !isKnown(role));
  if (missing !== undefined) return `There is no role ${missing}: declare it, or make it.`;
  const nowhere = Object.keys(wish.databaseSettings ?? {}).find((each) => !hasDatabase(each));
  if (nowhere !== undefined) return `There is no database ${nowhere}.`;
  if (wish.isTrusted === true) return null;
  if (powerful.has(name))
    return "On the server this role is a superuser, or can become as powerful as one: only a token of scope 'admin' may declare it.";
  const guarded = joined.find((role) => powerful.has(role));
  return guarded === undefined
    ? null
    : `${guarded} is as powerful as a superuser: only a token of scope 'admin' may make others its members.`;
}

function attributeSteps(subject: RoleSubject, role: ObservedRole | undefined): readonly CatalogStep[] {
  const { name, wish } = subject;
  const { connectionLimit, validUntil, password } = wish;
  const flags = ROLE_FLAGS.filter((flag) => wish[flag] !== undefined && wish[flag] !== role?.[flag]);
  const attributes: RoleAttributes = {
    ...Object.fromEntries(flags.map((flag) => [flag, wish[flag]])),
    ...(connectionLimit === undefined || connectionLimit === role?.connectionLimit
      ? {}
      : { connectionLimit }),
    ...(validUntil === undefined || validUntil === role?.validUntil ? {} : { validUntil }),
    ...(password === undefined || password === role?.password ? {} : { password }),
  };
  if (role === undefined)
    return [step(subject, { kind: "create-role", role: name, attributes }, "it is missing")];
  const named = Object.keys(attributes);
  if (named.length === 0) return [];
  return [step(subject, { kind: "alter-role", role: name, attributes }, named.join(", "))];
}

function membershipSteps(
  subject: RoleSubject,
  role: ObservedRole | undefined,
  major: number,
): readonly CatalogStep[] {
  const { name, wish } = subject;
  return Object.entries(wish.memberOf ?? {}).flatMap(([group, membership]) => {
    const present = (role?.memberOf ?? []).filter((each) => each.role === group);
    const revoke = (isAdminOnly: boolean) => (each: ObservedMembership) =>
      step(
        subject,
        {
          kind: "revoke-role",
          role: group,
          member: name,
          grantor: major >= GRANTORS_FROM ? each.grantor : null,
          isAdminOnly,
        },
        `memberOf ${group}`,
      );
    if (membership === "none") return present.map(revoke(false));
    const admins = present.filter(({ isAdmin }) => isAdmin);
    const isAdmin = membership === "admin";
    if (!isAdmin && admins.length > 0) return admins.map(revoke(true));
    if (isAdmin ? admins.length > 0 : present.length > 0) return [];
    return [step(subject, { kind: "grant-role", role: group, member: name, isAdmin }, `memberOf ${group}`)];
  });
}

const NO_SETTINGS: ReadonlyMap<string, string> = new Map();

function settingSteps(subject: RoleSubject, role: ObservedRole | undefined): readonly CatalogStep[] {
  const { name, wish } = subject;
  const in_ = (database: string | null, wanted: RoleSettings, present: ReadonlyMap<string, string>) =>
    Object.entries(wanted).flatMap(([parameter, value]) => {
      const now = present.get(parameter) ?? null;
      const isSame = value === null || now === null ? value === now : isSameSetting(parameter, value, now);
      if (isSame) return [];
      const what = database === null ? `settings ${parameter}` : `settings ${parameter} in ${database}`;
      return [step(subject, { kind: "set-role", role: name, database, name: parameter, value }, what)];
    });
  return [
    ...in_(null, wish.settings ?? {}, role?.settings ?? NO_SETTINGS),
    ...Object.entries(wish.databaseSettings ?? {}).flatMap(([database, settings]) =>
      in_(database, settings, role?.databaseSettings.get(database) ?? NO_SETTINGS),
    ),
  ];
}

function step({ item, name, dueAt }: RoleSubject, statement: CatalogStatement, what: string): CatalogStep {
  return {
    item: { kind: "role", name: item },
    statement,
    what: name === item ? what : `${name}: ${what}`,
    ...(dueAt === undefined ? {} : { dueAt }),
  };
}
