import type { ObservedCatalog } from "../cluster/catalog.ts";
import { type DeclaredSpec, POWERFUL_ROLES, POWERS } from "../cluster/declared.ts";
import { loginName } from "../cluster/login-pair.ts";

/** Those that can do what a superuser can, or are to, by themselves or by what they are members of. */
export function powerfulRoles(
  { roles }: ObservedCatalog,
  wishes: DeclaredSpec["roles"] = {},
): ReadonlySet<string> {
  const found = new Set(POWERFUL_ROLES);
  const members = new Map<string, string[]>();
  const join = (group: string, name: string) => {
    const all = members.get(group);
    if (all === undefined) members.set(group, [name]);
    else all.push(name);
  };
  for (const [name, role] of roles) {
    if (POWERS.some((power) => role[power])) found.add(name);
    for (const { role: group } of role.memberOf) join(group, name);
  }
  for (const [name, wish] of Object.entries(wishes)) {
    if (wish.logins !== undefined)
      for (const login of ["a", "b"] as const) join(name, loginName(name, login));
    if (wish.isTrusted !== true) continue;
    if (POWERS.some((power) => wish[power] === true)) found.add(name);
    for (const [group, membership] of Object.entries(wish.memberOf ?? {}))
      if (membership !== "none") join(group, name);
  }
  const queue = [...found];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    for (const member of members.get(next) ?? []) {
      if (found.has(member)) continue;
      found.add(member);
      queue.push(member);
    }
  }
  return found;
}
