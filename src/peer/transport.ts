/**
 * How members talk to each other: one outgoing connection to each other member, TLS in both directions, the name in the
 * certificate is who speaks. Raft's traffic is best effort; whatever is wrong with what comes in closes that connection
 * and nothing else.
 */
import type { ClusterId, LogIndex, MemberId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { Message } from "../raft/engine/message.ts";
import type { Transport } from "../raft/ports.ts";
import { type Address, parseAddress } from "./address.ts";
import { Complaints } from "./complaints.ts";
import {
  Connection,
  type ConnectionEvents,
  type ConnectionLimits,
  DEFAULT_CONNECTION_LIMITS,
  parseJson,
} from "./connection.ts";
import { dialMember, whoIs } from "./dial-member.ts";
import type { Frame } from "./frame.ts";
import { type Hello, PROTOCOL_VERSION, type Purpose } from "./hello.ts";
import { MalformedError } from "./malformed.ts";
import { decodeMessage, encodeMessage } from "./message-codec.ts";
import { PeerError } from "./peer-error.ts";
import { type Credentials, listenSecurely, type SecureListener, type SecureSocket } from "./secure-socket.ts";
import { type AgedStatus, type DigestEntry, parseAgedStatus, parseDigest } from "./status-codec.ts";

/** Who this member is, and how it proves that. */
export interface PeerIdentity extends PeerProof {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  /** 0 unless the group was forced from one survivor. */
  readonly recoveryEpoch: number;
}

/** How a member proves who it is. */
export interface PeerProof {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  /** The cluster's authority: whoever it signed may connect. */
  readonly authorityPem: string;
}

export interface PeerAddress {
  readonly id: MemberId;
  /** host:port. */
  readonly address: string;
}

export interface TransportEvents {
  onMessage(message: Message): void;
  onStatus(from: MemberId, status: AgedStatus): void;
  onDigest(from: MemberId, digest: readonly DigestEntry[]): void;
  /** Its answer, or its rejection's message, goes back to the caller. */
  onCall(from: MemberId, method: string, payload: unknown): Promise<unknown>;
  /** The same on a bulk connection. Bytes go back as they are. */
  onBulkCall(from: MemberId, method: string, payload: unknown): Promise<unknown>;
  /** Another member says that this one is a member no more, since the entry `index`. */
  onRemoved(from: MemberId, index: LogIndex): void;
  /** Something came in from this member, whatever it was. */
  onHeard(from: MemberId): void;
  /** It can be reached, or not any more: told at once after a reset or a refusal. */
  onConnected(id: MemberId, isConnected: boolean): void;
}

export interface TransportOptions {
  readonly identity: PeerIdentity;
  /** host:port. */
  readonly listen: string;
  readonly log: Log;
  readonly events: TransportEvents;
  readonly limits?: Partial<ConnectionLimits>;
}

/** A connection for a snapshot's bytes. Nothing else waits behind them. */
export interface BulkConnection {
  /** Rejects with a `PeerError`. Resolves with bytes where the other side answered with bytes. */
  call(method: string, payload: unknown, deadlineMs: number): Promise<unknown>;
  close(): void;
}

const REDIAL_MS_MIN = 50;
const REDIAL_MS_MAX = 500;
const DIAL_DEADLINE_MS = 2000;
const HANDSHAKES = { deadlineMs: DIAL_DEADLINE_MS, countMax: 128 };
const LOOK_EVERY_MS = 1000;
/** How long a member that was removed has to read that. */
const REMOVED_DEADLINE_MS = 1000;
/** What a member that was removed is told. */
const REMOVED_METHOD = "peer.removed";

/** Later is soon enough for all but these. A vote that waits costs an election. */
const ORDINARY: ReadonlySet<Message["type"]> = new Set(["append", "append-response"]);

/** On a bulk connection that we opened only answers come in. */
const BULK_EVENTS: Pick<ConnectionEvents, "onFrame" | "onCall" | "onHeard"> = {
  onFrame: (_, { kind }) => {
    throw new MalformedError(`a ${kind} on a bulk connection`);
  },
  onCall: () => Promise.reject(new Error("whoever opened a bulk connection answers no calls on it")),
  onHeard: () => undefined,
};

/** What we know of the way to one member. */
interface Link {
  readonly id: MemberId;
  address: string;
  outgoing: Connection | null;
  /** Gives up the attempt that is under way. */
  dialing: (() => void) | null;
  redialTimer: ReturnType<typeof setTimeout> | null;
  redialMs: number;
  /** As last told to `onConnected`. */
  isConnected: boolean;
  /** The incoming connection was lost; the outgoing one counts again once something is heard. */
  isDoubtful: boolean;
  /** As last logged, so that a dead member does not fill the log. */
  complaint: string | null;
}

export class PeerTransport implements Transport {
  readonly #options: TransportOptions;
  readonly #limits: ConnectionLimits;
  readonly #hello: Hello;
  #proof: PeerProof;
  readonly #links = new Map<MemberId, Link>();
  readonly #incoming = new Map<MemberId, Connection>();
  /** Snapshots that others pull from us: one at a time each. */
  readonly #incomingBulk = new Map<MemberId, Connection>();
  /** Everything that others opened and that is not closed yet. */
  readonly #accepted = new Set<Connection>();
  readonly #openBulk = new Set<() => void>();
  readonly #complaints = new Complaints();
  #removed: ReadonlyMap<MemberId, LogIndex> = new Map();
  #server: SecureListener | null = null;
  /** That was bound; null before `listen()`. */
  #port: number | null = null;
  #lookTimer: ReturnType<typeof setInterval> | null = null;
  #looks = 0;
  #isClosed = false;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_CONNECTION_LIMITS, ...options.limits };
    const { clusterId, memberId, recoveryEpoch } = options.identity;
    this.#proof = options.identity;
    this.#hello = { protocol: PROTOCOL_VERSION, clusterId, memberId, recoveryEpoch, purpose: "raft" };
  }

  /**
   * Begins to accept other members. Resolves with the port.
   *
   * @throws if the address is not one, or is in use.
   */
  listen(): Promise<number> {
    const { listen } = this.#options;
    const address = parseAddress(listen);
    if (!address.ok) return Promise.reject(new Error(address.error));
    try {
      this.#server = this.#open(address.value);
    } catch (error) {
      const isTaken = error instanceof Error && "code" in error && error.code === "EADDRINUSE";
      const said = error instanceof Error ? error.message : String(error);
      const reason = isTaken ? "the port is in use" : said;
      return Promise.reject(
        new Error(`cannot listen for other members on ${listen}: ${reason}`, { cause: error }),
      );
    }
    this.#port = this.#server.port;
    this.#lookTimer = setInterval(() => this.#look(), LOOK_EVERY_MS);
    return Promise.resolve(this.#port);
  }

  /**
   * Proves who this member is by another certificate from now on, to whom it dials and who dials it. Connections that stand
   * go on: they were proven when they were made.
   */
  renew(proof: PeerProof): void {
    this.#proof = proof;
    if (this.#port === null || this.#isClosed) return;
    // A listener keeps the certificate that it was made with. One that ended frees its port at once.
    this.#server?.stop();
    this.#server = null;
    this.#reopen();
  }

  /** Where the port cannot be had again at once, each look tries. */
  #reopen(): void {
    const address = parseAddress(this.#options.listen);
    if (!address.ok || this.#port === null) return;
    try {
      this.#server = this.#open({ ...address.value, port: this.#port });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#refused(`cannot listen with the new certificate: ${reason}`, { address: this.#options.listen });
    }
  }

  #open(address: Address): SecureListener {
    return listenSecurely(address, this.#credentials(), HANDSHAKES, {
      onSecure: (socket) => this.#accept(socket),
      onRefused: (reason, from) => this.#refused(reason, { address: from }),
    });
  }

  /** Whom to stay connected with. Those that are missing from the list are let go. */
  setPeers(peers: readonly PeerAddress[]): void {
    if (this.#isClosed) return;
    const wanted = new Map(peers.map((peer) => [peer.id, peer.address]));
    wanted.delete(this.#hello.memberId);
    for (const link of this.#links.values()) {
      if (!wanted.has(link.id)) this.#forget(link);
    }
    for (const [id, address] of wanted) {
      const link = this.#links.get(id);
      if (link === undefined) {
        const fresh = newLink(id, address);
        this.#links.set(id, fresh);
        this.#dial(fresh);
      } else if (link.address !== address) {
        link.address = address;
        link.redialMs = REDIAL_MS_MIN;
        if (link.outgoing !== null) link.outgoing.close("it has a new address");
        else this.#dialNow(link);
      }
    }
  }

  send(message: Message): void {
    this.#route(message.to)?.sendRaft(encodeMessage(message), !ORDINARY.has(message.type));
  }

  sendStatus(to: MemberId, status: AgedStatus): void {
    this.#route(to)?.sendLatest("status", status);
  }

  sendDigest(to: MemberId, digest: readonly DigestEntry[]): void {
    this.#route(to)?.sendLatest("digest", digest);
  }

  /** Asks another member. Rejects with a `PeerError`. */
  call(to: MemberId, method: string, payload: unknown, deadlineMs: number): Promise<unknown> {
    const connection = this.#route(to);
    if (connection !== null) return connection.call(method, payload, deadlineMs);
    return Promise.reject(
      new PeerError("unreachable", `there is no connection to member ${to} at the moment`),
    );
  }

  /** Opens a connection of its own to a member. Rejects with a `PeerError`, after two seconds at the latest. */
  openBulk(to: MemberId): Promise<BulkConnection> {
    const link = this.#links.get(to);
    if (link === undefined || this.#isClosed) {
      return Promise.reject(new PeerError("unreachable", `no address of member ${to} is known`));
    }
    return new Promise((resolve, reject) => {
      let end = (): void => undefined;
      const ended = () => this.#openBulk.delete(end);
      end = dialMember({
        ...this.#dialOptions(link, "bulk"),
        events: {
          ...BULK_EVENTS,
          onOpen: (connection) => {
            ended();
            end = () => connection.close(null);
            this.#openBulk.add(end);
            resolve({
              call: (method, payload, deadlineMs) => connection.call(method, payload, deadlineMs),
              close: end,
            });
          },
          onFailed: (reason) => {
            ended();
            reject(new PeerError("unreachable", `no bulk connection to member ${to}: ${reason}`));
          },
          onClosed: ended,
        },
      });
      this.#openBulk.add(end);
    });
  }

  /** Whom to tell that they were removed, and by which entry: now where they are connected, else when they come. */
  setRemoved(removed: ReadonlyMap<MemberId, LogIndex>): void {
    const before = this.#removed;
    this.#removed = removed;
    for (const [id, index] of removed) {
      if (before.has(id)) continue;
      const connection = this.#route(id);
      if (connection !== null) tellRemoved(connection, index);
    }
  }

  isConnected(id: MemberId): boolean {
    return this.#links.get(id)?.isConnected ?? false;
  }

  /** Closes everything, and says nothing more. */
  close(): void {
    this.#isClosed = true;
    if (this.#lookTimer !== null) clearInterval(this.#lookTimer);
    for (const link of this.#links.values()) this.#forget(link);
    for (const connection of [...this.#accepted]) connection.close(null);
    for (const close of [...this.#openBulk]) close();
    this.#server?.stop();
  }

  #credentials(): Credentials {
    const { certificatePem, privateKeyPem, authorityPem } = this.#proof;
    return { cert: certificatePem, key: privateKeyPem, ca: authorityPem };
  }

  /** The connection to use; an incoming one where the other can reach us but not we it. */
  #route(to: MemberId): Connection | null {
    const outgoing = this.#links.get(to)?.outgoing;
    if (outgoing?.isOpen === true) return outgoing;
    const incoming = this.#incoming.get(to);
    return incoming?.isOpen === true ? incoming : null;
  }

  // --- Incoming ---------------------------------------------------------------------------------------------------

  #accept(socket: SecureSocket): void {
    const who = whoIs(socket, this.#hello.clusterId);
    if (!who.ok || this.#isClosed) {
      if (!who.ok) this.#refused(who.error, { address: socket.remoteAddress });
      socket.destroy();
      return;
    }
    const events: ConnectionEvents = {
      ...this.#commonEvents(),
      onOpen: (opened, { purpose }) => {
        clearTimeout(timer);
        this.#admit(opened, purpose);
      },
      onCall: (from, method, payload) =>
        this.#incomingBulk.get(from.peerId) === from
          ? this.#options.events.onBulkCall(from.peerId, method, payload)
          : this.#onCall(from, method, payload),
      onClose: (closed, reason) => {
        clearTimeout(timer);
        this.#parted(closed, reason);
      },
    };
    const connection = new Connection(socket, who.value, this.#hello, events, this.#limits);
    this.#accepted.add(connection);
    // Neither a member that takes no turn nor a rogue that holds a stolen certificate may pile up silent connections.
    const timer = setTimeout(() => connection.close("no hello in time"), DIAL_DEADLINE_MS);
  }

  #admit(connection: Connection, purpose: Purpose): void {
    const { peerId } = connection;
    const removedAt = this.#removed.get(peerId);
    if (removedAt !== undefined) {
      this.#refused(`it was removed from the cluster by entry ${removedAt}, and is told so`, { peerId });
      tellRemoved(connection, removedAt);
      return;
    }
    const kept = purpose === "bulk" ? this.#incomingBulk : this.#incoming;
    const older = kept.get(peerId);
    kept.set(peerId, connection);
    older?.close(null);
    if (purpose === "bulk") return;
    const link = this.#links.get(peerId);
    // It lives: no need to wait for the next attempt.
    if (link !== undefined && link.outgoing === null) this.#dialNow(link);
  }

  #parted(connection: Connection, reason: string | null): void {
    const { peerId } = connection;
    this.#accepted.delete(connection);
    if (reason?.startsWith("refused: ") === true) this.#refused(reason.slice("refused: ".length), { peerId });
    if (reason?.startsWith("malformed") === true && this.#isNew(peerId, reason)) {
      this.#options.log.warn("peer.malformed", { peerId, reason });
    }
    if (this.#incomingBulk.get(peerId) === connection) this.#incomingBulk.delete(peerId);
    if (this.#incoming.get(peerId) !== connection) return;
    this.#incoming.delete(peerId);
    const link = this.#links.get(peerId);
    if (link === undefined || this.#isClosed) return;
    link.isDoubtful = true;
    this.#tell(link);
    link.outgoing?.ping();
  }

  #refused(reason: string, who: { readonly peerId: MemberId } | { readonly address: string }): void {
    const name = "peerId" in who ? who.peerId : who.address;
    if (this.#isNew(name, reason)) this.#options.log.warn("peer.refused", { reason, ...who });
  }

  #isNew(who: string, reason: string): boolean {
    return this.#complaints.isNew(who, reason, this.#looks * LOOK_EVERY_MS);
  }

  // --- Outgoing ---------------------------------------------------------------------------------------------------

  #dialNow(link: Link): void {
    if (link.dialing !== null || this.#isClosed) return;
    if (link.redialTimer !== null) clearTimeout(link.redialTimer);
    link.redialTimer = null;
    this.#dial(link);
  }

  #dial(link: Link): void {
    const failed = (reason: string): void => {
      this.#complain(link, reason);
      this.#lost(link);
    };
    const giveUp = dialMember({
      ...this.#dialOptions(link, "raft"),
      events: {
        ...this.#commonEvents(),
        onOpen: (opened) => {
          link.dialing = null;
          if (!this.#isCurrent(link)) {
            opened.close(null);
            return;
          }
          link.outgoing = opened;
          link.isDoubtful = false;
          link.redialMs = REDIAL_MS_MIN;
          link.complaint = null;
          this.#options.log.info("peer.connected", { peerId: link.id, address: link.address });
          this.#tell(link);
        },
        onFailed: (reason) => {
          link.dialing = null;
          failed(reason);
        },
        onClosed: (closed, reason) => {
          if (link.outgoing === closed) link.outgoing = null;
          if (reason !== null) failed(reason);
        },
      },
    });
    link.dialing = giveUp;
  }

  #dialOptions(link: Link, purpose: Purpose) {
    return {
      id: link.id,
      address: link.address,
      credentials: this.#credentials(),
      hello: { ...this.#hello, purpose },
      deadlineMs: DIAL_DEADLINE_MS,
      limits: this.#limits,
    };
  }

  /** There is no way to it now: say so at once, and try again, soon at first. */
  #lost(link: Link): void {
    if (!this.#isCurrent(link)) return;
    this.#tell(link);
    if (link.redialTimer !== null) return;
    link.redialTimer = setTimeout(() => {
      link.redialTimer = null;
      if (link.outgoing === null && link.dialing === null && this.#isCurrent(link)) this.#dial(link);
    }, link.redialMs);
    link.redialMs = Math.min(link.redialMs * 2, REDIAL_MS_MAX);
  }

  #forget(link: Link): void {
    this.#links.delete(link.id);
    if (link.redialTimer !== null) clearTimeout(link.redialTimer);
    link.redialTimer = null;
    link.outgoing?.close(null);
    link.outgoing = null;
    const { dialing } = link;
    link.dialing = null;
    dialing?.();
    if (!this.#isClosed) this.#tell(link);
  }

  #isCurrent(link: Link): boolean {
    return !this.#isClosed && this.#links.get(link.id) === link;
  }

  // --- Both ways --------------------------------------------------------------------------------------------------

  #commonEvents(): Pick<ConnectionEvents, "onFrame" | "onCall" | "onHeard"> {
    return {
      onFrame: (connection, frame) => this.#onFrame(connection, frame),
      onCall: (connection, method, payload) => this.#onCall(connection, method, payload),
      onHeard: (connection) => {
        const { peerId } = connection;
        // What a snapshot's bytes say of the member says nothing of its Raft.
        if (this.#incomingBulk.get(peerId) === connection) return;
        const link = this.#links.get(peerId);
        if (link?.isDoubtful === true) {
          link.isDoubtful = false;
          this.#tell(link);
        }
        this.#options.events.onHeard(peerId);
      },
    };
  }

  #onFrame(connection: Connection, { kind, payload }: Frame): void {
    const { events } = this.#options;
    const from = connection.peerId;
    if (this.#incomingBulk.get(from) === connection)
      throw new MalformedError(`a ${kind} on a bulk connection`);
    switch (kind) {
      case "raft":
        events.onMessage(decodeMessage(payload, from, this.#hello.memberId));
        return;
      case "status":
        events.onStatus(from, parseAgedStatus(parseJson(payload), from));
        return;
      case "digest":
        events.onDigest(from, parseDigest(parseJson(payload)));
        return;
      default:
        throw new MalformedError(`a ${kind} where none can be`);
    }
  }

  #onCall({ peerId }: Connection, method: string, payload: unknown): Promise<unknown> {
    if (method !== REMOVED_METHOD) return this.#options.events.onCall(peerId, method, payload);
    const { index } = (payload ?? {}) as { index?: unknown };
    if (typeof index !== "number") return Promise.reject(new Error("removed, but not by which entry"));
    this.#options.events.onRemoved(peerId, index as LogIndex);
    return Promise.resolve(null);
  }

  #tell(link: Link): void {
    const isConnected =
      this.#links.get(link.id) === link && link.outgoing?.isOpen === true && !link.isDoubtful;
    if (isConnected === link.isConnected) return;
    link.isConnected = isConnected;
    this.#options.events.onConnected(link.id, isConnected);
  }

  #complain(link: Link, reason: string): void {
    if (link.complaint === reason || !this.#isCurrent(link)) return;
    link.complaint = reason;
    this.#options.log.warn("peer.unreachable", { peerId: link.id, address: link.address, reason });
  }

  #look(): void {
    this.#looks += 1;
    if (this.#server === null) this.#reopen();
    for (const { outgoing } of this.#links.values()) outgoing?.look();
    for (const connection of this.#accepted) connection.look();
  }
}

function tellRemoved(connection: Connection, index: LogIndex): void {
  const close = () => connection.close(null);
  connection.call(REMOVED_METHOD, { index }, REMOVED_DEADLINE_MS).then(close, close);
}

function newLink(id: MemberId, address: string): Link {
  return {
    id,
    address,
    outgoing: null,
    dialing: null,
    redialTimer: null,
    redialMs: REDIAL_MS_MIN,
    isConnected: false,
    isDoubtful: false,
    complaint: null,
  };
}
