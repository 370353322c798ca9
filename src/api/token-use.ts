import type { Command } from "../cluster/command.ts";
import { isUnderstoodByAll } from "../cluster/feature-level.ts";
import { type ApiToken, type ClusterState, featureLevelOf } from "../cluster/state.ts";
import type { ApiPorts } from "./ports.ts";
import { PROPOSE_DEADLINE_MS } from "./submit.ts";

/** What is agreed of a token's use may be so old, and no member says it more often than this. */
const TOLD_EVERY_MS = 3_600_000;

/**
 * When each token was used last: exactly in memory, for what this member was asked, and to the hour in what is agreed, so
 * that every member can tell which tokens nobody needs. A request writes nothing to the log, but the first in an hour.
 */
export class TokenUse {
  readonly #ports: ApiPorts;
  readonly #usedAtMs = new Map<string, number>();
  readonly #toldAtMs = new Map<string, number>();

  constructor(ports: ApiPorts) {
    this.#ports = ports;
  }

  /** A request was let in. Callers without a token (`local`, for instance) are not remembered. */
  note(by: string): void {
    const state = this.#ports.consensus()?.state;
    const token = state?.tokens.find(({ id }) => id === by);
    if (state === undefined || token === undefined) return;
    const wallMs = this.#ports.clock.wallMs();
    this.#usedAtMs.set(by, wallMs);
    this.#forget(state);
    const toldAtMs = Math.max(token.lastUsedAtMs ?? 0, this.#toldAtMs.get(by) ?? 0);
    if (featureLevelOf(state) < 4 || wallMs - toldAtMs < TOLD_EVERY_MS) return;
    this.#toldAtMs.set(by, wallMs);
    void this.#tell(token, wallMs);
  }

  /** Null: never, as far as this member knows. */
  lastUsedAtMs({ id, lastUsedAtMs = 0 }: ApiToken): number | null {
    const atMs = Math.max(lastUsedAtMs, this.#usedAtMs.get(id) ?? 0);
    return atMs === 0 ? null : atMs;
  }

  async #tell({ id }: ApiToken, atMs: number): Promise<void> {
    const { newId, log } = this.#ports;
    const consensus = this.#ports.consensus();
    const change = { kind: "note-token-use", tokenId: id } as const;
    const command: Command = { id: newId(), atMs, by: id, change };
    if (consensus === null || !isUnderstoodByAll(consensus.state, change)) return;
    try {
      const { kind } = await consensus.propose(command, PROPOSE_DEADLINE_MS);
      if (kind !== "applied") log.debug("token.use-not-told", { token: id, result: kind });
    } catch (error) {
      // The next hour tells a later time.
      log.debug("token.use-not-told", { token: id, error: String(error) });
    }
  }

  /** Keeps no more than there are tokens. */
  #forget({ tokens }: ClusterState): void {
    for (const known of [this.#usedAtMs, this.#toldAtMs]) {
      if (known.size <= tokens.length) continue;
      for (const id of known.keys()) if (!tokens.some((token) => token.id === id)) known.delete(id);
    }
  }
}
