/** Hands leadership on before this member ends: then nobody has to notice that it is gone. */
import type { RaftNode } from "../raft/node.ts";

/** Handing on may take this long in all. */
const HAND_OVER_MS = 1000;
/** How often it is looked whether somebody else leads. */
const LOOK_MS = 10;

export interface StepDownPorts {
  node(): RaftNode;
  nowMs(): number;
  /** What was asked of Raft is to be carried out. */
  planTurn(): void;
  /** Carries a step out, unless this member has ended meanwhile. */
  guard(step: () => void): void;
}

/** Calls `finish` once this member does not lead, or nobody takes over in time: at once, where it does not lead now. */
export function stepDownThen(ports: StepDownPorts, finish: () => void): void {
  const endsAtMs = ports.nowMs() + HAND_OVER_MS;
  const look = (): void => {
    const node = ports.node();
    const { role, isTransferring } = node.status();
    // Whoever did not take it within an election time does not take it: ask the next.
    const isAsked =
      role === "leader" && ports.nowMs() < endsAtMs && (isTransferring || node.transferLeadership(null).ok);
    if (!isAsked) {
      finish();
      return;
    }
    ports.planTurn();
    setTimeout(() => ports.guard(look), LOOK_MS);
  };
  ports.guard(look);
}
