/** What is broken on purpose between a member and the supervisor beside it. */
import type { SupervisorRequest } from "../../../src/supervisor/protocol.ts";
import type { Host } from "./host.ts";
import type { Invariants } from "./invariants.ts";
import type { MemberProcess } from "./member-process.ts";
import type { World } from "./world.ts";

export class MemberSabotage {
  readonly #world: World;
  readonly #host: Host;

  constructor(world: World, host: Host) {
    this.#world = world;
    this.#host = host;
  }

  /** A primary without a leader is stopped. */
  beforeALook(invariants: Invariants, process: MemberProcess): void {
    const { postgres, supervisor } = this.#host;
    if (this.#world.sabotage !== "stop-a-primary-without-a-leader" || postgres.kind !== "primary") return;
    if (this.#world.hasMajority(this.#host)) return;
    const stop = { kind: "stop", mode: "immediate", deadlineMs: 0 } as const;
    invariants.checkAction(this.#host, process, stop);
    supervisor.perform(stop, () => {});
  }
}

/** Another request than the one that was made. */
export function insteadOfRequest(
  { sabotage, chance, latest }: World,
  { supervisor }: Host,
  request: SupervisorRequest,
): SupervisorRequest {
  if (sabotage === "ignore-the-epoch-of-timelines" && request.kind === "clone") {
    // Trusts timeline numbers, as if the data could follow as it is.
    const { epoch, timelines, source, replace } = request;
    const { settings } = supervisor;
    if (replace?.includes("was written under") !== true || settings === null) return request;
    return { kind: "configure", epoch, timelines, settings: { ...settings, upstream: source } };
  }
  if (sabotage === "clone-without-a-reason" && request.kind === "rewind" && chance.is(0.1)) {
    const { epoch, timelines, source } = request;
    const { clusterId } = latest;
    return { kind: "clone", clusterId, epoch, timelines, source, replace: "it is quicker" };
  }
  return request;
}
