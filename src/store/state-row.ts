/** The row that holds what is agreed. */
import type { StoreDatabase } from "./database.ts";
import { STATE_PLACE } from "./encrypt-rows.ts";
import { smState } from "./schema.ts";
import { StoreError } from "./store-error.ts";

/** `ClusterState` as JSON, as its row has it. */
export function encryptState({ cipher }: StoreDatabase, text: string): Buffer {
  return Buffer.from(cipher.encrypt(STATE_PLACE, new TextEncoder().encode(text)).buffer);
}

/** `ClusterState` as JSON; null before the first command. @throws {StoreError} if the row is damaged. */
export function readStateText({ drizzle, cipher, path }: StoreDatabase): string | null {
  const row = drizzle.select({ state: smState.state }).from(smState).get();
  if (row === undefined) return null;
  const text = cipher.decrypt(STATE_PLACE, row.state);
  if (text !== null) return new TextDecoder().decode(text);
  throw new StoreError(
    `the database ${path} is damaged: a row of sm_state is not what was written. Do not repair it by hand: remove this member from the cluster, and let the host join as a new one with an empty data directory`,
  );
}
