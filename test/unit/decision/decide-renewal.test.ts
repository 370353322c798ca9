import { describe, expect, test } from "bun:test";
import {
  type CertificateEnds,
  type CertificateFacts,
  certificateProblems,
  type WantedCertificate,
  whyRenew,
} from "../../../src/decision/decide-renewal.ts";

const DAY = 86_400_000;
const FROM = 1_000 * DAY;
const on = (day: number) => FROM + day * DAY;
const certificate: CertificateFacts = {
  notBeforeMs: FROM,
  notAfterMs: FROM + 300 * DAY,
  names: ["m1", "10.0.0.1"],
};
const wanted: WantedCertificate = {
  names: ["10.0.0.1", "m1"],
  isOfAuthority: true,
  authorityStartsMs: FROM - 100 * DAY,
  authorityEndsMs: FROM + 3_650 * DAY,
};

describe("a member's certificate", () => {
  test.each([
    ["is kept while more than a third is left", certificate, wanted, 199, 0, null],
    ["is due at a third", certificate, wanted, 200, 0, "ends-soon"],
    ["is due a tenth of that sooner on the earliest member", certificate, wanted, 190, 1, "ends-soon"],
    ["and no sooner than that", certificate, wanted, 189, 1, null],
    ["has expired on the day it ends", certificate, wanted, 300, 0, "expired"],
    ["has expired long ago", certificate, wanted, 2_000, 0, "expired"],
    ["was made by a clock that was ahead", certificate, wanted, -1, 0, "not-yet-valid"],
    ["is as old as its authority", certificate, { ...wanted, authorityStartsMs: FROM }, -1, 0, null],
    [
      "is due a third of a year before its end, however long it is valid",
      { ...certificate, notBeforeMs: on(-3_350) },
      { ...wanted, authorityStartsMs: on(-3_350) },
      178,
      0,
      null,
    ],
    ["and then is", { ...certificate, notBeforeMs: on(-3_350) }, wanted, 179, 0, "ends-soon"],
    ["is of another authority", certificate, { ...wanted, isOfAuthority: false }, 1, 0, "other-authority"],
    ["lacks a name", certificate, { ...wanted, names: ["m1", "10.0.0.1", "db1"] }, 1, 0, "other-names"],
    ["has a name too many", certificate, { ...wanted, names: ["m1"] }, 1, 0, "other-names"],
    [
      "is not renewed for ever where it ends with its authority",
      certificate,
      { ...wanted, authorityEndsMs: certificate.notAfterMs },
      299,
      0,
      null,
    ],
  ] as const)("%s", (_what, has, wants, day, earliness, reason) => {
    expect(whyRenew(has, wants, on(day), earliness)).toBe(reason);
  });
});

describe("people are told", () => {
  const ends: CertificateEnds = { member: certificate, ownEndsMs: null, authorityEndsMs: on(3_650) };
  const kinds = (over: Partial<CertificateEnds>, day: number) =>
    certificateProblems({ ...ends, ...over }, on(day)).map(({ kind }) => kind);

  test("nothing while the member does it by itself", () => {
    expect(kinds({}, 249)).toEqual([]);
  });

  test("once it should have been renewed long ago", () => {
    expect(kinds({}, 250)).toEqual(["overdue"]);
  });

  test("two weeks before the owner's own ends, and after", () => {
    expect(kinds({ ownEndsMs: on(100) }, 85)).toEqual([]);
    expect(kinds({ ownEndsMs: on(100) }, 86)).toEqual(["own-ends"]);
    expect(kinds({ ownEndsMs: on(100) }, 101)).toEqual(["own-ends"]);
  });

  test("half a year before the authority ends", () => {
    const late = { member: { ...certificate, notAfterMs: on(3_650) } };
    expect(kinds(late, 3_469)).toEqual([]);
    expect(kinds(late, 3_470)).toEqual(["authority-ends"]);
  });
});
