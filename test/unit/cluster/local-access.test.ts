import { describe, expect, test } from "bun:test";
import { apply } from "../../../src/cluster/apply.ts";
import type { Command } from "../../../src/cluster/command.ts";
import { LOCAL_ACCESS_KEPT, type LocalAccess, parseLocalAccess } from "../../../src/cluster/local-access.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { decideLocalAccess } from "../../../src/decision/decide-break-glass.ts";
import { clusterState, id } from "../../support/situation.ts";

const trace = (traceId: string): LocalAccess => ({
  id: traceId,
  session: "s1",
  what: "opened",
  who: "ann",
  systemUser: "postgres",
  reason: "INC-1",
  atMs: 5,
  exitCode: null,
});

let commands = 0;

/** As a member does: whatever is not agreed is proposed, under another command each time. */
function note(state: ClusterState, found: readonly LocalAccess[]) {
  const { told, changes } = decideLocalAccess(state, id("m2"), found);
  let now = state;
  const names: string[] = [];
  for (const change of changes) {
    commands += 1;
    const asked = { address: null, request: "LOCAL break-glass opened" };
    const command: Command = { id: `c${commands}`, atMs: 1_000, by: "local", change, asked };
    const applied = apply(now, command);
    if (applied.state === null) throw new Error("nothing is agreed");
    now = applied.state;
    names.push(...applied.events.map(({ name, message }) => `${name}: ${message}`));
  }
  return { state: now, told, names };
}

describe("what somebody did on a host", () => {
  test("is told once, with the member's name and in the trail, and then need not be told again", () => {
    const first = note(clusterState({ featureLevel: 4 }), [trace("a")]);
    expect(first.told).toEqual([]);
    expect(first.names).toEqual([
      "break-glass.local-opened: ann took superuser access on the host of m2: INC-1",
      "audit.note-local-access: LOCAL break-glass opened by local",
    ]);
    const second = note(first.state, [trace("a"), trace("b")]);
    expect(second.told).toEqual(["a"]);
    expect(second.names).toHaveLength(2);
    const change = { kind: "note-local-access", access: { ...trace("a"), memberId: id("m2") } } as const;
    const again = apply(second.state, { id: "again", atMs: 2_000, by: "local", change });
    expect(again.outcome).toMatchObject({ ok: false, code: "noted-already" });
    expect(again.state).toBe(second.state);
  });

  test("is remembered up to a bound, and is nothing below feature level 4", () => {
    const many = Array.from({ length: LOCAL_ACCESS_KEPT + 3 }, (_, n) => trace(`t${n}`));
    const { state } = note(clusterState({ featureLevel: 4 }), many);
    expect(state.localAccess).toHaveLength(LOCAL_ACCESS_KEPT);
    expect(state.localAccess?.[0]?.id).toBe("t3");
    expect(note(clusterState({ featureLevel: 3 }), [trace("a")]).names).toEqual([]);
  });

  test.each([["{"], ["[]"], ["7"], ['{"id":"a"}'], [JSON.stringify({ ...trace("a"), what: "x" })]])(
    "is not %s",
    (text) => expect(parseLocalAccess(text)).toBeNull(),
  );
});
