/** Tokens of the API: made, revoked, and when each was used last. */
import { type Applied, accept, type ChangeOf, event, refuse } from "./applied.ts";
import type { Command } from "./command.ts";
import { isUnderstoodByAll } from "./feature-level.ts";
import { type ApiToken, type ClusterState, featureLevelOf } from "./state.ts";

export const TOKENS_MAX = 1000;

/** Adds a token. From feature level 4 on those that had expired make room for it. */
export function createToken(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"create-token">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const { tokenId, secretHash, scope, name, expiresAtMs } = change;
  const isRecent = featureLevelOf(state) >= 4;
  const others = isRecent ? state.tokens.filter((token) => !isExpired(token, command.atMs)) : state.tokens;
  if (name !== undefined && others.some((token) => token.name === name))
    return refuse(state, "token-name-taken");
  if (isRecent && others.length >= TOKENS_MAX) return refuse(state, "too-many-tokens");
  const token: ApiToken = {
    id: tokenId,
    secretHash,
    scope,
    createdAtMs: command.atMs,
    ...(name === undefined ? {} : { name }),
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    ...(isRecent ? { by: command.by } : {}),
  };
  return accept(
    { ...state, tokens: [...others, token] },
    event(command, "token.created", `a token with scope ${scope} was made by ${command.by}`, {
      token: tokenId,
      scope,
      ...(name === undefined ? {} : { name }),
    }),
  );
}

/** Takes any token away, the last one too: the Unix socket of each member's host always remains. */
export function revokeToken(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"revoke-token">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const token = state.tokens.find(({ id }) => id === change.tokenId);
  if (token === undefined) return refuse(state, "token-unknown");
  return accept(
    { ...state, tokens: state.tokens.filter(({ id }) => id !== token.id) },
    event(command, "token.revoked", `a token with scope ${token.scope} was revoked by ${command.by}`, {
      token: token.id,
      scope: token.scope,
      ...(token.name === undefined ? {} : { name: token.name }),
    }),
  );
}

/** Remembers when a token was used, without an event: members tell it once an hour at most. */
export function noteTokenUse(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"note-token-use">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const token = state.tokens.find(({ id }) => id === change.tokenId);
  if (token === undefined) return refuse(state, "token-unknown");
  const used: ApiToken = { ...token, lastUsedAtMs: Math.max(command.atMs, token.lastUsedAtMs ?? 0) };
  return accept({ ...state, tokens: state.tokens.map((each) => (each.id === token.id ? used : each)) });
}

/** Whether a token is refused at this time. */
export function isExpired({ expiresAtMs }: ApiToken, wallMs: number): boolean {
  return expiresAtMs !== undefined && wallMs >= expiresAtMs;
}
