/** What is to be done so that roles may do with the objects in a database what is declared. Pure. */
import type {
  InsideStatement,
  ObjectName,
  ObservedInside,
  ObservedObject,
  ObservedPrivileges,
} from "../cluster/catalog.ts";
import { type DatabaseWish, EVERYBODY, type SchemaWish } from "../cluster/declared.ts";
import {
  type DefaultGrants,
  detailedKey,
  EVERY_OBJECT,
  type Grants,
  MADE_KINDS,
  OBJECT_KINDS,
  type ObjectGrants,
  type ObjectKind,
  type ObjectPrivilege,
} from "../cluster/grants.ts";

interface GrantPlan {
  readonly steps: readonly { readonly statement: InsideStatement; readonly what: string }[];
  /** Parts that cannot be, a sentence each: the others are done. */
  readonly unmet: readonly string[];
}

/** What else counts. */
export interface GrantContext {
  readonly database: string;
  readonly inside: ObservedInside;
  /** Of the server. */
  readonly major: number;
  readonly isTrusted: boolean;
  /** Whether a role can do what a superuser can. */
  readonly isPowerful: (role: string) => boolean;
}

/** `GRANT MAINTAIN`. */
const MAINTAIN_FROM = 17;
/** So many objects share a statement. */
const NAMES_MAX = 50;
/** So many are named in a sentence. */
const NAMES_TOLD = 5;
const ONLY_ADMIN = "only a token of scope 'admin' may declare it";
const NOUNS: Readonly<Record<ObjectKind, string>> = {
  tables: "table",
  sequences: "sequence",
  functions: "function",
  types: "type",
  columns: "column",
};

/** What is to be granted and taken back in a database, of objects that are there and of those to come. */
export function planGrants(wish: DatabaseWish, context: GrantContext): GrantPlan {
  const plans = Object.entries(wish.schemas ?? {}).flatMap(([schema, each]) => {
    if (each === null || !context.inside.schemas.has(schema)) return [];
    return [
      ...planInSchema(schema, each, context),
      ...Object.entries(each.defaultPrivileges ?? {}).map(([creator, grants]) =>
        planDefaults({ schema, creator, grants, above: wish.defaultPrivileges?.[creator] ?? {} }, context),
      ),
    ];
  });
  const everywhere = Object.entries(wish.defaultPrivileges ?? {}).map(([creator, grants]) =>
    planDefaults({ schema: null, creator, grants, above: {} }, context),
  );
  const all = [...plans, ...everywhere];
  return { steps: all.flatMap(({ steps }) => steps), unmet: all.flatMap(({ unmet }) => unmet) };
}

function planInSchema(schema: string, wish: SchemaWish, context: GrantContext): readonly GrantPlan[] {
  const plans: GrantPlan[] = [];
  for (const kind of OBJECT_KINDS) {
    const present = context.inside.objects.get(schema)?.[kind] ?? [];
    const left = kind === "columns" ? leftOfColumns(present, plans) : present;
    plans.push(planObjects({ schema, kind, wanted: wish[kind] ?? {}, present: left }, context));
  }
  return plans;
}

/** PostgreSQL takes from the columns what it takes from their table: it is granted anew where it is wanted. */
function leftOfColumns(
  columns: readonly ObservedObject[],
  plans: readonly GrantPlan[],
): readonly ObservedObject[] {
  const revoked = plans.flatMap(({ steps }) =>
    steps.flatMap(({ statement }) =>
      statement.kind === "revoke-objects" && statement.objects === "tables" ? [statement] : [],
    ),
  );
  return columns.map((column) => {
    const privileges = new Map(column.privileges);
    for (const { names, role, privileges: taken } of revoked)
      if (names.some(({ name }) => name === column.name))
        privileges.set(
          role,
          new Set([...(privileges.get(role) ?? [])].filter((each) => !taken.includes(each))),
        );
    return { ...column, privileges };
  });
}

interface ObjectsWish {
  readonly schema: string;
  readonly kind: ObjectKind;
  readonly wanted: ObjectGrants;
  readonly present: readonly ObservedObject[];
}

