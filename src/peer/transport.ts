/**
 * How members talk to each other: one outgoing connection to each other member, TLS in both directions, the name in the
 * certificate is who speaks. Raft's traffic is best effort; whatever is wrong with what comes in closes that connection
 * and nothing else.
 */
import type { ClusterId, MemberId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import { err, type Result } from "../base/result.ts";
import type { Message } from "../raft/engine/message.ts";
import type { Transport } from "../raft/ports.ts";
import { parseAddress } from "./address.ts";
import { memberIdOf } from "./common-name.ts";
import { Connection, type ConnectionEvents, type Hello, PROTOCOL_VERSION, parseJson } from "./connection.ts";
import type { Frame } from "./frame.ts";
import { MalformedError } from "./malformed.ts";
import { decodeMessage, encodeMessage } from "./message-codec.ts";
import { PeerError } from "./peer-error.ts";
import {
  type Credentials,
  dialSecurely,
  listenSecurely,
  type SecureListener,
  type SecureSocket,
} from "./secure-socket.ts";
import { type AgedStatus, type DigestEntry, parseAgedStatus, parseDigest } from "./status-codec.ts";

/** Who this member is, and how it proves that. */
export interface PeerIdentity {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
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
}

const REDIAL_MS_MIN = 50;
const REDIAL_MS_MAX = 500;
const DIAL_DEADLINE_MS = 2000;
const LOOK_EVERY_MS = 1000;

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
  readonly #hello: Hello;
  readonly #links = new Map<MemberId, Link>();
  readonly #incoming = new Map<MemberId, Connection>();
  readonly #sockets = new Set<SecureSocket>();
  #server: SecureListener | null = null;
  #lookTimer: ReturnType<typeof setInterval> | null = null;
  #isClosed = false;

  constructor(options: TransportOptions) {
    this.#options = options;
    const { clusterId, memberId } = options.identity;
    this.#hello = { protocol: PROTOCOL_VERSION, clusterId, memberId };
  }

  /**
   * Begins to accept other members. Resolves with the port.
   *
   * @throws if the address is not one, or is in use.
   */
  listen(): Promise<number> {
    const { listen, log } = this.#options;
    const address = parseAddress(listen);
    if (!address.ok) return Promise.reject(new Error(address.error));
    try {
      this.#server = listenSecurely(address.value, this.#credentials(), DIAL_DEADLINE_MS, {
        onSecure: (socket) => this.#accept(socket),
        onRefused: (reason, from) => log.warn("peer.refused", { reason, address: from }),
      });
    } catch (error) {
      const isTaken = error instanceof Error && "code" in error && error.code === "EADDRINUSE";
      const said = error instanceof Error ? error.message : String(error);
      const reason = isTaken ? "the port is in use" : said;
      return Promise.reject(
        new Error(`cannot listen for other members on ${listen}: ${reason}`, { cause: error }),
      );
    }
    this.#lookTimer = setInterval(() => this.#look(), LOOK_EVERY_MS);
    return Promise.resolve(this.#server.port);
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
    this.#route(message.to)?.send("raft", encodeMessage(message));
  }

  sendStatus(to: MemberId, status: AgedStatus): void {
    this.#route(to)?.sendJson("status", status);
  }

  sendDigest(to: MemberId, digest: readonly DigestEntry[]): void {
    this.#route(to)?.sendJson("digest", digest);
  }

  /** Asks another member. Rejects with a `PeerError`. */
  call(to: MemberId, method: string, payload: unknown, deadlineMs: number): Promise<unknown> {
    const connection = this.#route(to);
    if (connection !== null) return connection.call(method, payload, deadlineMs);
    return Promise.reject(
      new PeerError("unreachable", `there is no connection to member ${to} at the moment`),
    );
  }

  isConnected(id: MemberId): boolean {
    return this.#links.get(id)?.isConnected ?? false;
  }

  /** Closes everything, and says nothing more. */
  close(): void {
    this.#isClosed = true;
    if (this.#lookTimer !== null) clearInterval(this.#lookTimer);
    for (const link of this.#links.values()) this.#forget(link);
    for (const connection of this.#incoming.values()) connection.close(null);
    for (const socket of this.#sockets) socket.destroy();
    this.#server?.stop();
  }

  #credentials(): Credentials {
    const { certificatePem, privateKeyPem, authorityPem } = this.#options.identity;
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
    const { log } = this.#options;
    const who = this.#whoIs(socket);
    if (!who.ok || this.#isClosed) {
      if (!who.ok) log.warn("peer.refused", { reason: who.error, address: socket.remoteAddress });
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    // Neither a member that takes no turn nor a rogue that holds a stolen certificate may pile up silent connections.
    const connection: Connection = new Connection(socket, who.value, this.#hello, {
      ...this.#commonEvents(),
      onOpen: () => {
        clearTimeout(timer);
        const older = this.#incoming.get(who.value);
        this.#incoming.set(who.value, connection);
        older?.close(null);
        const link = this.#links.get(who.value);
        // It lives: no need to wait for the next attempt.
        if (link !== undefined && link.outgoing === null) this.#dialNow(link);
      },
      onClose: (_, reason) => {
        clearTimeout(timer);
        this.#sockets.delete(socket);
        if (reason?.startsWith("malformed") === true)
          log.warn("peer.malformed", { peerId: who.value, reason });
        if (this.#incoming.get(who.value) !== connection) return;
        this.#incoming.delete(who.value);
        const link = this.#links.get(who.value);
        if (link === undefined || this.#isClosed) return;
        link.isDoubtful = true;
        this.#tell(link);
        link.outgoing?.ping();
      },
    });
    const timer = setTimeout(() => connection.close("no hello in time"), DIAL_DEADLINE_MS);
  }

  /** Whom the certificate names, which the authority signed. */
  #whoIs(socket: SecureSocket): Result<MemberId, string> {
    const { subject } = socket.certificate;
    if (subject === undefined) return err("it shows no certificate");
    if (subject.O !== this.#hello.clusterId) return err(`its certificate is of cluster ${String(subject.O)}`);
    return memberIdOf(String(subject.CN));
  }

  // --- Outgoing ---------------------------------------------------------------------------------------------------

  #dialNow(link: Link): void {
    if (link.dialing !== null || this.#isClosed) return;
    if (link.redialTimer !== null) clearTimeout(link.redialTimer);
    link.redialTimer = null;
    this.#dial(link);
  }

  #dial(link: Link): void {
    const address = parseAddress(link.address);
    if (!address.ok) {
      this.#complain(link, address.error);
      return;
    }
    let connection: Connection | null = null;
    const give = (reason: string) => {
      if (link.dialing !== giveUp) return;
      link.dialing = null;
      giveUp();
      this.#complain(link, reason);
      this.#lost(link);
    };
    const timer = setTimeout(() => {
      if (connection === null) give(`no connection within ${DIAL_DEADLINE_MS} ms`);
      else connection.close(`no hello within ${DIAL_DEADLINE_MS} ms`);
    }, DIAL_DEADLINE_MS);
    const onSecure = (socket: SecureSocket) => {
      const who = this.#whoIs(socket);
      const wrong = !who.ok
        ? who.error
        : who.value === link.id
          ? null
          : `member ${who.value} answers at ${link.address}`;
      if (wrong !== null || link.dialing !== giveUp) {
        socket.destroy();
        if (wrong !== null) give(wrong);
        return;
      }
      this.#sockets.add(socket);
      connection = new Connection(socket, link.id, this.#hello, {
        ...this.#commonEvents(),
        onOpen: (opened) => {
          clearTimeout(timer);
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
        onClose: (closed, reason) => {
          clearTimeout(timer);
          this.#sockets.delete(socket);
          if (link.dialing === giveUp) link.dialing = null;
          if (link.outgoing === closed) link.outgoing = null;
          if (reason === null) return;
          this.#complain(link, reason);
          this.#lost(link);
        },
      });
    };
    const abandon = dialSecurely(address.value, this.#credentials(), { onSecure, onFailed: give });
    const giveUp = (): void => {
      clearTimeout(timer);
      abandon();
      connection?.close(null);
    };
    link.dialing = giveUp;
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

  #commonEvents(): Pick<ConnectionEvents, "onFrame" | "onHeard"> {
    return {
      onFrame: (connection, frame) => this.#onFrame(connection, frame),
      onHeard: ({ peerId }) => {
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
      case "call":
        this.#onCall(connection, parseJson(payload));
        return;
      default:
        throw new MalformedError(`a ${kind} where none can be`);
    }
  }

  #onCall(connection: Connection, value: unknown): void {
    const { id, method, payload } = (value ?? {}) as { id?: unknown; method?: unknown; payload?: unknown };
    if (typeof id !== "number" || typeof method !== "string")
      throw new MalformedError("a call without id or method");
    this.#options.events.onCall(connection.peerId, method, payload).then(
      (answer) => this.#answer(connection, "reply", { id, value: answer ?? null }),
      (error: unknown) => {
        this.#answer(connection, "failure", {
          id,
          message: error instanceof Error ? error.message : String(error),
        });
      },
    );
  }

  #answer(
    connection: Connection,
    kind: "reply" | "failure",
    answer: { readonly id: number; readonly value?: unknown; readonly message?: string },
  ): void {
    try {
      connection.sendJson(kind, answer);
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      connection.sendJson("failure", { id: answer.id, message: error.message });
    }
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
    for (const { outgoing } of this.#links.values()) outgoing?.look();
    for (const connection of this.#incoming.values()) connection.look();
  }
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
