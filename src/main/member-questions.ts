/** What the API asks of one member, whichever member answers it: here, or by a call to another member's main thread. */

import type { CatalogLoop } from "../agent/catalog-loop.ts";
import { type MemberId, parseMemberName } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { AccessTrial } from "../cluster/access-trial.ts";
import type { DeclaredReport } from "../cluster/catalog.ts";
import type { Consensus } from "../cluster/consensus.ts";
import type { Fork } from "../cluster/fork.ts";
import type { MachineFacts } from "../cluster/machine-facts.ts";
import type { AccessLines } from "../cluster/managed-settings.ts";
import type { Parameters } from "../cluster/parameters.ts";
import type { ServerSettings, TriedParameters } from "../cluster/server-settings.ts";
import type { Probe } from "../postgres/probe.ts";
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

export const RELOAD_METHOD = "reload";

const RELOAD_DEADLINE_MS = 5_000;

/** Has the PostgreSQL here read its settings again. @throws {Error} where there is none. */
export async function reloadHere(supervisor: SupervisorLink | null): Promise<object> {
  if (supervisor === null) throw new Error("there is no PostgreSQL");
  const answer = await supervisor.request({ kind: "reload" }, RELOAD_DEADLINE_MS);
  if (!answer.ok) throw new Error(answer.message);
  return {};
}

/** Has a member's PostgreSQL read its settings again; the error says why it was not told to. */
export async function reloadOn(
  consensus: Consensus,
  self: { readonly id: MemberId; readonly supervisor: SupervisorLink | null },
  memberId: MemberId,
): Promise<Result<null, string>> {
  try {
    if (memberId === self.id) await reloadHere(self.supervisor);
    else await consensus.call(memberId, RELOAD_METHOD, null, RELOAD_DEADLINE_MS);
    return ok(null);
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error));
  }
}

export const MACHINE_METHOD = "describe-machine";

const MACHINE_DEADLINE_MS = 5_000;

/** What the machine under the PostgreSQL here has. @throws {Error} where nobody can tell. */
export async function machineHere(supervisor: SupervisorLink | null): Promise<MachineFacts> {
  if (supervisor === null) throw new Error("there is no PostgreSQL");
  const answer = await supervisor.request({ kind: "describe-machine" }, MACHINE_DEADLINE_MS);
  if (!answer.ok) throw new Error(answer.message);
  if (answer.machine === undefined) throw new Error("its supervisor is of an older release");
  return answer.machine;
}

/** What the machine under a member's PostgreSQL has; the error says why that cannot be told. */
export async function machineOf(
  consensus: Consensus,
  self: { readonly id: MemberId; readonly supervisor: SupervisorLink | null },
  memberId: MemberId,
): Promise<Result<MachineFacts, string>> {
  try {
    if (memberId === self.id) return ok(await machineHere(self.supervisor));
    const answer = await consensus.call(memberId, MACHINE_METHOD, null, MACHINE_DEADLINE_MS);
    // A member of this cluster wrote it: its form is trusted, its content is data.
    return ok(answer as MachineFacts);
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error));
  }
}

export const TRY_ACCESS_METHOD = "try-access";

/** PostgreSQL reads rules in a tenth of a second; one trial may wait for another. */
const TRIAL_DEADLINE_MS = 8_000;

/** Another member, or this one, wants to know what our PostgreSQL makes of rules. @throws {Error} where nobody could ask it. */
export async function tryAccessHere(
  supervisor: SupervisorLink | null,
  payload: unknown,
): Promise<AccessTrial> {
  if (supervisor === null) return { kind: "untried", why: "there is no PostgreSQL" };
  // The supervisor checks each field before it believes one.
  const { lines } = payload as { readonly lines: AccessLines };
  const answer = await supervisor.request({ kind: "try-access", lines }, TRIAL_DEADLINE_MS);
  if (!answer.ok) throw new Error(answer.message);
  return answer.trial ?? { kind: "untried", why: "its supervisor is of an older release" };
}

/** What a member's PostgreSQL makes of rules; the error says why it was not asked. */
export async function tryAccessOn(
  consensus: Consensus,
  self: { readonly id: MemberId; readonly supervisor: SupervisorLink | null },
  memberId: MemberId,
  lines: AccessLines,
): Promise<Result<AccessTrial, string>> {
  try {
    if (memberId === self.id) return ok(await tryAccessHere(self.supervisor, { lines }));
    const answer = await consensus.call(memberId, TRY_ACCESS_METHOD, { lines }, TRIAL_DEADLINE_MS);
    // A member of this cluster wrote it: its form is trusted, its content is data.
    return ok((answer as { readonly trial: AccessTrial }).trial);
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error));
  }
}

