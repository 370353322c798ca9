/** Requests as an OpenAPI document describes them, and requests that are nearly so: for tests that ask a server anything. */
import fc from "fast-check";

export interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly nullable?: boolean;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly maxItems?: number;
  readonly pattern?: string;
  readonly format?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
}

interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required?: boolean;
  readonly schema: Schema;
}

interface Operation {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
}

export interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

export interface GeneratedRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
}

const JSON_TYPE = "application/json";

/** What a schema allows, for the most part; `names` are words that mean something to the server, the best first. */
function valuesOf(schema: Schema, document: OpenApi, names: readonly string[]): fc.Arbitrary<unknown> {
  const inner = (each: Schema) => valuesOf(each, document, names);
  if (schema.$ref !== undefined) {
    const name = schema.$ref.split("/").at(-1) ?? "";
    return inner(document.components.schemas[name] ?? {});
  }
  if (schema.nullable === true) return fc.oneof(fc.constant(null), inner({ ...schema, nullable: false }));
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const options = schema.anyOf ?? schema.allOf;
  if (options !== undefined) return fc.oneof(...options.map(inner));
  switch (schema.type) {
    case "boolean":
      return fc.boolean();
    case "integer":
    case "number":
      return fc.integer({
        min: Math.max(schema.minimum ?? -1000, Number.MIN_SAFE_INTEGER),
        max: Math.min(schema.maximum ?? 1_000_000, Number.MAX_SAFE_INTEGER),
      });
    case "string":
      return textsOf(schema, names);
    case "array":
      return fc.array(inner(schema.items ?? {}), { maxLength: Math.min(schema.maxItems ?? 5, 5) });
    case "object":
      return objectsOf(schema, inner);
    default:
      return fc.jsonValue();
  }
}

function textsOf(schema: Schema, names: readonly string[]): fc.Arbitrary<string> {
  if (schema.format === "date-time") {
    return fc
      .date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) })
      .map((at) => at.toISOString());
  }
  const { minLength = 0, maxLength = 60, pattern } = schema;
  const free =
    pattern === undefined
      ? fc.string({ minLength, maxLength: Math.min(maxLength, 200), unit: "binary" })
      : fc.stringMatching(new RegExp(pattern, "u"));
  // As long as it may be, and one more.
  const edges = fc.constantFrom("x".repeat(maxLength), "x".repeat(maxLength + 1));
  return fc.oneof(
    { arbitrary: free, weight: 4 },
    { arbitrary: fc.constantFrom(...names), weight: 4 },
    { arbitrary: edges, weight: 1 },
  );
}

function objectsOf(schema: Schema, inner: (schema: Schema) => fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const { properties = {}, required = [] } = schema;
  const arbitraries = Object.fromEntries(
    Object.entries(properties).map(([name, each]) => [name, inner(each)]),
  );
  return fc.record(arbitraries, { requiredKeys: [...required] });
}

/** As it should be, mostly; or with something else in some place; or anything at all. */
function bodiesOf(schema: Schema, document: OpenApi, names: readonly string[]): fc.Arbitrary<string | null> {
  const good = valuesOf(schema, document, names);
  const spoilt = fc
    .tuple(good, fc.nat(), fc.jsonValue())
    .map(([value, at, other]) => spoil(value, at, other));
  const more = fc
    .tuple(good, fc.string({ maxLength: 20 }), fc.jsonValue())
    .map(([value, key, other]) => (isRecord(value) ? { ...value, [key]: other } : other));
  return fc.oneof(
    { arbitrary: good.map((value) => JSON.stringify(value)), weight: 5 },
    { arbitrary: spoilt.map((value) => JSON.stringify(value)), weight: 3 },
    { arbitrary: more.map((value) => JSON.stringify(value)), weight: 2 },
    { arbitrary: fc.json(), weight: 1 },
    { arbitrary: fc.string({ unit: "binary" }), weight: 1 },
    { arbitrary: fc.constantFrom(null, "", "{", '{"__proto__":{"x":1}}', '{"a":'.repeat(500)), weight: 1 },
  );
}

/** One part, found by walking `at` steps down, becomes `other`. */
function spoil(value: unknown, at: number, other: unknown): unknown {
  if (!isRecord(value)) return other;
  const keys = Object.keys(value);
  const key = keys[at % Math.max(1, keys.length)];
  if (key === undefined) return other;
  const next = at % 3 === 0 ? spoil(value[key], Math.floor(at / 3), other) : other;
  return { ...value, [key]: next };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whatever can stand in a header. */
const headerTexts = fc
  .string({ minLength: 1, maxLength: 220, unit: "grapheme-ascii" })
  .map((text) => text.trim());

function parametersOf(
  parameters: readonly Parameter[],
  place: Parameter["in"],
  document: OpenApi,
  names: readonly string[],
): fc.Arbitrary<Readonly<Record<string, string>>> {
  const wanted = parameters.filter((parameter) => parameter.in === place);
  const text = ({ name, schema }: Parameter) => {
    const junk =
      place === "header" ? headerTexts : fc.string({ minLength: 1, maxLength: 80, unit: "binary" });
    const good = valuesOf(schema, document, names).map(String);
    const usable = place === "header" ? good.filter((each) => /^[\x20-\x7e]*$/.test(each)) : good;
    const meant = name === "if-match" ? fc.constantFrom("*", '"1"') : fc.constantFrom(...names.slice(0, 2));
    const isName = place === "path" || name === "if-match";
    return fc.oneof(
      { arbitrary: usable, weight: 3 },
      { arbitrary: junk, weight: 1 },
      ...(isName ? [{ arbitrary: meant, weight: 4 }] : []),
    );
  };
  return fc.record(Object.fromEntries(wanted.map((parameter) => [parameter.name, text(parameter)])), {
    requiredKeys: wanted
      .filter(({ required }) => place === "path" || required === true)
      .map(({ name }) => name),
  });
}

/** Requests of one operation of the document. */
export function requestsOf(
  document: OpenApi,
  path: string,
  method: string,
  names: readonly string[],
): fc.Arbitrary<GeneratedRequest> {
  const { parameters = [], requestBody } = document.paths[path]?.[method] ?? {};
  const schema = requestBody?.content[JSON_TYPE]?.schema;
  const isRead = method === "get" || method === "head" || method === "options";
  const type = fc.oneof(
    { arbitrary: fc.constant(JSON_TYPE), weight: 9 },
    {
      arbitrary: fc.constantFrom("text/plain", "application/json; charset=utf-8", "application/xml"),
      weight: 1,
    },
  );
  return fc
    .record({
      inPath: parametersOf(parameters, "path", document, names),
      inQuery: parametersOf(parameters, "query", document, names),
      inHeaders: parametersOf(parameters, "header", document, names),
      body: isRead ? fc.constant(null) : bodiesOf(schema ?? { type: "object" }, document, names),
      type,
    })
    .map(({ inPath, inQuery, inHeaders, body, type: contentType }) => {
      const filled = path.replaceAll(/\{(\w+)\}/g, (_whole, name: string) => encoded(inPath[name] ?? "x"));
      const query = Object.entries(inQuery).map(([name, value]) => `${name}=${encoded(value)}`);
      return {
        method: method.toUpperCase(),
        path: query.length === 0 ? filled : `${filled}?${query.join("&")}`,
        headers: { ...inHeaders, ...(isRead ? {} : { "content-type": contentType }) },
        body,
      };
    });
}

/** Half of a surrogate pair cannot be encoded. */
function encoded(text: string): string {
  return encodeURIComponent(text.toWellFormed()) || "x";
}
