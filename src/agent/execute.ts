/** Carries out one action of a plan. Decides nothing: every `if` lives in `decision/`. Each branch may run twice. */
import { unreachable } from "../base/assert.ts";
import type { Action } from "../decision/plan.ts";
import type { SupervisorErrorCode, SupervisorRequest } from "../supervisor/protocol.ts";
import type { LocalPostgres } from "./ports.ts";

/** An action that did not work. What is then true is seen by the next look. */
export class ActionFailed extends Error {
  override readonly name = "ActionFailed";
  readonly action: Action["kind"];
  readonly code: SupervisorErrorCode;

  constructor(action: Action["kind"], code: SupervisorErrorCode, message: string) {
    super(`${action}: ${message}`);
    this.action = action;
    this.code = code;
  }
}

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
/** How long sessions and standbys may hold up a clean stop before it becomes an immediate one. */
const FAST_STOP_MS_MAX = 10 * SECOND_MS;

/** @throws {ActionFailed} if the supervisor refused or failed; any error of the connections beneath. */
export async function perform(action: Action, postgres: LocalPostgres): Promise<void> {
  switch (action.kind) {
    case "provision":
      return postgres.probe.provision(10 * SECOND_MS);
    case "checkpoint":
      return postgres.probe.checkpoint(HOUR_MS);
    default: {
      const response = await postgres.supervisor.request(requestOf(action), deadlineMs(action));
      if (!response.ok) throw new ActionFailed(action.kind, response.code, response.message);
    }
  }
}

type SupervisorAction = Exclude<Action, { kind: "provision" | "checkpoint" }>;

function requestOf(action: SupervisorAction): SupervisorRequest {
  if (action.kind !== "stop") return action;
  const { kind, mode, withinMs = FAST_STOP_MS_MAX } = action;
  return { kind, mode, deadlineMs: mode === "fast" ? withinMs : 2 * SECOND_MS };
}

function deadlineMs(action: SupervisorAction): number {
  switch (action.kind) {
    case "clone":
      return 24 * HOUR_MS;
    case "rewind":
    case "initdb":
      return HOUR_MS;
    case "stop":
    case "restart-in-place":
      return 60 * SECOND_MS;
    case "configure":
    case "start":
    case "reload":
    case "promote":
    case "pledge":
    case "release-lease":
    case "discard-aside":
      return 10 * SECOND_MS;
    default:
      return unreachable(action);
  }
}
