import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  countFailure,
  FailedAuthentication,
  type Failures,
  plainAddress,
} from "../../../src/api/failed-authentication.ts";

describe("failures of one address", () => {
  test("ten in a minute are answered, and the rest of the minute is not", () => {
    let failures: Failures | undefined;
    const limited = Array.from({ length: 12 }, (_, at) => {
      const counted = countFailure(failures, 1_000 + at);
      failures = counted.failures;
      return counted.limited;
    });
    expect(limited.slice(0, 10).every((each) => each === null)).toBe(true);
    expect(limited.slice(10)).toEqual([
      { retryAfterMs: 59_990, isFirst: true },
      { retryAfterMs: 59_989, isFirst: false },
    ]);
    expect(countFailure(failures, 61_000)).toEqual({
      failures: { count: 1, sinceMs: 61_000 },
      limited: null,
    });
  });

  test("whatever the times, who waits as long as was said is answered again", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20_000), { maxLength: 60 }), (gaps) => {
        let failures: Failures | undefined;
        let nowMs = 0;
        for (const gap of gaps) {
          nowMs += gap;
          const { failures: next, limited } = countFailure(failures, nowMs);
          failures = next;
          if (limited === null) continue;
          expect(limited.retryAfterMs).toBeGreaterThan(0);
          expect(countFailure(failures, nowMs + limited.retryAfterMs).limited).toBeNull();
        }
      }),
    );
  });
});

describe("addresses", () => {
  const isLimited = (addresses: readonly string[]) => {
    const failed = new FailedAuthentication();
    return addresses.map((address) => failed.note(address, 0) !== null);
  };

  test("are counted apart, and a network of one IPv6 host together", () => {
    const ten = (address: string) => Array<string>(10).fill(address);
    expect(isLimited([...ten("10.0.0.1"), "10.0.0.2", "10.0.0.1"]).slice(-2)).toEqual([false, true]);
    expect(isLimited([...ten("2001:db8::1"), "2001:db8:0:0:9::2", "2001:db8:0:1::1"]).slice(-2)).toEqual([
      true,
      false,
    ]);
    expect(isLimited([...ten("fe80::1%eth0"), "fe80::2%eth1", "::1"]).slice(-2)).toEqual([true, false]);
  });

  test("are forgotten before they fill the memory", () => {
    const failed = new FailedAuthentication();
    for (let at = 0; at < 10_000; at += 1) failed.note(`10.0.${at >> 8}.${at & 255}`, 0);
    expect(failed.size).toBe(4096);
  });

  test("of IPv4 are written as such, whatever socket they came by", () => {
    expect(plainAddress("::ffff:10.0.0.1")).toBe("10.0.0.1");
    expect(plainAddress("2001:db8::1")).toBe("2001:db8::1");
  });
});
