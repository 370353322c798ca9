/** Opens one connection to one member: TLS, whom its certificate names, and its hello. */
import type { ClusterId, MemberId } from "../base/ids.ts";
import { err, type Result } from "../base/result.ts";
import { memberIdOf } from "../cluster/common-name.ts";
import { parseAddress } from "./address.ts";
import { Connection, type ConnectionEvents, type ConnectionLimits } from "./connection.ts";
import type { Hello } from "./hello.ts";
import { type Credentials, dialSecurely, type SecureSocket } from "./secure-socket.ts";

export interface DialOptions {
  readonly id: MemberId;
  /** host:port. */
  readonly address: string;
  readonly credentials: Credentials;
  readonly hello: Hello;
  readonly deadlineMs: number;
  readonly limits: ConnectionLimits;
  readonly events: Pick<ConnectionEvents, "onFrame" | "onCall" | "onHeard"> & {
    /** Once; then `onClosed` tells of the end. */
    onOpen(connection: Connection): void;
    /** Once, instead of `onOpen`. */
    onFailed(reason: string): void;
    /** Once, after `onOpen`. `reason` is null if we closed it ourselves. */
    onClosed(connection: Connection, reason: string | null): void;
  };
}

/** Whom the certificate names, which the authority signed. */
export function whoIs(socket: SecureSocket, clusterId: ClusterId): Result<MemberId, string> {
  const { subject } = socket.certificate;
  if (subject === undefined) return err("it shows no certificate");
  if (subject.O !== clusterId) return err(`its certificate is of cluster ${String(subject.O)}`);
  return memberIdOf(String(subject.CN));
}

/** @returns what gives the attempt up; then nothing is told any more. Without effect once it is open or failed. */
export function dialMember(options: DialOptions): () => void {
  const { id, address: text, credentials, hello, deadlineMs, limits, events } = options;
  let connection: Connection | null = null;
  let isOver = false;
  let abandon = (): void => undefined;
  const end = (reason: string | null): void => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    abandon();
    connection?.close(null);
    if (reason !== null) events.onFailed(reason);
  };
  const timer = setTimeout(() => {
    end(`no ${connection === null ? "connection" : "hello"} within ${deadlineMs} ms`);
  }, deadlineMs);
  const onSecure = (socket: SecureSocket): void => {
    const wrong = whyWrong(socket, hello.clusterId, id, text);
    if (wrong !== null || isOver) {
      socket.destroy();
      if (wrong !== null) end(wrong);
      return;
    }
    let isOpen = false;
    const connectionEvents: ConnectionEvents = {
      onFrame: events.onFrame,
      onCall: events.onCall,
      onHeard: events.onHeard,
      onOpen: (opened) => {
        clearTimeout(timer);
        isOver = true;
        isOpen = true;
        events.onOpen(opened);
      },
      onClose: (closed, reason) => {
        if (isOpen) events.onClosed(closed, reason);
        else if (reason !== null) end(reason);
      },
    };
    connection = new Connection(socket, id, hello, connectionEvents, limits);
  };
  const address = parseAddress(text);
  if (address.ok) abandon = dialSecurely(address.value, credentials, { onSecure, onFailed: end });
  // Never told before this function returns, whatever is wrong.
  else setImmediate(() => end(address.error));
  return () => end(null);
}

function whyWrong(socket: SecureSocket, clusterId: ClusterId, id: MemberId, address: string): string | null {
  const who = whoIs(socket, clusterId);
  if (!who.ok) return who.error;
  return who.value === id ? null : `member ${who.value} answers at ${address}`;
}
