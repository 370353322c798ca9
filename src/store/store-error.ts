/** The database or the marker is not what it must be. The message says what was found and what to do. */
export class StoreError extends Error {
  override readonly name: string = "StoreError";
}

/**
 * The disk is full. What was being written is undone, whole, and the store can go on: free the ballast, compact, and
 * let somebody make room.
 */
export class DiskFullError extends StoreError {
  override readonly name = "DiskFullError";

  constructor(path: string, options?: ErrorOptions) {
    super(
      `the disk that holds ${path} is full: make room on it. Until then this member takes no part`,
      options,
    );
  }
}
