/** Rules for connections as they are changed, whichever route says so: tried by every PostgreSQL that answers, then agreed. */
import { t } from "elysia";
import { hashJson } from "../base/json-hash.ts";
import type { Change } from "../cluster/command.ts";
import type { AccessSpec } from "../cluster/hba-rule.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { HbaDocument } from "./access-documents.ts";
import { type Asked, changeWanted } from "./change-wanted.ts";
import { describeHba } from "./describe-hba.ts";
import type { ApiPorts } from "./ports.ts";
import { proveRules } from "./prove-rules.ts";
import { look, type Sight } from "./sight.ts";
import { etagOf } from "./spec-version.ts";
import { requireUnderstood } from "./submit.ts";

export const dryRunQuery = t.Object({
  dryRun: t.Optional(
    t.Union([t.Literal("true"), t.Literal("false")], { description: "Try them, and change nothing" }),
  ),
});

interface ChangedAccess {
  readonly hba: HbaDocument;
  readonly etag: string;
}

/**
 * @param wanted made of what is agreed, perhaps several times; null: what applies where nobody says anything.
 * @throws {ApiProblem} whatever `wanted` throws, and as `proveRules` and `changeWanted` do.
 */
export async function changeAccess(
  ports: ApiPorts,
  asked: Asked,
  isDryRun: boolean,
  wanted: (state: ClusterState) => AccessSpec | null,
): Promise<ChangedAccess> {
  const prove = provingOnce(ports);
  const attempts = () =>
    changeWanted(ports, asked, async (sight, generation) => {
      const { state } = sight;
      const access = wanted(state);
      const { access: _, ...others } = state.spec;
      const spec = access === null ? others : { ...others, access };
      const change: Change = { kind: "change-spec", generation, spec };
      requireUnderstood(state, change);
      const tried = access === null ? [] : await prove(sight, access);
      const dry = { ...sight, state: { ...state, spec } };
      return { change: isDryRun ? null : change, told: { tried, dry } };
    });
  const told = await (isDryRun ? attempts() : inTurn(ports, attempts));
  const shown = isDryRun && told !== null ? told.dry : look(ports);
  return {
    hba: { ...describeHba(shown, asked.caller), tried: told?.tried ?? [] },
    etag: etagOf(shown.state),
  };
}

const turns = new WeakMap<ApiPorts, Promise<unknown>>();

/**
 * One change of rules at a time on this member: each is tried by every PostgreSQL, and those that overtake one another would be tried
 * in vain, again and again.
 */
function inTurn<T>(ports: ApiPorts, change: () => Promise<T>): Promise<T> {
  const before = turns.get(ports) ?? Promise.resolve();
  const own = before.then(change, change);
  turns.set(ports, own);
  return own;
}

/** The same rules are not tried again because somebody else changed something else meanwhile. */
function provingOnce(ports: ApiPorts) {
  let proven: { readonly key: string; readonly tried: HbaDocument["tried"] } | null = null;
  return async (sight: Sight, access: AccessSpec): Promise<HbaDocument["tried"]> => {
    const key = hashJson({ ...access, revision: 0 });
    if (proven?.key !== key) proven = { key, tried: await proveRules(ports, sight, access) };
    return proven.tried;
  };
}
