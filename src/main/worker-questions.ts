/** What is asked of the worker, by its own main thread and by other workers: who answers it. */
import type { LogIndex, MemberId } from "../base/ids.ts";
import type { Outcome } from "../cluster/command.ts";
import type { ConfigTarget, StoredEvent } from "../cluster/consensus.ts";
import type { MemberStatus } from "../cluster/observation.ts";
import type { PeerProof } from "../peer/transport.ts";
import type { IncomingCalls } from "./incoming-calls.ts";
import type { ProposalDesk } from "./proposal-desk.ts";
import type { Proposals } from "./proposals.ts";
import type { Reads } from "./reads.ts";
import type { SnapshotTraffic } from "./snapshot-traffic.ts";
import {
  DIVERGED_METHOD,
  PROPOSE_METHOD,
  parseDivergence,
  parseProposal,
  READ_INDEX_METHOD,
} from "./worker-calls.ts";
import type { FromWorker, ToWorker } from "./worker-protocol.ts";

export interface QuestionPorts {
  readonly proposals: Proposals;
  readonly reads: Reads;
  readonly desk: ProposalDesk;
  readonly snapshots: SnapshotTraffic;
  readonly incoming: IncomingCalls;
  post(message: FromWorker): void;
  /** What was asked is to be carried out soon. */
  planTurn(): void;
  publish(status: MemberStatus, atMs: number): void;
  call(to: MemberId, method: string, payload: unknown, deadlineMs: number): Promise<unknown>;
  renew(credentials: PeerProof): void;
  wantConfig(target: ConfigTarget): void;
  transfer(to: MemberId): void;
  readEvents(afterId: number, countMax: number): readonly StoredEvent[];
  outcomeOf(commandId: string): Outcome | null;
  close(): void;
  leaderId(): MemberId | null;
  stateHashAt(index: LogIndex): string | null;
  endDiverged(index: LogIndex): void;
}

export class WorkerQuestions {
  readonly #ports: QuestionPorts;

  constructor(ports: QuestionPorts) {
    this.#ports = ports;
  }

  /** `clock` and `start` are answered by whoever made the worker. */
  fromMain(message: ToWorker): void {
    const { proposals, reads, snapshots, incoming, post } = this.#ports;
    switch (message.type) {
      case "propose": {
        const { requestId, command, deadlineMs } = message;
        proposals.add(command, deadlineMs, (result) => post({ type: "proposed", requestId, result }));
        break;
      }
      case "renew":
        this.#ports.renew(message.credentials);
        return;
      case "barrier": {
        const { requestId, deadlineMs } = message;
        reads.add(deadlineMs, (result) => post({ type: "barred", requestId, result }));
        return;
      }
      case "publish":
        this.#ports.publish(message.status, message.atMs);
        break;
      case "call":
        this.#call(message);
        return;
      case "answer":
        incoming.answer(message.requestId, message.answer);
        return;
      case "change-config":
        this.#ports.wantConfig(message.target);
        break;
      case "transfer":
        this.#ports.transfer(message.to);
        break;
      case "read-events": {
        const { requestId, afterId, countMax } = message;
        post({ type: "events", requestId, events: this.#ports.readEvents(afterId, countMax) });
        return;
      }
      case "outcome-of": {
        const { requestId, commandId } = message;
        post({ type: "outcome", requestId, outcome: this.#ports.outcomeOf(commandId) });
        return;
      }
      case "backup":
        post({ type: "backed-up", requestId: message.requestId, result: snapshots.backup() });
        return;
      case "close":
        this.#ports.close();
        return;
      case "clock":
      case "start":
        return;
    }
    this.#ports.planTurn();
  }

  /** What throws here is wrong with what was asked, and goes back to whoever asked. */
  async fromMember(from: MemberId, method: string, payload: unknown): Promise<unknown> {
    const { desk, reads, snapshots, incoming, planTurn } = this.#ports;
    switch (method) {
      case PROPOSE_METHOD: {
        const data = parseProposal(payload);
        if (data === null) throw new Error("a proposal without a command");
        const acceptance = desk.take(data);
        planTurn();
        return acceptance;
      }
      case READ_INDEX_METHOD:
        return await reads.indexForOther();
      case DIVERGED_METHOD:
        this.#onAccused(from, payload);
        return null;
      default:
        return await (snapshots.onCall(from, method, payload) ?? incoming.ask(from, method, payload));
    }
  }

  #call({ requestId, to, method, payload, deadlineMs }: ToWorker & { type: "call" }): void {
    const { post } = this.#ports;
    this.#ports.call(to, method, payload, deadlineMs).then(
      (value) => post({ type: "called", requestId, answer: { ok: true, value } }),
      (error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        post({ type: "called", requestId, answer: { ok: false, message } });
      },
    );
  }

  /** Only the leader accuses, and only of what this member says of itself: an old report is not held against it. */
  #onAccused(from: MemberId, payload: unknown): void {
    const told = parseDivergence(payload);
    if (told === null || from !== this.#ports.leaderId()) return;
    const own = this.#ports.stateHashAt(told.index);
    if (own !== null && own !== told.hash) this.#ports.endDiverged(told.index);
  }
}
