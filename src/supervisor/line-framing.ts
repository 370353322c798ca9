/** Cuts a stream of bytes into lines, for newline-delimited JSON. Characters may be split between chunks. */
export class LineFraming {
  readonly #decoder = new TextDecoder();
  #pending = "";

  /** The lines that `chunk` completes. @throws {Error} on a line of unreasonable length: this is not our protocol. */
  push(chunk: Uint8Array): readonly string[] {
    const lines = (this.#pending + this.#decoder.decode(chunk, { stream: true })).split("\n");
    this.#pending = lines.pop() ?? "";
    if (this.#pending.length > MAX_LINE_CHARACTERS)
      throw new Error(`a line is longer than ${MAX_LINE_CHARACTERS} characters`);
    return lines.filter((line) => line !== "");
  }
}

const MAX_LINE_CHARACTERS = 1024 * 1024;
