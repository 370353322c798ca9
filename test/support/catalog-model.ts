/** Catalogs of a server that is none: what each statement makes of them. */
import type { CatalogStatement, ObservedCatalog, ObservedRole } from "../../src/cluster/catalog.ts";

export const BLANK: ObservedRole = {
  login: false,
  superuser: false,
  createdb: false,
  createrole: false,
  replication: false,
  bypassrls: false,
  inherit: true,
  connectionLimit: -1,
  validUntil: null,
  password: null,
  memberOf: [],
  settings: new Map(),
  databaseSettings: new Map(),
};

/** What PostgreSQL would make of a statement. */
export function carriedOut(observed: ObservedCatalog, statement: CatalogStatement): ObservedCatalog {
  const roles = new Map(observed.roles);
  const change = (name: string, over: (role: ObservedRole) => Partial<ObservedRole>) => {
    const role = roles.get(name);
    if (role === undefined) throw new Error(`there is no role ${name}`);
    roles.set(name, { ...role, ...over(role) });
  };
  switch (statement.kind) {
    case "create-role":
      if (roles.has(statement.role)) throw new Error("it exists");
      roles.set(statement.role, { ...BLANK, ...statement.attributes });
      break;
    case "alter-role":
      change(statement.role, () => statement.attributes);
      break;
    case "drop-role":
      if (!roles.delete(statement.role)) throw new Error("it does not exist");
      for (const name of roles.keys())
        change(name, ({ memberOf }) => ({
          memberOf: memberOf.filter(({ role }) => role !== statement.role),
        }));
      break;
    case "grant-role":
      if (!roles.has(statement.role)) throw new Error("no such group");
      change(statement.member, ({ memberOf }) => ({
        memberOf: [
          ...memberOf.filter(({ role, grantor }) => role !== statement.role || grantor !== "postgres"),
          { role: statement.role, isAdmin: statement.isAdmin, grantor: "postgres" },
        ],
      }));
      break;
    case "revoke-role":
      change(statement.member, ({ memberOf }) => ({
        memberOf: memberOf.flatMap((each) => {
          const isMeant = each.role === statement.role && each.grantor === statement.grantor;
          return !isMeant ? [each] : statement.isAdminOnly ? [{ ...each, isAdmin: false }] : [];
        }),
      }));
      break;
    case "set-role":
      change(statement.role, ({ settings, databaseSettings }) => {
        const present = statement.database === null ? settings : databaseSettings.get(statement.database);
        const after = new Map(present);
        if (statement.value === null) after.delete(statement.name);
        else after.set(statement.name, statement.value);
        return statement.database === null
          ? { settings: after }
          : { databaseSettings: new Map(databaseSettings).set(statement.database, after) };
      });
      break;
  }
  return { ...observed, roles };
}
