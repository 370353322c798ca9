import { randomBytes, randomInt, randomUUID } from "node:crypto";
import type { Random } from "../base/random.ts";

/** The real chance. */
export const systemRandom: Random = {
  integer: (min, max) => randomInt(min, max + 1),
};

export function newId(): string {
  return randomUUID();
}

/** 192 bits as text of A-Z, a-z, 0-9, and '-'. */
export function newSecret(): string {
  return randomBytes(24).toString("base64url").replaceAll("_", "-");
}
