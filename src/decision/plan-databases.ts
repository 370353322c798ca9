/** What is to be done so that databases, and what is in them, are as declared. Pure. */
import type {
  DatabaseStatement,
  DeclaredProblem,
  InsideStatement,
  ObservedCatalog,
  ObservedDatabase,
  ObservedInside,
  ObservedPrivileges,
} from "../cluster/catalog.ts";
import {
  type DatabaseWish,
  type DeclaredSpec,
  EVERYBODY,
  type ExtensionWish,
  OWN_DATABASES,
  type SchemaWish,
  wishOfRole,
} from "../cluster/declared.ts";
import { MADE_KINDS, OBJECT_KINDS } from "../cluster/grants.ts";
import { isSameSetting } from "../cluster/setting-list.ts";
import type { CatalogStep } from "./catalog-step.ts";
import { planGrants } from "./plan-grants.ts";
import { powerfulRoles } from "./powerful-roles.ts";

interface DatabasePlan {
  readonly creations: readonly CatalogStep[];
  readonly changes: readonly CatalogStep[];
  readonly inside: readonly CatalogStep[];
  readonly drops: readonly CatalogStep[];
  readonly impossible: readonly DeclaredProblem[];
}

/** What is to be done so that databases are as declared; what is in one that has to be made first comes with the next plan. */
export function planDatabases(declared: DeclaredSpec, observed: ObservedCatalog): DatabasePlan {
  const creations: CatalogStep[] = [];
  const changes: CatalogStep[] = [];
  const inside: CatalogStep[] = [];
  const drops: CatalogStep[] = [];
  const impossible: DeclaredProblem[] = [];
  let found: ReadonlySet<string> | null = null;
  const powerful = () => {
    found ??= powerfulRoles(observed, declared.roles);
    return found;
  };
  for (const [name, wish] of Object.entries(declared.databases ?? {})) {
    const present = observed.databases.get(name);
    const why = whyImpossible({ name, wish, present, declared, observed });
    if (why !== null) {
      impossible.push({ kind: "database", name, state: "impossible", reason: why });
      continue;
    }
    if (wish.isAbsent === true) {
      if (present !== undefined)
        drops.push(step(name, { kind: "drop-database", database: name }, "it exists"));
      continue;
    }
    if (present === undefined) creations.push(creation(name, wish));
    changes.push(...changeSteps(name, wish, present));
    if (present === undefined || present.inside === null) continue;
    const grants = planGrants(wish, {
      database: name,
      inside: present.inside,
      major: observed.major,
      isTrusted: wish.isTrusted === true,
      isPowerful: (role) => powerful().has(role),
    });
    const granted = grants.steps.map(({ statement, what }) => within(name, statement, what));
    inside.push(...insideSteps(name, wish, present.inside, granted));
    const reasons = grants.unmet.map((reason) => ({ kind: "database" as const, name, reason }));
    impossible.push(...reasons.map((each) => ({ ...each, state: "impossible" as const })));
  }
  return { creations, changes, inside, drops, impossible };
}

interface Wished {
  readonly name: string;
  readonly wish: DatabaseWish;
  readonly present: ObservedDatabase | undefined;
  readonly declared: DeclaredSpec;
  readonly observed: ObservedCatalog;
}

function whyImpossible({ name, wish, present, declared, observed }: Wished): string | null {
  if (OWN_DATABASES.has(name) && wish.isTrusted !== true)
    return "Guacamole, or every new database, would meet it: only a token of scope 'admin' may declare it.";
  const missing = rolesNamed(wish).find((role) => !isKnown(role, declared, observed));
  if (missing !== undefined) return `There is no role ${missing}: declare it, or make it.`;
  if (present === undefined) return null;
  const { encoding, locale } = wish;
  if (encoding !== undefined && encoding.toUpperCase() !== present.encoding.toUpperCase())
    return `Its encoding is ${present.encoding}, and is so for ever: dump it, and make another.`;
  if (locale !== undefined && locale !== present.locale)
    return `Its locale is ${present.locale}, and is so for ever: dump it, and make another.`;
  return present.inside === null ? null : whyNotExtension(wish, present.inside);
}

