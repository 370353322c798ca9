import { chmod, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { err, ok, type Result } from "../base/result.ts";
import type { Origin } from "./access.ts";
import type { Api } from "./create-api.ts";
import { CLUSTER_SERVER_NAME } from "./credential.ts";
import { BODY_BYTES_MAX } from "./request-body.ts";
import type { ShownCertificate } from "./shown-certificate.ts";

export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  /** Shown instead to who asks for `CLUSTER_SERVER_NAME`: where `cert` is not of the cluster's authority. */
  readonly ofCluster?: { readonly cert: string; readonly key: string };
}

export interface ListenOptions {
  /** HTTPS for people, programs and load balancers; null: the Unix socket only. */
  readonly tcp: { readonly hostname: string; readonly port: number; readonly tls: TlsMaterial } | null;
  /** Health checks without TLS, and nothing else. Null or absent: nowhere. */
  readonly health?: { readonly hostname: string; readonly port: number } | null;
  readonly unixPath: string;
}

export interface ApiListener {
  /** The port that was bound, also where 0 was asked for; null without TCP. */
  readonly port: number | null;
  /**
   * Takes another certificate on the same port. Connections that stand keep the old one until they end. One that cannot be
   * used leaves the one before.
   */
  renewTls(tls: TlsMaterial): Promise<Result<void, string>>;
  /** Closes both; requests under way are cut off. */
  stop(): Promise<void>;
}

type Server = ReturnType<typeof Bun.serve>;

/** Seconds without a byte before a connection is closed; longer than any answer of ours may take. */
const IDLE_SECONDS = 60;
/** Above the limit that `readJsonBody` explains, so that it gets to explain. */
const TRANSPORT_BODY_BYTES_MAX = 4 * BODY_BYTES_MAX;
/** Of every listener. Pages that show a fault's source are for whoever writes the program. */
const COMMON = { maxRequestBodySize: TRANSPORT_BODY_BYTES_MAX, development: false } as const;
/** Without those pages the runtime would share a port with a second member on it: a mistake that has to be told. */
const COMMON_TCP = { ...COMMON, reusePort: false, idleTimeout: IDLE_SECONDS } as const;

/**
 * Puts the API on HTTPS and on a Unix socket (mode 0600), where the owner of the member needs no token.
 *
 * @returns why it cannot listen, for people: a port in use is named with the key of the configuration that says it.
 */
export async function listenApi(api: Api, options: ListenOptions): Promise<Result<ApiListener, string>> {
  const local = await listenUnix(api, options.unixPath);
  if (!local.ok) return local;
  const { tcp, health = null } = options;
  const inClear = health === null ? ok(null) : listenInClear(api, health.hostname, health.port);
  if (!inClear.ok) {
    await local.value.stop();
    return inClear;
  }
  const others: Stoppable = {
    async stop() {
      await inClear.value?.stop(true);
      await local.value.stop();
    },
  };
  if (tcp === null) return ok(listener(api, null, others, null, null));
  const server = listenTcp(api, tcp.hostname, tcp.port, tcp.tls);
  if (!server.ok) {
    await others.stop();
    return server;
  }
  return ok(listener(api, server.value, others, tcp.hostname, tcp.tls));
}

function listener(
  api: Api,
  first: Server | null,
  local: Stoppable,
  hostname: string | null,
  tls: TlsMaterial | null,
): ApiListener {
  let server = first;
  let present = tls;
  let isStopped = false;
  const port = first?.port ?? null;
  /** Listeners that ended, of which connections may still stand. */
  const retired: Server[] = [];
  return {
    port,
    async renewTls(tls) {
      if (hostname === null || port === null || isStopped) return ok(undefined);
      // The runtime's reload() keeps the old certificate; a listener that ended frees its port at once.
      // Not awaited: its promise waits for the last connection, which may be a stream that never ends.
      if (server !== null) {
        retired.push(server);
        void server.stop(false);
      }
      const next = listenTcp(api, hostname, port, tls);
      if (next.ok) {
        server = next.value;
        present = tls;
        return ok(undefined);
      }
      const before = present === null ? next : listenTcp(api, hostname, port, present);
      server = before.ok ? before.value : null;
      return next;
    },
    async stop() {
      isStopped = true;
      const all = server === null ? retired : [...retired, server];
      server = null;
      await Promise.all(all.splice(0).map((each) => each.stop(true)));
      await local.stop();
    },
  };
}

function listenTcp(api: Api, hostname: string, port: number, tls: TlsMaterial): Result<Server, string> {
  try {
    return ok(
      Bun.serve({
        hostname,
        port,
        tls: [
          { cert: tls.cert, key: tls.key },
          ...(tls.ofCluster === undefined ? [] : [{ ...tls.ofCluster, serverName: CLUSTER_SERVER_NAME }]),
        ],
        ...COMMON_TCP,
        fetch: (request, server) => serve(api, request, server, "network"),
      }),
    );
  } catch (error) {
    return err(explainListen(error, hostname, port, "listen"));
  }
}

