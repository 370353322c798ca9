import { type Hides, isSecretParameter, mayCarrySecret } from "../cluster/secrets.ts";
import type { Caller } from "./access.ts";

/** Which parameters' values a caller does not see. Commands are `admin`'s to say, and so to see. */
export function hiddenFrom({ scope }: Caller): Hides {
  return scope === "admin" ? isSecretParameter : mayCarrySecret;
}