function whyNotExtension(
  { extensions = {}, isTrusted }: DatabaseWish,
  inside: ObservedInside,
): string | null {
  for (const [name, wish] of Object.entries(extensions)) {
    if (wish === null || inside.extensions.has(name)) continue;
    const available = inside.available.get(name);
    if (available === undefined)
      return `The primary's host has no extension ${name}: install its package on every host.`;
    if (!available.isTrusted && isTrusted !== true)
      return `PostgreSQL does not call the extension ${name} trusted: only a token of scope 'admin' may declare it.`;
  }
  return null;
}

function rolesNamed({
  owner,
  privileges = {},
  schemas = {},
  defaultPrivileges,
}: DatabaseWish): readonly string[] {
  const ofSchemas = Object.values(schemas).flatMap((wish) => [
    ...(wish?.owner === undefined ? [] : [wish.owner]),
    ...namedIn(wish?.privileges),
    ...OBJECT_KINDS.flatMap((kind) => Object.values(wish?.[kind] ?? {}).flatMap(namedIn)),
    ...namedInDefaults(wish?.defaultPrivileges),
  ]);
  return [
    ...(owner === undefined ? [] : [owner]),
    ...namedIn(privileges),
    ...ofSchemas,
    ...namedInDefaults(defaultPrivileges),
  ];
}

function namedInDefaults(defaults: DatabaseWish["defaultPrivileges"] = {}): readonly string[] {
  return Object.entries(defaults).flatMap(([creator, grants]) => [
    creator,
    ...MADE_KINDS.flatMap((kind) => namedIn(grants[kind])),
  ]);
}

/** Whoever is to have nothing need not be there. */
function namedIn(privileges: Readonly<Record<string, readonly string[]>> = {}): readonly string[] {
  return Object.entries(privileges).flatMap(([role, wanted]) =>
    role === EVERYBODY || wanted.length === 0 ? [] : [role],
  );
}

function isKnown(role: string, declared: DeclaredSpec, { roles }: ObservedCatalog): boolean {
  const wish = wishOfRole(declared, role);
  return wish === null ? roles.has(role) : wish.isAbsent !== true;
}

function creation(name: string, { owner, template, encoding, locale }: DatabaseWish): CatalogStep {
  // Another encoding or locale than the usual template's needs the one that nothing is in.
  const from = template ?? (encoding === undefined && locale === undefined ? undefined : "template0");
  const statement: DatabaseStatement = {
    kind: "create-database",
    database: name,
    ...(owner === undefined ? {} : { owner }),
    ...(from === undefined ? {} : { template: from }),
    ...(encoding === undefined ? {} : { encoding }),
    ...(locale === undefined ? {} : { locale }),
  };
  return step(name, statement, "it is missing");
}

/** Where it is missing, of one that is as a new one is. */
function changeSteps(
  database: string,
  wish: DatabaseWish,
  present: ObservedDatabase | undefined,
): readonly CatalogStep[] {
  const { owner, connectionLimit } = wish;
  const steps: CatalogStep[] = [];
  if (owner !== undefined && present !== undefined && owner !== present.owner)
    steps.push(step(database, { kind: "own-database", database, owner }, "owner"));
  if (connectionLimit !== undefined && connectionLimit !== (present?.connectionLimit ?? -1))
    steps.push(step(database, { kind: "limit-database", database, connectionLimit }, "connectionLimit"));
  for (const [name, value] of Object.entries(wish.settings ?? {})) {
    const now = present?.settings.get(name) ?? null;
    const isSame = value === null || now === null ? value === now : isSameSetting(name, value, now);
    if (!isSame)
      steps.push(step(database, { kind: "set-database", database, name, value }, `settings ${name}`));
  }
  // What everybody may do in a new one is seen once it is there.
  if (present === undefined) return steps;
  const granted = differences(wish.privileges ?? {}, present.privileges);
  for (const { role, missing, surplus } of granted) {
    const what = `privileges of ${role}`;
    if (missing.length > 0)
      steps.push(step(database, { kind: "grant-database", database, role, privileges: missing }, what));
    if (surplus.length > 0)
      steps.push(step(database, { kind: "revoke-database", database, role, privileges: surplus }, what));
  }
  return steps;
}