function planObjects({ schema, kind, wanted, present }: ObjectsWish, context: GrantContext): GrantPlan {
  const { database } = context;
  const unmet = new Set(missing(schema, kind, wanted, present));
  const groups = new Map<string, { readonly names: ObjectName[]; readonly change: Change }>();
  const dangerous = new Map<string, string[]>();
  for (const object of present) {
    for (const [role, asked] of grantsOf(object, wanted)) {
      const { possible, reason } = known(asked, context);
      if (reason !== null) unmet.add(reason);
      for (const change of changes(role, possible, object.privileges)) {
        const held = change.isGrant ? whyHeld(kind, object, change.privileges, context) : [];
        for (const each of held)
          dangerous.set(`${each} on ${NOUNS[kind]}`, [
            ...(dangerous.get(`${each} on ${NOUNS[kind]}`) ?? []),
            object.name,
          ]);
        const privileges = change.privileges.filter((each) => !held.includes(each));
        if (privileges.length === 0) continue;
        // A statement about columns is one about columns of one table.
        const table = kind === "columns" ? object.name : null;
        const key = JSON.stringify([role, change.isGrant, privileges, table]);
        const group = groups.get(key) ?? { names: [], change: { ...change, privileges } };
        group.names.push({ name: object.name, detail: object.detail });
        groups.set(key, group);
      }
    }
  }
  for (const [what, names] of dangerous)
    unmet.add(
      `${what} ${told([...new Set(names)])} in schema ${schema} gives its owner's power: ${ONLY_ADMIN}.`,
    );
  const steps = [...groups.values()].flatMap(({ names, change: { role, isGrant, privileges } }) =>
    chunks(names).map((some) => ({
      statement: {
        kind: isGrant ? ("grant-objects" as const) : ("revoke-objects" as const),
        inside: database,
        schema,
        objects: kind,
        names: some,
        role,
        privileges,
      },
      what: `privileges of ${role} on ${kind} in ${schema}: ${told(some.map(textOf))}`,
    })),
  );
  return { steps, unmet: [...unmet] };
}

/** What each role is to have of one object: what is said by its name counts more than what is said of all. */
function grantsOf(
  object: ObservedObject,
  wanted: ObjectGrants,
): ReadonlyMap<string, readonly ObjectPrivilege[]> {
  const { name } = object;
  const entries = Object.entries(wanted);
  const said = [
    ...entries.filter(([key]) => key === EVERY_OBJECT),
    ...entries.filter(([key]) => key === name),
    ...entries.filter(([key]) => isExactly(key, object)),
  ];
  return new Map(said.flatMap(([, grants]) => Object.entries(grants)));
}

function missing(
  schema: string,
  kind: ObjectKind,
  wanted: ObjectGrants,
  present: readonly ObservedObject[],
): readonly string[] {
  return Object.keys(wanted).flatMap((key) => {
    const isThere = present.some((object) => object.name === key || isExactly(key, object));
    if (key === EVERY_OBJECT || isThere) return [];
    const asked = detailedKey(key);
    const others = present.flatMap((object) =>
      object.detail !== null && asked.startsWith(`${object.name}(`) ? [textOf(object)] : [],
    );
    const hint = others.length === 0 ? "" : `; there is ${told(others)}`;
    return [`There is no ${NOUNS[kind]} ${key} in schema ${schema}${hint}.`];
  });
}

/** `total(integer)`, `orders(total)`, `orders`. */
function textOf({ name, detail }: ObjectName): string {
  return detail === null ? name : `${name}(${detail})`;
}

function isExactly(key: string, object: ObjectName): boolean {
  const text = textOf(object);
  return object.detail !== null && (key === text || detailedKey(key) === text);
}

