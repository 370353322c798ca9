import { expect, test } from "bun:test";
import { encodeFrame, FRAME_BYTES_MAX, FrameReader } from "../../../src/peer/frame.ts";

test("frames are found however the stream is cut", () => {
  const payloads = [new Uint8Array(), new Uint8Array([1, 2, 3]), new Uint8Array(1000).fill(7)];
  const stream = Buffer.concat(payloads.map((payload) => encodeFrame("raft", payload)));
  for (const step of [1, 3, 4, 5, 64, 2000]) {
    const reader = new FrameReader();
    const found = [];
    for (let at = 0; at < stream.length; at += step)
      found.push(...reader.push(stream.subarray(at, at + step)));
    expect(found).toEqual(payloads.map((payload) => ({ kind: "raft" as const, payload })));
  }
});

test("a length or a kind that cannot be is refused before anything is kept", () => {
  const head = (length: number, kind = 1) => {
    const bytes = new Uint8Array(5);
    new DataView(bytes.buffer).setUint32(0, length);
    bytes[4] = kind;
    return bytes;
  };
  expect(() => new FrameReader().push(head(FRAME_BYTES_MAX + 1))).toThrow("are allowed");
  expect(() => new FrameReader().push(head(0))).toThrow("are allowed");
  expect(() => new FrameReader().push(head(1, 200))).toThrow("unknown kind 200");
  expect(() => encodeFrame("raft", new Uint8Array(FRAME_BYTES_MAX))).toThrow("larger than");
});