export const DECLARED_METHOD = "declared-report";

const DECLARED_DEADLINE_MS = 3_000;

/** What the loop here found. @throws {Error} where there is no PostgreSQL. */
export function declaredHere(loop: CatalogLoop | null): DeclaredReport {
  if (loop === null) throw new Error("this member has no PostgreSQL");
  return loop.report;
}

/** What a member found of what is declared; the error says why that cannot be told. */
export async function declaredOn(
  consensus: Consensus,
  self: { readonly id: MemberId; readonly loop: CatalogLoop | null },
  memberId: MemberId,
): Promise<Result<DeclaredReport, string>> {
  try {
    if (memberId === self.id) return ok(declaredHere(self.loop));
    const answer = await consensus.call(memberId, DECLARED_METHOD, null, DECLARED_DEADLINE_MS);
    // A member of this cluster wrote it: its form is trusted, its content is data.
    return ok(answer as DeclaredReport);
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

export const SETTINGS_METHOD = "read-settings";
export const TRY_METHOD = "try-parameters";

const SETTINGS_DEADLINE_MS = 3_000;
/** Longer than a trial may take, shorter than whoever asked waits. */
const TRY_DEADLINE_MS = 10_000;

/** This member's PostgreSQL, for questions about its parameters. */
export interface AskablePostgres {
  readonly id: MemberId;
  readonly supervisor: SupervisorLink | null;
  readonly probe: Probe | null;
}

/** What the server here says. @throws {Error} where there is none that answers. */
export async function settingsHere(
  { supervisor, probe }: AskablePostgres,
  payload: unknown,
): Promise<ServerSettings> {
  if (supervisor === null || probe === null) throw new Error("this member has no PostgreSQL");
  const names = typeof payload === "object" && payload !== null && "names" in payload ? payload.names : null;
  const asked = Array.isArray(names) ? names.map(String) : null;
  const [answer, look] = await Promise.all([
    probe.settings(asked, SETTINGS_DEADLINE_MS),
    supervisor.request({ kind: "look" }, SETTINGS_DEADLINE_MS),
  ]);
  return { ...answer, takenOut: look.ok ? (look.look.takenOut ?? []) : [] };
}

/** What a member's server says of its parameters; the error says why that cannot be told. */
export async function settingsOf(
  consensus: Consensus,
  self: AskablePostgres,
  memberId: MemberId,
  names: readonly string[] | null,
): Promise<Result<ServerSettings, string>> {
  try {
    if (memberId === self.id) return ok(await settingsHere(self, { names }));
    const answer = await consensus.call(memberId, SETTINGS_METHOD, { names }, 2 * SETTINGS_DEADLINE_MS);
    // A member of this cluster wrote it: its form is trusted, its content is data.
    return ok(answer as ServerSettings);
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error));
  }
}

/** Tries parameters on the PostgreSQL here. @throws {Error} where there is none. */
export async function tryHere({ supervisor }: AskablePostgres, payload: unknown): Promise<TriedParameters> {
  if (supervisor === null) throw new Error("this member has no PostgreSQL");
  // The supervisor reads every name and value of it.
  const { parameters } = payload as { readonly parameters: Parameters };
  const answer = await supervisor.request({ kind: "try-parameters", parameters }, TRY_DEADLINE_MS);
  if (answer.ok) return { kind: "fits" };
  return { kind: answer.code === "program-failed" ? "refused" : "unknown", why: answer.message };
}

/** Whether a member's PostgreSQL would start with these parameters. */
export async function tryOn(
  consensus: Consensus,
  self: AskablePostgres,
  memberId: MemberId,
  parameters: Parameters,
): Promise<TriedParameters> {
  try {
    if (memberId === self.id) return await tryHere(self, { parameters });
    const answer = await consensus.call(memberId, TRY_METHOD, { parameters }, TRY_DEADLINE_MS);
    // A member of this cluster wrote it: its form is trusted, its content is data.
    return answer as TriedParameters;
  } catch (error) {
    return { kind: "unknown", why: error instanceof Error ? error.message : String(error) };
  }
}
