import { expect, test } from "bun:test";
import { parseEndpoint } from "../../../src/cli/connection.ts";
import { renderBytes } from "../../../src/cli/render-status.ts";
import { renderTable } from "../../../src/cli/render-table.ts";
import { readServerSentEvents } from "../../../src/cli/server-sent-events.ts";

test("a table has no lines, no blanks at ends of lines, and nothing that moves the cursor", () => {
  expect(
    renderTable(
      ["a", "bb"],
      [
        ["1", "x\u001b[2J"],
        ["long", ""],
      ],
    ),
  ).toBe("A     BB\n1     x [2J\nlong\n");
  expect(renderTable(["a"], [])).toBe("A\n");
});

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.0 kB"],
  [1024, "1.0 kB"],
  [16 * 1024 * 1024, "16.0 MB"],
  [123 * 1024, "123 kB"],
  [2 ** 53, "8.0 PB"],
])("%d bytes are %s", (bytes, text) => {
  expect(renderBytes(bytes)).toBe(text);
});

test.each([
  ["m1", "https://m1:8008"],
  ["10.0.0.1:9000", "https://10.0.0.1:9000"],
  ["https://m1.example:443", "https://m1.example:443"],
  ["[::1]:8008", "https://[::1]:8008"],
  ["https://m1.example/", "https://m1.example:8008"],
])("the endpoint %s is %s", (text, origin) => {
  expect(parseEndpoint(text)).toBe(origin);
});

test.each(["http://m1:8008", "m1:8008/v1", "https://user@m1", "m 1", "m1:port"])(
  "%s is no endpoint",
  (text) => {
    expect(() => parseEndpoint(text)).toThrow("is not an endpoint");
  },
);

test("events survive being cut anywhere, letters of many bytes too", async () => {
  const bytes = new TextEncoder().encode(
    "retry: 1\n\n: hello\n\nid: 1\nevent: a.b\ndata: {\ndata: é}\n\ndata:x\n\nid: 2\n",
  );
  for (let size = 1; size < 20; size += 1) {
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let from = 0; from < bytes.length; from += size)
          controller.enqueue(bytes.slice(from, from + size));
        controller.close();
      },
    });
    expect(await Array.fromAsync(readServerSentEvents(stream))).toEqual([
      { id: "1", name: "a.b", data: "{\né}" },
      { id: null, name: null, data: "x" },
    ]);
  }
});
