import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  formatLocalSyslog,
  formatSyslog,
  framed,
  type SyslogMessage,
  withinLength,
} from "../../../src/main/syslog-message.ts";
import { parseSyslogTarget, syslogTargetName } from "../../../src/main/syslog-target.ts";
import { parseLocalSyslog, parseSyslog } from "../../support/syslog-receivers.ts";

const MESSAGE: SyslogMessage = {
  facility: 10,
  severity: "notice",
  atMs: Date.UTC(2026, 0, 31, 3, 0, 0, 7),
  hostName: "db1.example",
  appName: "guacamole",
  processId: 4711,
  messageId: "audit.change",
  version: "0.2.0",
  sequence: 3,
  content: { by: "ann", reason: "größer\nzweite Zeile" },
};

describe("a syslog message", () => {
  test("is one line, in ASCII, as RFC 5424 has it", () => {
    expect(formatSyslog(MESSAGE)).toBe(
      '<85>1 2026-01-31T03:00:00.007Z db1.example guacamole 4711 audit.change [meta sequenceId="3"][origin software="guacamole" swVersion="0.2.0"] {"by":"ann","reason":"gr\\u00f6\\u00dfer\\nzweite Zeile"}',
    );
  });

  test("to the host's own daemon has the form of syslog(3)", () => {
    const atMs = new Date(2026, 0, 3, 4, 5, 6, 7).getTime();
    expect(formatLocalSyslog({ ...MESSAGE, atMs, content: { reason: "größer\nzweite Zeile" } })).toBe(
      '<85>Jan  3 04:05:06 guacamole[4711]: audit.change {"reason":"gr\\u00f6\\u00dfer\\nzweite Zeile"}',
    );
  });

  test("is read as what was meant, whatever that was", () => {
    const message = fc.record({
      facility: fc.nat(23),
      severity: fc.constantFrom("error" as const, "warning" as const, "notice" as const),
      atMs: fc.integer({ min: 0, max: 4_102_444_800_000 }),
      hostName: fc.string({ unit: "binary", maxLength: 300 }),
      appName: fc.string({ maxLength: 60 }),
      processId: fc.nat(),
      messageId: fc.string({ maxLength: 60 }),
      version: fc.string({ unit: "binary", maxLength: 60 }),
      sequence: fc.integer({ min: 1, max: 2 ** 40 }),
      content: fc.record({ text: fc.string({ unit: "binary" }), list: fc.array(fc.string()) }),
    });
    fc.assert(
      fc.property(message, (wished) => {
        const text = formatSyslog(wished);
        expect(text).toMatch(/^[\x20-\x7e]*$/);
        const { facility, severity, atMs, content, sequence } = parseSyslog(text);
        expect({ facility, atMs, content }).toEqual({
          facility: wished.facility,
          atMs: wished.atMs,
          content: wished.content,
        });
        expect(severity).toBe({ error: 3, warning: 4, notice: 5 }[wished.severity]);
        expect(sequence).toBe(((wished.sequence - 1) % 2_147_483_647) + 1);
        expect(framed(text)).toBe(`${Buffer.byteLength(text)} ${text}`);
        const local = formatLocalSyslog(wished);
        expect(local).toMatch(/^[\x20-\x7e]*$/);
        expect(parseLocalSyslog(local)).toMatchObject({ facility, severity, content });
      }),
    );
  });

  test("of an entry with many values tells fewer, and how many it leaves out", () => {
    const values = Array.from({ length: 20 }, (_, at) => ({ path: `p${at}`, after: "ä".repeat(300) }));
    const short = withinLength({ values, untold: 2 }, 7_500);
    expect(formatSyslog({ ...MESSAGE, content: short }).length).toBeLessThan(8_192);
    expect(short.values.length).toBeGreaterThan(0);
    expect(short.untold).toBe(22 - short.values.length);
    expect(withinLength({ values, untold: 0 }, 100_000).values).toHaveLength(20);
    expect(withinLength({ values, untold: 0 }, 1)).toEqual({ values: [], untold: 20 });
  });
});

test("where a daemon listens is read, and said again as it is", () => {
  const as = (text: string) => {
    const target = parseSyslogTarget(text);
    return target === null ? null : syslogTargetName(target);
  };
  expect(as("unix:/dev/log")).toBe("unix:/dev/log");
  expect(as("udp://10.0.0.9")).toBe("udp://10.0.0.9:514");
  expect(as("tcp://log.example")).toBe("tcp://log.example:601");
  expect(as("tls://[fd00::1]:7000")).toBe("tls://[fd00::1]:7000");
  expect(as("tls://[fd00::1]")).toBe("tls://[fd00::1]:6514");
  const bad = ["/dev/log", "unix:dev/log", "udp://", "http://x:1", "udp://x:0", "udp://a b", "", "unix:/"];
  expect(bad.map(as)).toEqual(bad.map(() => null));
  expect(parseSyslogTarget(`unix:/${"x".repeat(107)}`)).toBeNull();
});
