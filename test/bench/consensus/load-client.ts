/** The clients' own process: as many at once as are wanted, of etcd over gRPC or of a member's API over TLS. */
import { randomUUID } from "node:crypto";
import { answerQuestions } from "./asked-process.ts";
import { type Load, runClosedLoop, type Seen } from "./closed-loop.ts";
import { EtcdClient } from "./etcd-client.ts";

/** Whom the clients talk to: the leader, in both groups. */
export type LoadTarget =
  | { readonly kind: "etcd"; readonly port: number; readonly payloadBytes: number }
  | {
      readonly kind: "api";
      readonly origin: string;
      readonly token: string;
      readonly caPem: string;
      /** The member whose tags are written. */
      readonly memberName: string;
    };

export type LoadRequest =
  | { readonly type: "target"; readonly target: LoadTarget }
  /** Answered with a `Seen`. */
  | { readonly type: "load"; readonly kind: "write" | "read"; readonly load: Load }
  | { readonly type: "fill"; readonly count: number };

interface Target {
  write(client: number): Promise<void>;
  read(client: number): Promise<void>;
  close(): void;
}

const FILL_CLIENTS = 256;
const PRIORITIES = 100;

let target: Target | null = null;

answerQuestions<LoadRequest>(async (request) => {
  switch (request.type) {
    case "target":
      target?.close();
      target = request.target.kind === "etcd" ? etcdTarget(request.target) : apiTarget(request.target);
      return null;
    case "load":
      return load(chosen(), request);
    case "fill":
      return fill(chosen(), request.count);
  }
});

function chosen(): Target {
  if (target === null) throw new Error("nobody said whom to talk to");
  return target;
}

function load(to: Target, { kind, load: wanted }: LoadRequest & { type: "load" }): Promise<Seen> {
  return runClosedLoop(wanted, (client) => (kind === "write" ? to.write(client) : to.read(client)));
}

async function fill(to: Target, count: number): Promise<void> {
  let left = count;
  const loop = async (client: number): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await to.write(client);
    }
  };
  await Promise.all(Array.from({ length: FILL_CLIENTS }, (_, client) => loop(client)));
}

/** One connection, as its usual clients have it. */
function etcdTarget({ port, payloadBytes }: LoadTarget & { kind: "etcd" }): Target {
  const client = new EtcdClient(port);
  const value = Buffer.alloc(payloadBytes, "x");
  return {
    write: (number) => client.put(`bench/${number}`, value),
    read: (number) => client.range(`bench/${number}`),
    close: () => client.close(),
  };
}

/** Writes change one tag of one member: the smallest change there is that is agreed, stored and shown. */
function apiTarget({ origin, token, caPem, memberName }: LoadTarget & { kind: "api" }): Target {
  let writes = 0;
  const send = async (method: string, path: string, headers: object, body: string | null): Promise<void> => {
    const response = await fetch(`${origin}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...headers },
      body,
      tls: { ca: caPem },
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}: ${text}`);
  };
  return {
    write: () => {
      writes += 1;
      const headers = { "content-type": "application/json", "idempotency-key": randomUUID() };
      const change = { failoverPriority: writes % PRIORITIES };
      return send("PATCH", `/v1/members/${memberName}`, headers, JSON.stringify(change));
    },
    read: () => send("GET", "/v1/cluster?consistency=linearizable", {}, null),
    close: () => undefined,
  };
}
