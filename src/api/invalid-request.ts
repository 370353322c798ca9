import type { Log } from "../base/log.ts";
import { ApiProblem } from "./problem.ts";

/** What the router knows of a request that does not fit its schema. */
interface Invalid {
  readonly type: string;
  readonly all: readonly unknown[];
}

/**
 * Says which fields are wrong and how, and never repeats what was sent: it may be a secret in the wrong place.
 *
 * An answer of ours that does not fit its own schema is our mistake: 500, and the log says where.
 */
export function explainInvalid(error: unknown, log: Log): ApiProblem {
  const { type, all } = error as Invalid;
  const errors = dedupe(all.flatMap(explainOne));
  if (type === "response") {
    log.error("api.answer-invalid", { errors });
    return new ApiProblem({
      status: 500,
      code: "internal-error",
      detail: "An error of guacamole itself. Its log has the details.",
    });
  }
  const place = type === "body" ? "" : ` (${type})`;
  const first = errors[0];
  const more = errors.length > 1 ? `; and ${errors.length - 1} more` : "";
  return new ApiProblem({
    status: 422,
    code: "invalid-request",
    detail:
      first === undefined ? "The request is not valid." : `${first.field}${place}: ${first.message}${more}`,
    hint: "/openapi.json has the shape that is expected.",
    errors,
  });
}

interface FieldError {
  readonly field: string;
  readonly message: string;
}

function explainOne(each: unknown): FieldError[] {
  const { path, schema, message } = each as {
    path?: unknown;
    schema?: Readonly<Record<string, unknown>>;
    message?: unknown;
  };
  if (typeof path !== "string") return [];
  // A field's own name was sent too: enough of it to find it.
  const field = path.replace(/^\//, "").replaceAll("/", ".").slice(0, 60) || "body";
  const inside = insideOf(each);
  if (inside.length > 0) return inside.flatMap(explainOne);
  const missed = kindMissed(each);
  if (missed !== null)
    return [{ field: `${field}.${missed.name}`, message: `must be one of ${missed.kinds.join(", ")}` }];
  if (message === "Unexpected property") return [{ field, message: "there is no such field" }];
  if (message === "Expected required property") return [{ field, message: "is missing" }];
  return [{ field, message: expectation(schema, typeof message === "string" ? message : "is not valid") }];
}

interface Option {
  readonly type?: unknown;
  readonly properties?: Readonly<Record<string, { readonly const?: unknown }>>;
}

/**
 * What is wrong inside something of several kinds (or null): of the kind that was meant, whoever sent it wants to know. A kind is
 * told by its constants, as `mode` is of a durability.
 */
function insideOf(each: unknown): readonly unknown[] {
  const { value, errors } = each as { value?: unknown; errors?: readonly Iterable<unknown>[] };
  if (typeof value !== "object" || value === null || !Array.isArray(errors)) return [];
  const sent = value as Readonly<Record<string, unknown>>;
  const meant = optionsOf(each).flatMap((option, index) =>
    option.type === "object" && constantsOf(option).every(([name, constant]) => sent[name] === constant)
      ? [index]
      : [],
  );
  const [only] = meant;
  return only === undefined || meant.length > 1 ? [] : [...(errors[only] ?? [])];
}

/** The constant that tells the kinds apart, where none of them was meant. */
function kindMissed(each: unknown): { readonly name: string; readonly kinds: readonly unknown[] } | null {
  const { value } = each as { value?: unknown };
  const options = optionsOf(each).filter(({ type }) => type === "object");
  const [first] = options;
  if (typeof value !== "object" || first === undefined || options.length < 2) return null;
  const name = constantsOf(first)
    .map(([each]) => each)
    .find((common) => options.every((option) => option.properties?.[common]?.const !== undefined));
  if (name === undefined) return null;
  return { name, kinds: options.map(({ properties }) => properties?.[name]?.const) };
}

function optionsOf(each: unknown): readonly Option[] {
  const { schema } = each as { schema?: { anyOf?: readonly Option[] } };
  return schema?.anyOf ?? [];
}

function constantsOf({ properties = {} }: Option): readonly (readonly [string, unknown])[] {
  return Object.entries(properties).flatMap(([name, { const: constant }]) =>
    constant === undefined ? [] : [[name, constant] as const],
  );
}

/** In our words where they help, otherwise in the validator's, which name types and never values. */
function expectation(schema: Readonly<Record<string, unknown>> | undefined, message: string): string {
  const description = typeof schema?.["description"] === "string" ? ` (${schema["description"]})` : "";
  const pattern = schema?.["pattern"];
  if (typeof pattern === "string") return `must match ${pattern}${description}`;
  const anyOf = schema?.["anyOf"];
  if (Array.isArray(anyOf)) {
    const constants = anyOf
      .map((option: { const?: unknown }) => option.const)
      .filter((value) => typeof value === "string");
    if (constants.length > 0) return `must be one of ${constants.join(", ")}`;
  }
  const words =
    message === "Expected union value"
      ? "is of another type or out of range"
      : message.replace(/^Expected /, "must be ");
  return `${words}${description}`;
}

/** One sentence per field: a missing field is reported a second time, for its type. */
function dedupe(errors: readonly FieldError[]): readonly FieldError[] {
  const byField = new Map<string, FieldError>();
  for (const error of errors) if (!byField.has(error.field)) byField.set(error.field, error);
  return [...byField.values()];
}
