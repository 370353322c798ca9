/** A role whose logins take turns, as the roles that PostgreSQL knows (`roadmap/0013-login-pairs.md`). Pure. */
import type { ObservedCatalog, ObservedRole } from "../cluster/catalog.ts";
import type { Login, LoginPair, RoleSettings, RoleWish } from "../cluster/declared.ts";
import { loginName, previousState } from "../cluster/login-pair.ts";

/** One role of the server, and what is wanted of it. */
export interface RoleSubject {
  /** Of the declared role that asks for it. */
  readonly item: string;
  readonly name: string;
  readonly wish: RoleWish;
  /** It came to be wanted at this time, by PostgreSQL's clock, and nobody had to say so. */
  readonly dueAt?: string;
}

/** A declared role as the roles that it needs on the server: most need just themselves. */
export function subjectsOf(item: string, wish: RoleWish, observed: ObservedCatalog): readonly RoleSubject[] {
  const { logins, ...rest } = wish;
  if (logins === undefined) return [{ item, name: item, wish }];
  if (wish.isAbsent === true)
    return [...usedNames(item, logins), item].map((name) => ({ item, name, wish: rest }));
  const end = previousState(logins, observed.now);
  const ended = { ...ENDED, since: wish.since, ...trustOf(wish) };
  const dueAt = logins.previous.until;
  const subjects: RoleSubject[] = [];
  if (logins.previous.login !== "self") subjects.push({ item, name: item, wish: { ...rest, ...ENDED } });
  else if (end === "ended") subjects.push({ item, name: item, wish: { ...rest, ...ENDED }, dueAt });
  else subjects.push({ item, name: item, wish: { ...rest, ...good(logins, "self") } });
  const owner = observed.roles.get(item);
  for (const login of ["a", "b"] as const) {
    const name = loginName(item, login);
    const isPrevious = login === logins.previous.login;
    if (login === logins.newest || (isPrevious && end === "overlapping"))
      subjects.push({ item, name, wish: loginWish(item, { ...rest, ...good(logins, login) }, owner) });
    // Nobody needs it any more: where somebody dropped it, it stays away.
    else if (isPrevious && observed.roles.has(name)) subjects.push({ item, name, wish: ended, dueAt });
  }
  return subjects;
}

/** Why a role of this name is somebody else's, in a sentence; null: there is none, or it is a login of this role. */
export function whyForeign({ item, name, wish }: RoleSubject, { roles }: ObservedCatalog): string | null {
  const present = roles.get(name);
  if (name === item || present === undefined || wish.password == null) return null;
  const isOurs = present.password === wish.password || present.memberOf.some(({ role }) => role === item);
  return isOurs
    ? null
    : `There is a role ${name} that is no member of ${item}: rename or drop it, or GRANT ${item} to it where it is meant.`;
}

const ENDED = { login: false, password: null } as const;

function good(logins: LoginPair, login: Login) {
  const password = logins[`${login}Verifier` as const];
  return {
    validUntil: login === logins.newest ? null : logins.previous.until,
    ...(password === undefined ? {} : { password }),
  };
}

/** Begins its sessions as the role itself, with everything that those of the role begin with. */
function loginWish(role: string, wish: RoleWish, owner: ObservedRole | undefined): RoleWish {
  const { since, validUntil, password, settings, databaseSettings = {} } = wish;
  const databases: Record<string, RoleSettings> = {};
  for (const [name, each] of owner?.databaseSettings ?? []) databases[name] = Object.fromEntries(each);
  for (const [name, each] of Object.entries(databaseSettings))
    databases[name] = { ...databases[name], ...each };
  return {
    since,
    ...trustOf(wish),
    login: true,
    inherit: true,
    connectionLimit: wish.connectionLimit ?? owner?.connectionLimit ?? -1,
    ...(validUntil === undefined ? {} : { validUntil }),
    ...(password === undefined ? {} : { password }),
    memberOf: { [role]: "member" },
    settings: { ...Object.fromEntries(owner?.settings ?? []), ...settings, role },
    databaseSettings: databases,
  };
}

function trustOf({ isTrusted }: RoleWish): { readonly isTrusted?: true } {
  return isTrusted === true ? { isTrusted } : {};
}

function usedNames(role: string, { newest, previous }: LoginPair): readonly string[] {
  const used: readonly Login[] = [newest, previous.login];
  return used.filter((login) => login !== "self").map((login) => loginName(role, login));
}
