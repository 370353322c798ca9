/** Catalogs of a server that is none: what each statement makes of them. */
import type {
  CatalogStatement,
  DatabaseStatement,
  InsideStatement,
  ObjectName,
  ObservedCatalog,
  ObservedDatabase,
  ObservedInside,
  ObservedPrivileges,
  ObservedRole,
  RoleStatement,
} from "../../src/cluster/catalog.ts";

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

export const NEW_DATABASE: ObservedDatabase = {
  owner: "postgres",
  encoding: "UTF8",
  locale: "C.UTF-8",
  connectionLimit: -1,
  settings: new Map(),
  privileges: new Map([["public", new Set(["connect", "temporary"])]]),
  inside: null,
};

/** A database in which nothing is. */
export const NOTHING_INSIDE: ObservedInside = {
  extensions: new Map(),
  available: new Map(),
  schemas: new Map(),
  objects: new Map(),
  defaults: new Map(),
};

/** What PostgreSQL would make of a statement. */
export function carriedOut(observed: ObservedCatalog, statement: CatalogStatement): ObservedCatalog {
  return isOfDatabase(statement) ? inDatabase(observed, statement) : ofRole(observed, statement);
}

function ofRole(observed: ObservedCatalog, statement: RoleStatement): ObservedCatalog {
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

type OfDatabase = DatabaseStatement | InsideStatement;

function isOfDatabase(statement: CatalogStatement): statement is OfDatabase {
  return "inside" in statement || statement.kind.endsWith("-database");
}

function inDatabase(observed: ObservedCatalog, statement: OfDatabase): ObservedCatalog {
  const databases = new Map(observed.databases);
  const name = "inside" in statement ? statement.inside : statement.database;
  const present = databases.get(name);
  if (statement.kind === "create-database") {
    if (present !== undefined) throw new Error("it exists");
    const { owner = "postgres", encoding = "UTF8", locale = "C.UTF-8" } = statement;
    const inside: ObservedInside = { ...NOTHING_INSIDE, available: AVAILABLE };
    return {
      ...observed,
      databases: databases.set(name, { ...NEW_DATABASE, owner, encoding, locale, inside }),
    };
  }
  if (present === undefined) throw new Error(`there is no database ${name}`);
  if (statement.kind === "drop-database") {
    databases.delete(name);
    return { ...observed, databases };
  }
  const after =
    "inside" in statement
      ? { ...present, inside: inInside(present.inside, statement) }
      : { ...present, ...outside(present, statement) };
  return { ...observed, databases: databases.set(name, after) };
}

/** The extensions that the host has. */
export const AVAILABLE: ObservedInside["available"] = new Map([
  ["hstore", { isTrusted: true }],
  ["file_fdw", { isTrusted: false }],
]);

function outside(
  present: ObservedDatabase,
  statement: Exclude<
    OfDatabase,
    { readonly inside: string } | { readonly kind: "create-database" | "drop-database" }
  >,
): Partial<ObservedDatabase> {
  switch (statement.kind) {
    case "own-database":
      return { owner: statement.owner };
    case "limit-database":
      return { connectionLimit: statement.connectionLimit };
    case "set-database": {
      const settings = new Map(present.settings);
      if (statement.value === null) settings.delete(statement.name);
      else settings.set(statement.name, statement.value);
      return { settings };
    }
    case "grant-database":
    case "revoke-database":
      return { privileges: privilegesAfter(present.privileges, statement) };
  }
}

function privilegesAfter(
  present: ObservedPrivileges,
  {
    kind,
    role,
    privileges,
  }: { readonly kind: string; readonly role: string; readonly privileges: readonly string[] },
): ObservedPrivileges {
  const own = new Set(present.get(role));
  for (const each of privileges)
    if (kind.startsWith("grant")) own.add(each);
    else own.delete(each);
  return new Map(present).set(role, own);
}

function inInside(
  present: ObservedInside | null,
  statement: Extract<OfDatabase, { readonly inside: string }>,
): ObservedInside {
  if (present === null) throw new Error("nobody looked");
  const extensions = new Map(present.extensions);
  const schemas = new Map(present.schemas);
  if (statement.kind === "grant-objects" || statement.kind === "revoke-objects")
    return { ...present, objects: withObjects(present.objects, statement) };
  if (statement.kind === "grant-default" || statement.kind === "revoke-default")
    return { ...present, defaults: withDefaults(present.defaults, statement) };
  if ("schema" in statement && "owner" in statement)
    schemas.set(statement.schema, {
      owner: statement.owner ?? "postgres",
      privileges: schemas.get(statement.schema)?.privileges ?? new Map(),
    });
  switch (statement.kind) {
    case "drop-schema":
      schemas.delete(statement.schema);
      break;
    case "grant-schema":
    case "revoke-schema": {
      const schema = schemas.get(statement.schema);
      if (schema === undefined) throw new Error("no such schema");
      schemas.set(statement.schema, { ...schema, privileges: privilegesAfter(schema.privileges, statement) });
      break;
    }
    case "create-extension":
      if (extensions.has(statement.extension)) throw new Error("it is there");
      extensions.set(statement.extension, {
        version: statement.version ?? "1.0",
        schema: statement.schema ?? "public",
      });
      break;
    case "update-extension":
    case "move-extension": {
      const extension = extensions.get(statement.extension);
      if (extension === undefined) throw new Error("no such extension");
      const over =
        statement.kind === "update-extension" ? { version: statement.version } : { schema: statement.schema };
      extensions.set(statement.extension, { ...extension, ...over });
      break;
    }
    case "drop-extension":
      extensions.delete(statement.extension);
      break;
  }
  return { ...present, extensions, schemas };
}

function withObjects(
  present: ObservedInside["objects"],
  statement: Extract<InsideStatement, { readonly kind: "grant-objects" | "revoke-objects" }>,
): ObservedInside["objects"] {
  const all = present.get(statement.schema);
  if (all === undefined) throw new Error("there is nothing in it");
  const isMeant = ({ name, detail }: ObjectName) =>
    statement.names.some((each) => each.name === name && each.detail === detail);
  const found = all[statement.objects].filter(isMeant);
  if (found.length !== statement.names.length) throw new Error("there is no such object");
  const after = all[statement.objects].map((each) =>
    isMeant(each) ? { ...each, privileges: privilegesAfter(each.privileges, statement) } : each,
  );
  // As PostgreSQL does: what is taken from a table is taken from its columns.
  const isOfTable = statement.objects === "tables" && statement.kind === "revoke-objects";
  const columns = all.columns.map((each) =>
    isOfTable && statement.names.some(({ name }) => name === each.name)
      ? { ...each, privileges: privilegesAfter(each.privileges, statement) }
      : each,
  );
  return new Map(present).set(statement.schema, { ...all, columns, [statement.objects]: after });
}

function withDefaults(
  present: ObservedInside["defaults"],
  statement: Extract<InsideStatement, { readonly kind: "grant-default" | "revoke-default" }>,
): ObservedInside["defaults"] {
  const { creator, schema, objects } = statement;
  const all = present.get(creator);
  if (all === undefined) throw new Error("nobody asked");
  if (schema === null) {
    const everywhere = { ...all.everywhere, [objects]: privilegesAfter(all.everywhere[objects], statement) };
    return new Map(present).set(creator, { ...all, everywhere });
  }
  const own = all.schemas.get(schema) ?? {};
  const after = { ...own, [objects]: privilegesAfter(own[objects] ?? new Map(), statement) };
  return new Map(present).set(creator, { ...all, schemas: new Map(all.schemas).set(schema, after) });
}
