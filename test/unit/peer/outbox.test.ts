import { expect, test } from "bun:test";
import { type Delivery, Outbox } from "../../../src/peer/outbox.ts";

const frame = (name: string, bytes = 1) => new Uint8Array(bytes).fill(name.charCodeAt(0));
const names = (outbox: Outbox) => {
  const found: string[] = [];
  for (let next = outbox.shift(); next !== null; next = outbox.shift())
    found.push(String.fromCharCode(next[0] ?? 0));
  return found.join("");
};
const once: Delivery = { kind: "once" };
const repeated: Delivery = { kind: "repeated" };
const urgent: Delivery = { kind: "urgent" };
const latest = (topic: string): Delivery => ({ kind: "latest", topic });

test("signs of life overtake, all else keeps its order", () => {
  const outbox = new Outbox({ bytesMax: 10_000, urgentMax: 8 });
  outbox.push(repeated, frame("a"));
  outbox.push(once, frame("b"));
  outbox.push(urgent, frame("X"));
  outbox.push(repeated, frame("c"));
  outbox.push(urgent, frame("Y"));
  expect(names(outbox)).toBe("XYabc");
  expect(outbox.bytes).toBe(0);
});

test("beyond the limit the oldest goes that is said again; what is said once never goes", () => {
  const outbox = new Outbox({ bytesMax: 4 * 164, urgentMax: 8 });
  expect(outbox.push(once, frame("a", 100))).toBe(true);
  expect(outbox.push(repeated, frame("b", 100))).toBe(true);
  expect(outbox.push(latest("status"), frame("c", 100))).toBe(true);
  expect(outbox.push(repeated, frame("d", 100))).toBe(true);
  expect(outbox.push(once, frame("e", 100))).toBe(true);
  expect(outbox.push(once, frame("f", 100))).toBe(true);
  expect(names(outbox)).toBe("adef");
});

test("there is no room where nothing may go, however small the frames are", () => {
  const outbox = new Outbox({ bytesMax: 1000, urgentMax: 8 });
  let kept = 0;
  while (outbox.push(once, frame("a", 0))) kept += 1;
  expect(kept).toBeLessThan(20);
});

test("of what a newer one replaces only the newest waits", () => {
  const outbox = new Outbox({ bytesMax: 10_000, urgentMax: 8 });
  outbox.push(latest("status"), frame("a"));
  outbox.push(latest("digest"), frame("b"));
  outbox.push(once, frame("c"));
  outbox.push(latest("status"), frame("d"));
  expect(names(outbox)).toBe("bcd");
});

test("signs of life have their own limit: the newest stay", () => {
  const outbox = new Outbox({ bytesMax: 10, urgentMax: 2 });
  for (const name of ["a", "b", "c", "d"]) expect(outbox.push(urgent, frame(name, 50))).toBe(true);
  expect(names(outbox)).toBe("cd");
});
