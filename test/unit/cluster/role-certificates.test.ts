import { expect, test } from "bun:test";
import { apply } from "../../../src/cluster/apply.ts";
import { ROLE_CERTIFICATES_KEPT } from "../../../src/cluster/role-certificate.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { clusterState } from "../../support/situation.ts";

function noted(state: ClusterState, serial: string, expiresAtMs: number, atMs = 1_000): ClusterState {
  const asked = { address: null, request: "POST /v1/access/roles/app/certificate" };
  const change = {
    kind: "note-role-certificate",
    role: "app",
    serial,
    authority: "ff",
    expiresAtMs,
  } as const;
  const applied = apply(state, { id: `c-${serial}`, atMs, by: "ann", asked, change });
  if (!applied.outcome.ok || applied.state === null) throw new Error(JSON.stringify(applied.outcome));
  expect(applied.events.map(({ name }) => name)).toEqual(["role.certificate", "audit.note-role-certificate"]);
  return applied.state;
}

test("certificates of roles are remembered while they are good, the latest of them", () => {
  let state = clusterState({ featureLevel: 4 });
  state = noted(state, "aa", 2_000);
  state = noted(state, "bb", 9_000);
  expect(state.roleCertificates?.map(({ serial }) => serial)).toEqual(["aa", "bb"]);
  state = noted(state, "cc", 9_000, 2_000);
  expect(state.roleCertificates?.map(({ serial }) => serial)).toEqual(["bb", "cc"]);
  for (let n = 0; n < ROLE_CERTIFICATES_KEPT; n += 1) state = noted(state, `n${n}`, 9_000);
  expect(state.roleCertificates).toHaveLength(ROLE_CERTIFICATES_KEPT);
  expect(state.roleCertificates?.[0]?.serial).toBe("n0");
});

test("before feature level 4 nothing of it is taken", () => {
  const change = {
    kind: "note-role-certificate",
    role: "app",
    serial: "aa",
    authority: "ff",
    expiresAtMs: 2_000,
  } as const;
  const state = clusterState({ featureLevel: 3 });
  const applied = apply(state, { id: "c", atMs: 1, by: "ann", change });
  expect([applied.state === state, applied.outcome]).toMatchObject([true, { code: "feature-level-low" }]);
});
