import { type Hides, isSecretParameter, mayCarrySecret } from "../cluster/secrets.ts";
import { type Caller, mayDo } from "./access.ts";

/** Which parameters' values a caller does not see. Commands are `admin`'s to say, and so to see. */
export function hiddenFrom({ scopes }: Caller): Hides {
  return mayDo(scopes, "admin") ? isSecretParameter : mayCarrySecret;
}
