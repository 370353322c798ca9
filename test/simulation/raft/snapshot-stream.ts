import type { MemberId } from "../../../src/base/ids.ts";
import type { NodeStatus } from "../../../src/raft/node.ts";
import type { StagedSnapshot } from "../../../src/raft/ports.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";
import type { EventQueue } from "./event-queue.ts";
import type { Member } from "./member.ts";
import type { Network } from "./network.ts";

/** What carries snapshots: a connection of their own, as good or bad as the world is. */
export interface Streaming {
  readonly queue: EventQueue;
  readonly network: Network;
  member(id: MemberId): Member | undefined;
  /** From when on nothing fails any more. */
  isCalm(): boolean;
  note(text: () => string): void;
}

const CHUNK_COUNT_MAX = 6;
const CHUNK_UNITS_MAX = 40;
const GIVE_UP_UNITS = 120;

/**
 * Sends a snapshot in pieces. Each piece may meet a cut or clogged link; a receiver that restarted has thrown away the
 * half that it had. The sender hears how it ended, sometimes late and sometimes wrongly: what it gave up may still arrive,
 * even under another leader.
 */
export function streamSnapshot(
  streaming: Streaming,
  random: SeededRandom,
  from: Member,
  to: MemberId,
  staged: StagedSnapshot,
  { term }: NodeStatus,
): void {
  const { queue, network } = streaming;
  const senderLife = from.life;
  const receiverLife = streaming.member(to)?.life;
  const { index } = staged.meta;
  let chunksLeft = random.integer(1, CHUNK_COUNT_MAX);
  let triesLeft = 4;
  const report = (text: string): void => {
    if (from.life !== senderLife) return;
    from.hear(`hears that its snapshot of ${index} for ${to} ${text}`, (node) => node.reportSnapshot(to));
  };
  const isFailing = (): boolean => {
    const receiver = streaming.member(to);
    const isGone = receiver === undefined || !receiver.isRunning || receiver.life !== receiverLife;
    return isGone || from.life !== senderLife || !network.isOpen(from.id, to);
  };
  const arrive = (): void => {
    const receiver = streaming.member(to);
    if (receiver?.life !== receiverLife) {
      report("was lost with its receiver");
      return;
    }
    const message = { type: "snapshot", from: from.id, to, term, meta: staged.meta } as const;
    receiver?.hear(`has the snapshot of ${index}/${staged.meta.term} from ${from.id}, term ${term}`, (node) =>
      node.receiveSnapshot(message, staged.content),
    );
    queue.in(random.integer(0, 20), () => report("arrived"));
  };
  const step = (): void => {
    if (isFailing()) {
      triesLeft -= 1;
      if (triesLeft > 0 && from.life === senderLife && streaming.member(to)?.life === receiverLife) {
        queue.in(GIVE_UP_UNITS / 3, step);
      } else {
        queue.in(random.integer(1, GIVE_UP_UNITS), () => report("failed"));
      }
      return;
    }
    chunksLeft -= 1;
    if (chunksLeft === 0) {
      const isLate = !streaming.isCalm() && random.chance(15);
      if (isLate) report("failed, as it thinks");
      queue.in(isLate ? random.integer(50, 800) : 1, arrive);
      return;
    }
    queue.in(random.integer(1, CHUNK_UNITS_MAX), step);
  };
  streaming.note(() => `${from.id} sends ${to} a snapshot of ${index}/${staged.meta.term}`);
  queue.in(random.integer(1, CHUNK_UNITS_MAX), step);
}