function differences(wanted: Readonly<Record<string, readonly string[]>>, present: ObservedPrivileges) {
  return Object.entries(wanted).map(([role, privileges]) => {
    const now = present.get(role) ?? NO_PRIVILEGES;
    return {
      role,
      missing: privileges.filter((each) => !now.has(each)),
      surplus: [...now].filter((each) => !privileges.includes(each)).sort(),
    };
  });
}

const NO_PRIVILEGES: ReadonlySet<string> = new Set();

/** Schemas before the extensions that lie in them; what goes, goes the other way round. */
function insideSteps(
  database: string,
  wish: DatabaseWish,
  inside: ObservedInside,
  granted: readonly CatalogStep[],
): readonly CatalogStep[] {
  const schemas = Object.entries(wish.schemas ?? {});
  const extensions = Object.entries(wish.extensions ?? {});
  const wanted = schemas.flatMap(([name, each]) =>
    each === null ? [] : schemaSteps(database, name, each, inside),
  );
  const installed = extensions.flatMap(([name, each]) =>
    each === null ? [] : extensionSteps(database, name, each, inside),
  );
  const goneExtensions = extensions.flatMap(([extension, each]) =>
    each === null && inside.extensions.has(extension)
      ? [within(database, { kind: "drop-extension", inside: database, extension }, `extension ${extension}`)]
      : [],
  );
  const goneSchemas = schemas.flatMap(([schema, each]) =>
    each === null && inside.schemas.has(schema)
      ? [within(database, { kind: "drop-schema", inside: database, schema }, `schema ${schema}`)]
      : [],
  );
  return [...wanted, ...installed, ...granted, ...goneExtensions, ...goneSchemas];
}

function schemaSteps(
  inside: string,
  schema: string,
  { owner, privileges = {} }: SchemaWish,
  observed: ObservedInside,
): readonly CatalogStep[] {
  const present = observed.schemas.get(schema);
  const what = `schema ${schema}`;
  const steps: CatalogStep[] = [];
  if (present === undefined)
    steps.push(within(inside, { kind: "create-schema", inside, schema, owner: owner ?? null }, what));
  else if (owner !== undefined && owner !== present.owner)
    steps.push(within(inside, { kind: "own-schema", inside, schema, owner }, what));
  for (const { role, missing, surplus } of differences(privileges, present?.privileges ?? new Map())) {
    if (missing.length > 0)
      steps.push(within(inside, { kind: "grant-schema", inside, schema, role, privileges: missing }, what));
    if (surplus.length > 0)
      steps.push(within(inside, { kind: "revoke-schema", inside, schema, role, privileges: surplus }, what));
  }
  return steps;
}

function extensionSteps(
  inside: string,
  extension: string,
  { schema, version }: ExtensionWish,
  observed: ObservedInside,
): readonly CatalogStep[] {
  const present = observed.extensions.get(extension);
  const what = `extension ${extension}`;
  if (present === undefined) {
    const where = { schema: schema ?? null, version: version ?? null };
    return [within(inside, { kind: "create-extension", inside, extension, ...where }, what)];
  }
  const steps: CatalogStep[] = [];
  if (version !== undefined && version !== present.version)
    steps.push(within(inside, { kind: "update-extension", inside, extension, version }, what));
  if (schema !== undefined && schema !== present.schema)
    steps.push(within(inside, { kind: "move-extension", inside, extension, schema }, what));
  return steps;
}

function step(name: string, statement: DatabaseStatement, what: string): CatalogStep {
  return { item: { kind: "database", name }, statement, what };
}

function within(name: string, statement: InsideStatement, what: string): CatalogStep {
  return { item: { kind: "database", name }, statement, what };
}
