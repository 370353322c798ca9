/** What people do: change how commits are kept, pause failovers, end a reign, hand over, build a member anew, replace one. */
import { isNamedByReign } from "../../../src/cluster/state.ts";
import { member } from "../../support/situation.ts";
import type { Group } from "./group.ts";
import type { Host } from "./host.ts";
import type { World } from "./world.ts";

const ASKED = "somebody asked";
const TOKEN_MS = 1_000;

export class People {
  readonly #world: World;
  readonly #group: Group;
  readonly #startMember: (host: Host) => void;

  constructor(world: World, group: Group, startMember: (host: Host) => void) {
    this.#world = world;
    this.#group = group;
    this.#startMember = startMember;
  }

  operate(): void {
    const { chance, latest } = this.#world;
    if (!this.#group.isLed || latest.reign === null) return;
    const { spec, generation, reign, members } = latest;
    const dice = chance.share();
    const other = chance.pick(members);
    const operationId = this.#world.newOperationId();
    if (dice < 0.12) this.restart(0.8);
    else if (dice < 0.45 && this.#world.theme !== "leased") {
      const durability = chance.pick([
        { mode: "async", maxLagBytes: chance.is(0.5) ? 5 : 1_000_000 },
        { mode: "async", maxLagBytes: 1_000_000 },
        { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "degrade" },
        { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "block" },
        { mode: "quorum", synchronousStandbys: 2, onQuorumLoss: "degrade" },
      ] as const);
      this.#group.agree({ kind: "change-spec", generation, spec: { ...spec, durability } }, ASKED);
    } else if (dice < 0.55) {
      const isPaused = (latest.pauses ?? []).length > 0;
      this.#group.agree(
        isPaused ? { kind: "resume", reason: null } : { kind: "pause", reason: "work" },
        ASKED,
      );
    } else if (dice < 0.7) {
      this.#group.agree(
        { kind: "fence", epoch: reign.epoch, reason: "operator", preferredId: other.id },
        ASKED,
      );
    } else if (dice < 0.9) {
      this.#group.agree(
        { kind: "begin-switchover", targetId: other.id, operationId, epoch: reign.epoch },
        ASKED,
      );
    } else {
      this.#group.agree({ kind: "reinitialize-member", memberId: other.id, operationId }, ASKED);
    }
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
