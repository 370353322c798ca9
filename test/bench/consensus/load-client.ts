/** The clients' own process: as many at once as are wanted, of etcd over gRPC or of an API over HTTP. */
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
    }
  | HttpTarget;

/** Any API: one path to read, and a change that is made over and over again, each time with the next of the bodies. */
export interface HttpTarget {
  readonly kind: "http";
  readonly origin: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Null: it does not speak TLS. */
  readonly caPem: string | null;
  readonly read: string;
  readonly write: { readonly method: string; readonly path: string; readonly bodies: readonly string[] };
}

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
const CONFLICT = 409;

let target: Target | null = null;

answerQuestions<LoadRequest>(async (request) => {
  switch (request.type) {
    case "target":
      target?.close();
      target = newTarget(request.target);
      return null;
    case "load":
      return load(chosen(), request);
    case "fill":
      return fill(chosen(), request.count);
  }
});

function newTarget(wanted: LoadTarget): Target {
  switch (wanted.kind) {
    case "etcd":
      return etcdTarget(wanted);
    case "api":
      return apiTarget(wanted);
    case "http":
      return httpTarget(wanted);
  }
}

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
  return httpTarget({
    kind: "http",
    origin,
    headers: { authorization: `Bearer ${token}` },
    caPem,
    read: "/v1/cluster?consistency=linearizable",
    write: {
      method: "PATCH",
      path: `/v1/members/${memberName}`,
      bodies: Array.from({ length: PRIORITIES }, (_, failoverPriority) =>
        JSON.stringify({ failoverPriority }),
      ),
    },
  });
}

function httpTarget({ origin, headers, caPem, read, write }: HttpTarget): Target {
  let writes = 0;
  const send = async (method: string, path: string, more: object, body: string | null): Promise<number> => {
    const response = await fetch(`${origin}${path}`, {
      method,
      headers: { ...headers, ...more },
      body,
      ...(caPem === null ? {} : { tls: { ca: caPem } }),
    });
    const text = await response.text();
    if (!response.ok && response.status !== CONFLICT)
      throw new Error(`${method} ${path} was answered with ${response.status}: ${text}`);
    return response.status;
  };
  return {
    write: async () => {
      writes += 1;
      const body = write.bodies[writes % write.bodies.length] ?? "";
      const key = { "content-type": "application/json", "idempotency-key": randomUUID() };
      // Who comes in another's way asks again: until then nothing was changed.
      while ((await send(write.method, write.path, key, body)) === CONFLICT)
        key["idempotency-key"] = randomUUID();
    },
    read: async () => {
      if ((await send("GET", read, {}, null)) === CONFLICT)
        throw new Error(`GET ${read} is in somebody's way`);
    },
    close: () => undefined,
  };
}
