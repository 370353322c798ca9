import { expect, test } from "bun:test";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import { MalformedError } from "../../../src/peer/malformed.ts";
import { decodeMessage, encodeMessage } from "../../../src/peer/message-codec.ts";
import type { Message } from "../../../src/raft/engine/message.ts";
import { entry, M1, M2 } from "../store/sample.ts";

const head = { from: M1, to: M2, term: 7 as Term };
const at = (index: number, term = 3) => ({ index: index as LogIndex, term: term as Term });
const entries = [
  entry(5, 3, "noop"),
  entry(6, 4, "command", new Uint8Array([9, 0, 255])),
  entry(7, 7, "config"),
];
const MESSAGES: readonly Message[] = [
  { ...head, type: "pre-vote", last: at(2 ** 50), isTransfer: false },
  { ...head, type: "vote", last: at(4), isTransfer: true },
  { ...head, type: "pre-vote-response", isGranted: true },
  { ...head, type: "vote-response", isGranted: false },
  { ...head, type: "append", previous: at(4), entries, commit: 4 as LogIndex },
  { ...head, type: "append", previous: at(0, 0), entries: [], commit: 0 as LogIndex },
  { ...head, type: "append-response", index: 9 as LogIndex, rejection: null },
  { ...head, type: "append-response", index: 9 as LogIndex, rejection: at(3) },
  { ...head, type: "heartbeat", commit: 4 as LogIndex, round: 12 },
  { ...head, type: "heartbeat-response", round: 12 },
  { ...head, type: "timeout-now" },
];

test.each(MESSAGES.map((message) => [message.type, message] as const))(
  "%s comes back as it was",
  (_, message) => {
    expect(decodeMessage(encodeMessage(message), M1, M2)).toEqual(message);
  },
);

test("anything cut short, too long or changed is malformed or another message, never a crash", () => {
  for (const message of MESSAGES) {
    const bytes = encodeMessage(message);
    for (let end = 0; end < bytes.length; end += 1) {
      expect(() => decodeMessage(bytes.subarray(0, end), M1, M2)).toThrow(MalformedError);
    }
    expect(() => decodeMessage(Buffer.concat([bytes, new Uint8Array(1)]), M1, M2)).toThrow(MalformedError);
    for (let place = 0; place < bytes.length; place += 1) {
      const changed = bytes.slice();
      changed[place] = (changed[place] ?? 0) ^ 0xff;
      try {
        decodeMessage(changed, M1, M2);
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedError);
      }
    }
  }
});

test("entries with a gap, or with a term that goes back or is newer than the message, are malformed", () => {
  const append = (found: Message & { type: "append" }) => () => decodeMessage(encodeMessage(found), M1, M2);
  const base = { ...head, type: "append", previous: at(4), commit: 4 as LogIndex } as const;
  expect(append({ ...base, entries: [entry(6, 3, "noop")] })).toThrow("entry 6 after entry 4");
  expect(append({ ...base, entries: [entry(5, 2, "noop")] })).toThrow("of term 2");
  expect(append({ ...base, entries: [entry(5, 8, "noop")] })).toThrow("of term 8");
});
