import type { Clock } from "../base/clock.ts";
import { DeadlineExceeded, within } from "../base/within.ts";
import { ApiProblem } from "./problem.ts";

/** More than this is refused: nothing that the API takes comes near it. */
export const BODY_BYTES_MAX = 1024 * 1024;
/** Whoever sends a byte now and then would hold a connection for ever. */
const BODY_DEADLINE_MS = 30_000;

/** `readJsonBody`, within a time limit. @throws {ApiProblem} 408 when it is over, and what `readJsonBody` throws. */
export async function readInTime(
  { clock }: { readonly clock: Clock },
  request: Request,
  takesText = false,
): Promise<string> {
  try {
    return await within(readJsonBody(request, takesText), BODY_DEADLINE_MS, { clock, what: "the body" });
  } catch (error) {
    if (!(error instanceof DeadlineExceeded)) throw error;
    throw new ApiProblem({
      status: 408,
      code: "body-too-slow",
      detail: `The body did not arrive within ${BODY_DEADLINE_MS / 1000} seconds; nothing was done.`,
      headers: { connection: "close" },
    });
  }
}

/**
 * Reads a JSON body. An empty one counts as `{}`, so that `curl -X POST` does what it looks like.
 *
 * @param takesText a body of `text/plain` becomes the field `text` of an object.
 * @returns the text, which is known to be a JSON object.
 * @throws {ApiProblem} 413 too large (also when it is sent in chunks), 415 another type, 400 not JSON, 422 no object.
 */
async function readJsonBody(request: Request, takesText: boolean): Promise<string> {
  if (Number(request.headers.get("content-length") ?? 0) > BODY_BYTES_MAX) throw tooLarge();
  const text = await readBounded(request);
  if (text.trim() === "") return "{}";
  const type = (request.headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase();
  if (type === "text/plain" && takesText) return JSON.stringify({ text });
  if (type !== "application/json") {
    throw new ApiProblem({
      status: 415,
      code: "not-json",
      detail: "The body must be JSON and say so.",
      hint: "Send 'Content-Type: application/json'.",
    });
  }
  if (!isJsonObject(text)) {
    throw new ApiProblem({ status: 422, code: "invalid-request", detail: "The body must be a JSON object." });
  }
  return text;
}

/** @throws {ApiProblem} 400 where it is not JSON at all. */
function isJsonObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    throw new ApiProblem({
      status: 400,
      code: "bad-json",
      detail: "The body says it is JSON, but cannot be read as such.",
    });
  }
}

/** Bun itself ends what is far beyond the limit (`maxRequestBodySize`), in chunks or not. */
async function readBounded(request: Request): Promise<string> {
  if (request.body === null) return "";
  const text = await request.text();
  if (Buffer.byteLength(text) > BODY_BYTES_MAX) throw tooLarge();
  return text;
}

function tooLarge(): ApiProblem {
  return new ApiProblem({
    status: 413,
    code: "body-too-large",
    detail: `The body is larger than ${BODY_BYTES_MAX} bytes.`,
  });
}
