/** Writes whole lines to a socket whose buffer may be full: what did not fit is kept and sent on `drain`. */
export class SocketWriter {
  #pending: Uint8Array[] = [];

  send(socket: Bun.Socket<unknown>, message: unknown): void {
    this.#pending.push(Buffer.from(`${JSON.stringify(message)}\n`));
    this.flush(socket);
  }

  flush(socket: Bun.Socket<unknown>): void {
    for (let next = this.#pending[0]; next !== undefined; next = this.#pending[0]) {
      const written = socket.write(next);
      if (written < 0) return;
      if (written < next.length) {
        this.#pending[0] = next.subarray(written);
        return;
      }
      this.#pending.shift();
    }
  }
}