/** Privileges of a function that give more than the function: what its owner can do. */
function whyHeld(
  kind: ObjectKind,
  { owner, isDangerous, privileges }: ObservedObject,
  granted: readonly ObjectPrivilege[],
  { isTrusted, isPowerful }: GrantContext,
): readonly ObjectPrivilege[] {
  if (isTrusted || !isPowerful(owner)) return [];
  // A trigger runs as whoever writes to the table, which its owner does.
  if (kind === "tables") return granted.filter((each) => each === "trigger");
  const isForAll = privileges.get(EVERYBODY)?.has("execute") === true;
  return kind === "functions" && isDangerous && !isForAll ? granted : [];
}

interface DefaultsWish {
  /** Null: in all of them. */
  readonly schema: string | null;
  readonly creator: string;
  readonly grants: DefaultGrants;
  /** What is wanted in all schemas. */
  readonly above: DefaultGrants;
}

function planDefaults({ schema, creator, grants, above }: DefaultsWish, context: GrantContext): GrantPlan {
  const { database, inside, isTrusted, isPowerful } = context;
  const present = inside.defaults.get(creator);
  // It is made before the next look.
  if (present === undefined) return { steps: [], unmet: [] };
  const where = schema === null ? "" : ` in schema ${schema}`;
  if (!isTrusted && isPowerful(creator))
    return {
      steps: [],
      unmet: [`What others get of what ${creator} makes${where} is a superuser's to say: ${ONLY_ADMIN}.`],
    };
  const unmet = new Set<string>();
  const steps = MADE_KINDS.flatMap((objects) =>
    Object.entries(grants[objects] ?? {}).flatMap(([role, asked]) => {
      const { possible, reason } = known(asked, context);
      if (reason !== null) unmet.add(reason);
      const everywhere = above[objects]?.[role] ?? [...(present.everywhere[objects].get(role) ?? [])];
      const kept = everywhere.filter((each) => !(possible as readonly string[]).includes(each));
      if (schema !== null && kept.length > 0)
        unmet.add(
          `${role} gets ${kept.join(", ")} of ${objects} that ${creator} makes in every schema, which is not taken away in ${schema} alone: declare it for the database.`,
        );
      const now =
        schema === null ? present.everywhere[objects] : (present.schemas.get(schema)?.[objects] ?? NONE);
      return changes(role, possible, now).map(({ isGrant, privileges }) => ({
        statement: {
          kind: isGrant ? ("grant-default" as const) : ("revoke-default" as const),
          inside: database,
          schema,
          creator,
          objects,
          role,
          privileges,
        },
        what: `privileges of ${role} on ${objects} that ${creator} makes${where}`,
      }));
    }),
  );
  return { steps, unmet: [...unmet] };
}

const NONE: ObservedPrivileges = new Map();

interface Change {
  readonly role: string;
  readonly isGrant: boolean;
  readonly privileges: readonly ObjectPrivilege[];
}

function changes(role: string, wanted: Grants[string], present: ObservedPrivileges): readonly Change[] {
  const now = present.get(role) ?? new Set();
  const asked: readonly string[] = wanted;
  const absent = wanted.filter((each) => !now.has(each));
  const surplus = [...now].filter((each) => !asked.includes(each)).sort() as ObjectPrivilege[];
  return [
    ...(absent.length > 0 ? [{ role, isGrant: true, privileges: absent }] : []),
    ...(surplus.length > 0 ? [{ role, isGrant: false, privileges: surplus }] : []),
  ];
}

/** What this server has a word for. */
function known(asked: Grants[string], { major }: GrantContext) {
  if (major >= MAINTAIN_FROM || !asked.includes("maintain")) return { possible: asked, reason: null };
  return {
    possible: asked.filter((each) => each !== "maintain"),
    reason: `maintain is a privilege from PostgreSQL ${MAINTAIN_FROM} on; this one is ${major}.`,
  };
}

function chunks<T>(all: readonly T[]): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(all.length / NAMES_MAX) }, (_, at) =>
    all.slice(at * NAMES_MAX, (at + 1) * NAMES_MAX),
  );
}

function told(names: readonly string[]): string {
  const more = names.length > NAMES_TOLD ? ` and ${names.length - NAMES_TOLD} more` : "";
  return `${names.slice(0, NAMES_TOLD).join(", ")}${more}`;
}
