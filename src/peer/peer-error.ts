/**
 * Why a call to another member brought no answer.
 *
 * `unreachable`: it was never sent, so nothing happened. `refused`: the member answered that it failed. `lost` and
 * `deadline`: nobody knows whether it happened.
 */
export class PeerError extends Error {
  override readonly name = "PeerError";
  readonly kind: "unreachable" | "refused" | "lost" | "deadline";

  constructor(kind: PeerError["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}
