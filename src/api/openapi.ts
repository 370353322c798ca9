/**
 * Makes a valid OpenAPI 3.0.3 document of the one that the router's plugin writes.
 *
 * The plugin copies JSON Schema as it finds it: responses without description, `const`, `anyOf` with null. This is the
 * list of what has to change; a test holds the result to the standard.
 */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type JsonObject = { readonly [key: string]: Json };

const METHODS = new Set(["get", "put", "post", "delete", "options", "head", "patch", "trace"]);

const PROBLEM_SCHEMA: JsonObject = {
  type: "object",
  title: "Problem",
  required: ["type", "title", "status", "code", "detail"],
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    code: { type: "string", description: "Stable: programs may look at it" },
    detail: { type: "string" },
    hint: { type: "string" },
    errors: {
      type: "array",
      items: { type: "object", properties: { field: { type: "string" }, message: { type: "string" } } },
    },
    lossOffer: { $ref: "#/components/schemas/LossOffer" },
  },
};

const PROBLEM_RESPONSE: JsonObject = {
  description: "A problem: what was wrong and what to do",
  content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
};

export function normalizeOpenApi(raw: Json): JsonObject {
  const document = asObject(raw);
  const schemas = new Map<string, Json>([["Problem", PROBLEM_SCHEMA]]);
  const paths = mapObject(asObject(document["paths"]), (item) =>
    mapObject(asObject(item), (operation, method) =>
      METHODS.has(method) ? normalizeOperation(asObject(operation), schemas) : operation,
    ),
  );
  const components = asObject(document["components"]);
  return {
    ...document,
    openapi: "3.0.3",
    paths,
    components: {
      ...components,
      schemas: Object.fromEntries([...schemas].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    },
  };
}

function normalizeOperation(operation: JsonObject, schemas: Map<string, Json>): JsonObject {
  const responses = mapObject(asObject(operation["responses"]), (response, status) => {
    const { items: _items, $ref: _ref, type: _type, content, description, headers } = asObject(response);
    const schema = asObject(asObject(content)["application/json"])["schema"];
    return {
      description: typeof description === "string" ? description : describeStatus(status),
      ...(headers === undefined ? {} : { headers }),
      ...(schema === undefined
        ? {}
        : { content: { "application/json": { schema: normalizeSchema(schema, schemas) } } }),
    };
  });
  const { requestBody, parameters } = operation;
  const bodySchema = asObject(asObject(asObject(requestBody)["content"])["application/json"])["schema"];
  return {
    ...operation,
    ...(Array.isArray(parameters)
      ? {
          parameters: parameters.map((parameter: Json) => {
            const { schema = {}, ...rest } = asObject(parameter);
            return { ...rest, schema: normalizeSchema(schema, schemas) };
          }),
        }
      : {}),
    ...(bodySchema === undefined
      ? {}
      : {
          requestBody: { content: { "application/json": { schema: normalizeSchema(bodySchema, schemas) } } },
        }),
    responses: {
      ...(Object.keys(responses).length === 0 ? { "200": { description: "Done" } } : responses),
      default: PROBLEM_RESPONSE,
    },
  };
}

function describeStatus(status: string): string {
  if (status === "201") return "Made";
  if (status === "202") return "Begun: follow the operation";
  return "Done";
}

/** A schema with a title gets its own name in the document; everything that 3.0 does not know is said in its words. */
function normalizeSchema(schema: Json, schemas: Map<string, Json>): Json {
  if (Array.isArray(schema)) return schema.map((each: Json) => normalizeSchema(each, schemas));
  if (typeof schema !== "object" || schema === null) return schema;
  const plain = normalizePlain(asObject(schema), schemas);
  const title = plain["title"];
  if (typeof title !== "string") return plain;
  schemas.set(title, plain);
  return { $ref: `#/components/schemas/${title}` };
}

function normalizePlain(schema: JsonObject, schemas: Map<string, Json>): JsonObject {
  const { $id: _id, anyOf, const: constant, patternProperties, examples: _examples, ...rest } = schema;
  const out: Record<string, Json> = mapObject(rest, (value, key) =>
    key === "properties"
      ? mapObject(asObject(value), (each) => normalizeSchema(each, schemas))
      : key === "items" || key === "allOf" || key === "oneOf" || key === "additionalProperties"
        ? normalizeSchema(value, schemas)
        : value,
  );
  if (constant !== undefined) out["enum"] = [constant];
  if (patternProperties !== undefined) {
    const values = Object.values(asObject(patternProperties));
    out["additionalProperties"] = normalizeSchema(values[0] ?? true, schemas);
  }
  if (!Array.isArray(anyOf)) return out;
  const options: readonly JsonObject[] = anyOf.map((each: Json) => asObject(each));
  const nullable = options.some((option) => option["type"] === "null") ? { nullable: true } : {};
  // A number in a query arrives as text: the router says so, a reader need not know.
  const some = options.filter(
    (option) => option["type"] !== "null" && !(option["type"] === "string" && option["format"] === "integer"),
  );
  const [only, ...others] = some;
  if (only !== undefined && others.length === 0) {
    const normal = asObject(normalizeSchema(only, schemas));
    // 3.0 ignores everything beside a $ref: wrapped, `nullable` counts.
    return "$ref" in normal ? { ...out, allOf: [normal], ...nullable } : { ...normal, ...out, ...nullable };
  }
  if (some.every((option) => option["const"] !== undefined)) {
    return { ...out, type: "string", enum: some.map((option) => option["const"] ?? null), ...nullable };
  }
  return { ...out, anyOf: some.map((option) => normalizeSchema(option, schemas)), ...nullable };
}

function asObject(value: Json | undefined): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

function mapObject(object: JsonObject, change: (value: Json, key: string) => Json): Record<string, Json> {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value, key)]));
}
