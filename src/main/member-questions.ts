/** What the API asks of one member, whichever member answers it: here, or by a call to another member's main thread. */
import type { MemberId } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { Consensus } from "../cluster/consensus.ts";
import type { Fork } from "../cluster/fork.ts";
import type { SupervisorLink } from "./supervisor-link.ts";

export const FORKS_METHOD = "list-forks";

/** Reading WAL of some minutes takes seconds. */
const FORKS_DEADLINE_MS = 8_000;

/** The forks that this member keeps. @throws {Error} where there is no supervisor that could tell. */
export async function forksHere(supervisor: SupervisorLink | null): Promise<readonly Fork[]> {
  if (supervisor === null) return [];
  const answer = await supervisor.request({ kind: "list-forks" }, FORKS_DEADLINE_MS);
  if (!answer.ok) throw new Error(answer.message);
  return answer.forks ?? [];
}

/** The forks that a member keeps; the error says why that cannot be told. */
export async function forksOf(
  consensus: Consensus,
  self: { readonly id: MemberId; readonly supervisor: SupervisorLink | null },
  memberId: MemberId,
): Promise<Result<readonly Fork[], string>> {
  try {
    if (memberId === self.id) return ok(await forksHere(self.supervisor));
    const answer = await consensus.call(memberId, FORKS_METHOD, null, FORKS_DEADLINE_MS);
    // A member of this cluster wrote it: its form is trusted, its content is data.
    return ok((answer as { readonly forks: readonly Fork[] }).forks);
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error));
  }
}
