import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { preparePassword } from "../../../src/base/saslprep.ts";
import { isScramVerifier, scramVerifier } from "../../../src/base/scram.ts";

const SALT = Uint8Array.from({ length: 16 }, (_, index) => index);

describe("a SCRAM verifier", () => {
  test("is the one of RFC 7677's example", async () => {
    const salt = Uint8Array.from(atob("W22ZaJ0SNY7soEsUEjb6gQ=="), (each) => each.charCodeAt(0));
    expect(await scramVerifier("pencil", salt)).toBe(
      "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    );
  });

  test("has the form that PostgreSQL takes for one, whatever the password", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "grapheme" }), async (password) => {
        expect(isScramVerifier(await scramVerifier(password, SALT, 1))).toBe(true);
      }),
    );
  });

  test.each([["secret"], [""], ["md55f4dcc3b5aa765d61d8327deb882cf99"], ["SCRAM-SHA-256$4096:AA==$x:y"]])(
    "is not %p",
    (text) => expect(isScramVerifier(text)).toBe(false),
  );
});

/** The examples of RFC 4013 section 3, and what PostgreSQL does where SASLprep says no: it takes the password as it is. */
test.each([
  ["as it is", "user", "user"],
  ["ASCII control characters alone are no concern", "a\u0007b", "a\u0007b"],
  ["soft hyphen left out", "I\u00adX", "IX"],
  ["case kept", "\u00dcSER", "\u00dcSER"],
  ["compatibility letters made plain", "\u00aa", "a"],
  ["a Roman numeral becomes letters", "\u2168", "IX"],
  ["spaces become the one of ASCII", "a\u00a0b\u3000c\u200bd", "a b c d"],
  ["nothing left", "\u00ad", "\u00ad"],
  ["a control character among others", "\u00e9\u0007", "\u00e9\u0007"],
  ["both directions", "\u0627\u0031", "\u0627\u0031"],
  ["both directions, with letters", "\u0627a\u0627", "\u0627a\u0627"],
  ["right to left from end to end", "\u0627\u0031\u0628", "\u0627\u0031\u0628"],
  ["unknown to Unicode 3.2", "\u{1f510}\u00aa", "\u{1f510}\u00aa"],
])("a password is prepared: %s", (_what, password, prepared) =>
  expect(preparePassword(password)).toBe(prepared),
);
