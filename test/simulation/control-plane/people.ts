/**
 * What people do: change how commits are kept, pause failovers, end a reign, hand over now or later, take a loss, build a member anew,
 * replace one.
 */
import type { TimelineId } from "../../../src/base/ids.ts";
import type { Lsn } from "../../../src/base/lsn.ts";
import type { Durability } from "../../../src/cluster/spec.ts";
import { isNamedByReign, type Reign } from "../../../src/cluster/state.ts";
import { member } from "../../support/situation.ts";
import type { Group } from "./group.ts";
import type { Host } from "./host.ts";
import type { World } from "./world.ts";

const ASKED = "somebody asked";
const TOKEN_MS = 1_000;
const SCHEDULED_MS_MAX = 6_000;
/** For so long a loss stays taken. */
const TAKEN_MS = 5_000;

export class People {
  readonly #world: World;
  readonly #group: Group;
  readonly #startMember: (host: Host) => void;

  constructor(world: World, group: Group, startMember: (host: Host) => void) {
    this.#world = world;
    this.#group = group;
    this.#startMember = startMember;
  }

  /** One of what people do, each as often as it comes up. */
  operate(): void {
    const { chance, latest, theme } = this.#world;
    const { reign } = latest;
    if (!this.#group.isLed || reign === null) return;
    const dice = chance.share();
    if (dice < 0.08) this.restart(0.8);
    else if (dice < (theme === "cohorts" ? 0.8 : 0.4) && theme !== "leased") this.#changeDurability();
    else if (dice < 0.5) this.#pauseOrResume();
    else if (dice < 0.85) this.#changePrimary(reign);
    else if (dice < 0.93) this.#acceptLoss(reign);
    else {
      const { id } = chance.pick(latest.members);
      const operationId = this.#world.newOperationId();
      this.#group.agree({ kind: "reinitialize-member", memberId: id, operationId }, ASKED);
    }
  }

  #changeDurability(): void {
    const { chance, latest } = this.#world;
    const { spec, generation } = latest;
    const quorum = { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "block" } as const;
    const durability = chance.pick<Durability>([
      { mode: "async", maxLagBytes: chance.is(0.5) ? 5 : 1_000_000 },
      { mode: "async", maxLagBytes: 1_000_000 },
      { ...quorum, onQuorumLoss: "degrade" },
      quorum,
      { ...quorum, staleReads: "refuse" },
      { ...quorum, synchronousStandbys: 2, onQuorumLoss: "degrade" },
    ]);
    this.#group.agree({ kind: "change-spec", generation, spec: { ...spec, durability } }, ASKED);
  }

  #pauseOrResume(): void {
    const isPaused = (this.#world.latest.pauses ?? []).length > 0;
    this.#group.agree(isPaused ? { kind: "resume", reason: null } : { kind: "pause", reason: "work" }, ASKED);
  }

  /** By force, in good order, or later. */
  #changePrimary({ epoch, primaryId }: Reign): void {
    const { chance, latest, leader } = this.#world;
    const { id } = chance.pick(latest.members);
    const operationId = this.#world.newOperationId();
    const dice = chance.share();
    if (dice < 0.4) this.#group.agree({ kind: "fence", epoch, reason: "operator", preferredId: id }, ASKED);
    else if (dice < 0.8)
      this.#group.agree({ kind: "begin-switchover", targetId: id, operationId, epoch }, ASKED);
    else if (latest.scheduledSwitchover != null && chance.is(0.5)) {
      const scheduleId = latest.scheduledSwitchover.id;
      this.#group.agree({ kind: "cancel-switchover", scheduleId, reason: null }, ASKED);
    } else {
      const targetId = chance.is(0.5) ? id : null;
      const dueAtMs = this.#world.wallMs(leader) + chance.below(SCHEDULED_MS_MAX);
      const scheduleId = operationId;
      this.#group.agree({ kind: "schedule-switchover", scheduleId, primaryId, targetId, dueAtMs }, ASKED);
    }
  }

  /** Somebody takes the loss of what a member lacks, as it was shown a moment ago. */
  #acceptLoss({ epoch, primaryId }: Reign): void {
    const world = this.#world;
    const host = world.chance.pick(world.hosts);
    if (host.id === primaryId || !host.postgres.isOpen) return;
    const position = { timeline: host.postgres.timeline as TimelineId, lsn: host.postgres.wal.length as Lsn };
    const expiresAtMs = world.wallMs(world.leader) + TAKEN_MS;
    this.#group.agree({ kind: "accept-loss", epoch, memberId: host.id, position, expiresAtMs }, ASKED);
  }

  /** PostgreSQL is started again on this share of the members; or what was begun is held, let go on or ended. */
  restart(share: number): void {
    const { chance, latest, hosts } = this.#world;
    const operationId = this.#world.newOperationId();
    if (latest.restart != null) {
      if (chance.is(0.6)) return;
      const wish = chance.pick(["pause", "resume", "cancel"] as const);
      this.#group.agree({ kind: "steer-restart", operationId: latest.restart.operationId, wish }, ASKED);
      return;
    }
    const targets = hosts.flatMap(({ id: memberId, postgres }) =>
      postgres.isRunning && chance.is(share) ? [{ memberId, instance: `${postgres.server}-0` }] : [],
    );
    const plan = {
      strategy: chance.pick(["auto", "in-place", "in-place", "switchover"] as const),
      isPendingOnly: false,
      mayStall: chance.is(0.5),
      timeoutMs: 5_000,
    };
    this.#group.agree({ kind: "plan-restart", operationId, targets, ...plan }, ASKED);
  }

  /** Somebody ends the reign in favour of a member that stands outside every rule. */
  nameOutsider(): void {
    const { latest } = this.#world;
    const { reign, members } = latest;
    const outsider = members.find((each) => !isNamedByReign(latest, each.id) && !each.isLeaving);
    if (reign === null || outsider === undefined || !this.#group.isLed) return;
    const named = { reason: "operator", preferredId: outsider.id };
    this.#group.agree({ kind: "fence", epoch: reign.epoch, ...named }, ASKED);
  }

  /** Being wrong about a healthy primary may cost a failover, but never data. */
  suspectNeedlessly(): void {
    const { latest } = this.#world;
    const { reign } = latest;
    if (reign === null || reign.fence !== null || !this.#group.isLed) return;
    this.#group.agree(
      { kind: "fence", epoch: reign.epoch, reason: "needless", preferredId: null },
      "needless suspicion",
    );
  }

  /** Somebody says that a new machine takes a member's name and place. The old one may be in the best of health. */
  replace(): void {
    const world = this.#world;
    const { latest, leader } = world;
    const replaceable = latest.members.filter((each) => each.id !== latest.reign?.primaryId);
    const isBusy = latest.members.some(({ isLeaving }) => isLeaving);
    if (replaceable.length === 0 || isBusy || !this.#group.isLed) return;
    const old = world.chance.pick(replaceable);
    const host = world.addHost();
    const tokenId = `token-${host.name}`;
    const before = world.states.length;
    const expiresAtMs = world.wallMs(leader) + TOKEN_MS;
    const made = { tokenId, secretHash: "", expiresAtMs, replaces: old.id };
    this.#group.agree({ kind: "create-join-token", ...made }, ASKED);
    const joiner = { ...member(host.name, { data: "none" }), name: old.name };
    this.#group.agree({ kind: "add-member", member: joiner, joinTokenId: tokenId }, ASKED);
    if (world.states.length < before + 2) world.removeHost(host);
    else this.#startMember(host);
  }
}
