import type { MemberId } from "../../../src/base/ids.ts";
import type { Message } from "../../../src/raft/engine/message.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";
import type { EventQueue } from "./event-queue.ts";
import type { NetworkWeather } from "./swarm.ts";

const STRAGGLER_UNITS_MAX = 1_200;
const CALM: NetworkWeather = {
  delayUnitsMin: 1,
  delayUnitsMean: 2,
  dropPercent: 0,
  duplicatePercent: 0,
  stragglerPercent: 0,
  isOrdered: false,
  capacity: 1_000,
};

/** One direction between two members. */
interface Link {
  readonly from: MemberId;
  readonly to: MemberId;
  isCut: boolean;
  /** Until then everything waits. */
  cloggedUntil: number;
  underWay: number;
  /** Grows with each reset: what was under way before does not arrive. */
  connection: number;
  lastArrivalAt: number;
}

export interface NetworkUser {
  deliver(message: Message): void;
  /** A message could not be sent, or the connection broke. */
  lostConnection(at: MemberId, to: MemberId): void;
}

/** What carries messages, badly: each direction by itself is slow, lossy, clogged, cut or reset. */
export class Network {
  readonly #queue: EventQueue;
  readonly #random: SeededRandom;
  readonly #user: NetworkUser;
  #weather: NetworkWeather;
  readonly #links = new Map<MemberId, Map<MemberId, Link>>();

  constructor(queue: EventQueue, random: SeededRandom, weather: NetworkWeather, user: NetworkUser) {
    this.#queue = queue;
    this.#random = random;
    this.#weather = weather;
    this.#user = user;
  }

  post(message: Message): void {
    const link = this.#link(message.from, message.to);
    const random = this.#random;
    const { capacity, dropPercent, duplicatePercent } = this.#weather;
    if (link.isCut) {
      // Some time after a cable is cut, whoever writes is told.
      if (random.chance(5)) this.#user.lostConnection(message.from, message.to);
      return;
    }
    if (link.underWay >= capacity || random.chance(dropPercent)) return;
    this.#carry(link, message);
    if (random.chance(duplicatePercent)) this.#carry(link, message);
  }

  /** Does a connection of another kind, with many bytes, get through just now? */
  isOpen(from: MemberId, to: MemberId): boolean {
    const link = this.#link(from, to);
    return !link.isCut && link.cloggedUntil <= this.#queue.now;
  }

  cut(from: MemberId, to: MemberId): void {
    this.#link(from, to).isCut = true;
  }

  mend(from: MemberId, to: MemberId): void {
    this.#link(from, to).isCut = false;
  }

  clog(from: MemberId, to: MemberId, units: number): void {
    this.#link(from, to).cloggedUntil = this.#queue.now + units;
  }

  /** Both directions lose what is under way; both ends, or only one, learn of it. */
  reset(a: MemberId, b: MemberId): void {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      this.#link(from, to).connection += 1;
      if (this.#random.chance(80)) this.#user.lostConnection(from, to);
    }
  }

  healAll(): void {
    for (const row of this.#links.values()) {
      for (const link of row.values()) {
        link.isCut = false;
        link.cloggedUntil = 0;
      }
    }
  }

  /** From now on everything arrives soon. What was sent long ago by somebody who is dead by now never arrives. */
  calmDown(): void {
    this.healAll();
    for (const row of this.#links.values()) for (const link of row.values()) link.connection += 1;
    this.#weather = CALM;
  }

  #carry(link: Link, message: Message): void {
    const { isOrdered } = this.#weather;
    const start = Math.max(this.#queue.now, link.cloggedUntil);
    let at = start + this.#delay();
    if (isOrdered) at = Math.max(at, link.lastArrivalAt);
    link.lastArrivalAt = Math.max(at, link.lastArrivalAt);
    link.underWay += 1;
    const { connection } = link;
    this.#queue.at(at, () => {
      link.underWay -= 1;
      if (!link.isCut && link.connection === connection) this.#user.deliver(message);
    });
  }

  #delay(): number {
    const { delayUnitsMin, delayUnitsMean, stragglerPercent } = this.#weather;
    if (this.#random.chance(stragglerPercent)) return this.#random.integer(1, STRAGGLER_UNITS_MAX);
    return delayUnitsMin + this.#random.exponential(delayUnitsMean);
  }

  #link(from: MemberId, to: MemberId): Link {
    let row = this.#links.get(from);
    if (row === undefined) {
      row = new Map();
      this.#links.set(from, row);
    }
    let link = row.get(to);
    if (link === undefined) {
      link = { from, to, isCut: false, cloggedUntil: 0, underWay: 0, connection: 0, lastArrivalAt: 0 };
      row.set(to, link);
    }
    return link;
  }
}
