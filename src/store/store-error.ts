/** The database or the marker is not what it must be. The message says what was found and what to do. */
export class StoreError extends Error {
  override readonly name = "StoreError";
}
