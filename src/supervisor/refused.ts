import type { Refusal } from "./promises.ts";
import type { SupervisorErrorCode } from "./protocol.ts";

/** Why a request is not carried out: becomes the answer. */
export class RequestRefused extends Error {
  override readonly name = "RequestRefused";
  readonly code: SupervisorErrorCode;
  constructor(code: SupervisorErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** @throws {RequestRefused} if there is a refusal. */
export function refuseIf(refusal: Refusal | null): void {
  if (refusal !== null) throw new RequestRefused(refusal.code, refusal.message);
}

/** There is no PostgreSQL to do it with. */
export function notRunning(): RequestRefused {
  return new RequestRefused("not-running", "PostgreSQL does not run");
}

/** @throws {RequestRefused} if whoever asked has a successor by now. */
export function refuseSuperseded(maySpeak: () => boolean): void {
  if (maySpeak()) return;
  throw new RequestRefused(
    "unavailable",
    "the member that asked for this is gone: the next one speaks for this host",
  );
}
