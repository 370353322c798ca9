/** One Server-Sent Event as it came. */
export interface ServerSentEvent {
  readonly id: string | null;
  readonly name: string | null;
  readonly data: string;
}

/** Takes a stream apart into events; comments and retry times are left out. Ends when the stream does. */
export async function* readServerSentEvents(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<ServerSentEvent> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    rest += decoder.decode(chunk, { stream: true });
    const blocks = rest.split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const event = parseBlock(block);
      if (event !== null) yield event;
    }
  }
}

function parseBlock(block: string): ServerSentEvent | null {
  let id: string | null = null;
  let name: string | null = null;
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const [, field = "", value = ""] = /^([a-z]*): ?(.*)$/.exec(line) ?? [];
    if (field === "id") id = value;
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
  return data.length === 0 ? null : { id, name, data: data.join("\n") };
}
