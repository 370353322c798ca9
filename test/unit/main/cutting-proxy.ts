/** A way through TCP that can be cut: after so many bytes, or at all. */

type Socket = Bun.Socket<Pair>;

interface Pair {
  other: Socket | null;
  waiting: Uint8Array[];
  passedBytes: number;
}

export class CuttingProxy {
  readonly port: number;
  readonly #listener: Bun.TCPSocketListener<Pair>;
  readonly #sockets = new Set<Socket>();
  #cutAfterBytes = Number.POSITIVE_INFINITY;
  #isOpen = true;
  /** What the server sent on the connection that sent the most. */
  largestBytes = 0;
  cuts = 0;

  constructor(listenPort: number, targetPort: number) {
    this.port = listenPort;
    const proxy = this;
    this.#listener = Bun.listen<Pair>({
      hostname: "127.0.0.1",
      port: listenPort,
      socket: {
        open(client) {
          client.data = { other: null, waiting: [], passedBytes: 0 };
          if (proxy.#isOpen) proxy.#connect(client, targetPort);
          else client.terminate();
        },
        data: (client, bytes) => proxy.#pass(client, bytes),
        drain: (client) => proxy.#flush(client),
        close: (client) => proxy.#end(client),
        error: (client) => proxy.#end(client),
      },
    });
  }

  /** The next connection on which the server sends more than this is cut; then there is no way through at all. */
  cutAfter(bytes: number): void {
    this.#cutAfterBytes = bytes;
    this.largestBytes = 0;
  }

  open(): void {
    this.#isOpen = true;
    this.#cutAfterBytes = Number.POSITIVE_INFINITY;
    this.largestBytes = 0;
  }

  stop(): void {
    this.#listener.stop(true);
    for (const socket of this.#sockets) socket.terminate();
  }

  #connect(client: Socket, targetPort: number): void {
    this.#sockets.add(client);
    const connecting = Bun.connect<Pair>({
      hostname: "127.0.0.1",
      port: targetPort,
      data: { other: client, waiting: [], passedBytes: 0 },
      socket: {
        data: (server, bytes) => {
          server.data.passedBytes += bytes.byteLength;
          this.largestBytes = Math.max(this.largestBytes, server.data.passedBytes);
          if (server.data.passedBytes > this.#cutAfterBytes) this.#cut();
          else this.#pass(server, bytes);
        },
        drain: (server) => this.#flush(server),
        close: (server) => this.#end(server),
        error: (server) => this.#end(server),
      },
    });
    connecting.then(
      (server) => {
        this.#sockets.add(server);
        const early = client.data.waiting;
        client.data.waiting = [];
        client.data.other = server;
        for (const bytes of early) this.#pass(client, bytes);
      },
      () => client.terminate(),
    );
  }

  #cut(): void {
    this.#isOpen = false;
    this.cuts += 1;
    for (const socket of [...this.#sockets]) socket.terminate();
  }

  #pass(from: Socket, bytes: Uint8Array): void {
    const { other } = from.data;
    if (other === null) {
      from.data.waiting.push(bytes.slice());
      return;
    }
    other.data.waiting.push(bytes.slice());
    this.#flush(other);
  }

  #flush(to: Socket): void {
    for (let next = to.data.waiting[0]; next !== undefined; next = to.data.waiting[0]) {
      // Not connected yet: these are its own words, kept until it is.
      if (to.data.other === null) return;
      const sent = Math.max(0, to.write(next));
      if (sent < next.byteLength) {
        to.data.waiting[0] = next.subarray(sent);
        return;
      }
      to.data.waiting.shift();
    }
  }

  #end(socket: Socket): void {
    this.#sockets.delete(socket);
    socket.data.other?.end();
  }
}
