/** What the API asks of one member, whichever member answers it: here, or by a call to another member's main thread. */
import { type MemberId, parseMemberName } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { Consensus } from "../cluster/consensus.ts";
import type { Fork } from "../cluster/fork.ts";
import type { Hooks } from "./hooks.ts";
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

export const HAND_OVER_METHOD = "before-switchover";

/** Longer than a hook may take, shorter than whoever asked for the switchover waits. */
const HAND_OVER_DEADLINE_MS = 25_000;

/** Another member asks this one, the primary. @throws {Error} for a question that is none. */
export async function mayHandOverHere(
  hooks: Hooks | null,
  payload: unknown,
): Promise<{ readonly why: string | null }> {
  const to = typeof payload === "object" && payload !== null && "to" in payload ? payload.to : null;
  if (typeof to !== "string" || !parseMemberName(to).ok)
    throw new Error("a switchover goes to a member that has a name");
  const asked = hooks === null ? ok(null) : await hooks.beforeSwitchover(to);
  return { why: asked.ok ? null : asked.error };
}

/** Asks the primary's hook; the error says why nothing shall be handed over. */
export async function mayHandOver(
  consensus: Consensus,
  self: { readonly id: MemberId; readonly hooks: Hooks | null },
  primaryId: MemberId,
  to: string,
): Promise<Result<null, string>> {
  try {
    const answer =
      primaryId === self.id
        ? await mayHandOverHere(self.hooks, { to })
        : await consensus.call(primaryId, HAND_OVER_METHOD, { to }, HAND_OVER_DEADLINE_MS);
    // A member of this cluster wrote it: its form is trusted, its content is data.
    const { why } = answer as { readonly why: string | null };
    return why === null ? ok(null) : err(why);
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error));
  }
}