function listenInClear(api: Api, hostname: string, port: number): Result<Server, string> {
  try {
    return ok(
      Bun.serve({
        hostname,
        port,
        ...COMMON_TCP,
        fetch: (request, server) => serve(api, request, server, "in-clear"),
      }),
    );
  } catch (error) {
    return err(explainListen(error, hostname, port, "health-listen"));
  }
}

function serve(api: Api, request: Request, server: Server, origin: Origin): Promise<Response> {
  keepStreams(request, server);
  return api.handle(
    request,
    origin,
    origin === "local" ? null : (server.requestIP(request)?.address ?? null),
  );
}

function keepStreams(request: Request, server: Server): void {
  if ((request.headers.get("accept") ?? "").includes("text/event-stream")) server.timeout(request, 0);
}

/** Who is at the other end of a connection that was made for somebody. */
export interface Behind {
  readonly address: string;
  readonly shown: ShownCertificate;
}

/**
 * The API in clear, for the one connection that is made to it, on whose way to here somebody's TLS was ended. A handler is not
 * told by the runtime which connection a request came in on; here there is no other.
 *
 * @param path of a Unix socket, in a directory that nobody else may enter.
 * @returns what ends it, with the requests under way.
 */
export function serveBehind(api: Api, path: string, { address, shown }: Behind): () => Promise<void> {
  const server = Bun.serve({
    unix: path,
    ...COMMON,
    fetch(request, self) {
      self.timeout(request, IDLE_SECONDS);
      keepStreams(request, self);
      return api.handle(request, "network", address, shown);
    },
  });
  return () => server.stop(true);
}

type ListenKey = "listen" | "health-listen";

function explainListen(error: unknown, hostname: string, port: number, key: ListenKey): string {
  const variable = `GUACAMOLE_API_${key.replace("-", "_").toUpperCase()}`;
  const code = codeOf(error);
  if (code === "EADDRINUSE") {
    return `port ${port} on ${hostname} is in use by another program: stop it, or give [api] ${key} in guacamole.toml (${variable}) another port`;
  }
  if (code === "EACCES") {
    return `port ${port} needs root: give [api] ${key} in guacamole.toml (${variable}) a port above 1023`;
  }
  if (code === "EADDRNOTAVAIL") {
    return `${hostname} is not an address of this host: correct [api] ${key} in guacamole.toml (${variable})`;
  }
  return `cannot listen on ${hostname}:${port} ([api] ${key} in guacamole.toml): ${error instanceof Error ? error.message : String(error)}`;
}

interface Stoppable {
  stop(): Promise<void>;
}

/** The kernel's limit on the path of a socket, less what our temporary directory adds. */
const UNIX_PATH_BYTES_MAX = 107 - "/.api-XXXXXX".length;

/**
 * Binds the socket inside a directory that nobody else may enter, then moves it to its place: nobody can open it before
 * its mode is right, and it takes the place of a stale one that a killed process left, in one step.
 */
async function listenUnix(api: Api, path: string): Promise<Result<Stoppable, string>> {
  if (Buffer.byteLength(path) > UNIX_PATH_BYTES_MAX) {
    return err(
      `the path of the Unix socket ${path} is too long: at most ${UNIX_PATH_BYTES_MAX} bytes; use a shorter data-dir`,
    );
  }
  const found = await stat(path).catch(() => null);
  if (found !== null && !found.isSocket()) {
    return err(`${path} exists and is not a socket: remove it, or use another data-dir`);
  }
  if (found !== null && (await isAnswered(path))) {
    return err(`another guacamole answers on ${path}: two members cannot share a data-dir`);
  }
  let privateDirectory: string;
  try {
    privateDirectory = await mkdtemp(join(dirname(path), ".api-"));
  } catch (error) {
    return err(
      `cannot make the Unix socket ${path}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  try {
    const temporary = join(privateDirectory, "s");
    const server = Bun.serve({
      unix: temporary,
      ...COMMON,
      fetch(request, self) {
        self.timeout(request, IDLE_SECONDS);
        return serve(api, request, self, "local");
      },
    });
    await chmod(temporary, 0o600);
    await rename(temporary, path);
    return ok({
      async stop() {
        await server.stop(true);
        await rm(path, { force: true });
      },
    });
  } catch (error) {
    return err(
      `cannot make the Unix socket ${path}: ${error instanceof Error ? error.message : String(error)}`,
    );
  } finally {
    await rm(privateDirectory, { recursive: true, force: true });
  }
}

/** True if a process listens there; a socket that a killed one left refuses. */
async function isAnswered(path: string): Promise<boolean> {
  try {
    const socket = await Bun.connect({ unix: path, socket: { data: () => undefined } });
    socket.end();
    return true;
  } catch {
    return false;
  }
}

function codeOf(error: unknown): string | null {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : null;
}
