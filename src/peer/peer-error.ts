/**
 * Why a call to another member brought no answer.
 *
 * `unreachable` and `overloaded`: it was never sent, or turned away unread, so nothing happened. `refused`: the member
 * answered that it failed. `lost` and `deadline`: nobody knows whether it happened.
 */
export class PeerError extends Error {
  override readonly name = "PeerError";
  readonly kind: "unreachable" | "overloaded" | "refused" | "lost" | "deadline";

  constructor(kind: PeerError["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}
