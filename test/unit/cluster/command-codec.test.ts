import { expect, test } from "bun:test";
import { decodeEntry, encodeCommand, encodeOpenSession } from "../../../src/cluster/command-codec.ts";
import { tokenCommand } from "../store/sample.ts";

const text = (data: Uint8Array) => new TextDecoder().decode(data);
const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

const COMMAND = tokenCommand("c1");
const SESSION = { client: "one", sequence: 7, acknowledged: 5 };

test("below feature level 2 a command is written as release 0.1.0 reads it", () => {
  expect(JSON.parse(text(encodeCommand(COMMAND)))).toEqual({ v: 1, command: COMMAND });
  expect(JSON.parse(text(encodeCommand(COMMAND, null, 1)))).toEqual({ v: 1, command: COMMAND });
  expect(() => encodeCommand(COMMAND, SESSION, 1)).toThrow("once every member knows them");
});

test("what is written is read again, in every form", () => {
  expect(decodeEntry(encodeCommand(COMMAND))).toEqual({ kind: "command", command: COMMAND, session: null });
  expect(decodeEntry(encodeCommand(COMMAND, null, 2))).toEqual({
    kind: "command",
    command: COMMAND,
    session: null,
  });
  expect(decodeEntry(encodeCommand(COMMAND, SESSION, 2))).toEqual({
    kind: "command",
    command: COMMAND,
    session: SESSION,
  });
  expect(decodeEntry(encodeOpenSession("one"))).toEqual({ kind: "open-session", client: "one" });
});

test("an encoding that is not known stops the member instead of being guessed at", () => {
  expect(() => decodeEntry(bytes({ v: 3, command: COMMAND }))).toThrow("upgrade this member first");
  expect(() => decodeEntry(bytes({ command: COMMAND }))).toThrow("upgrade this member first");
});
