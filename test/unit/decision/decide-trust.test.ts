import { describe, expect, test } from "bun:test";
import {
  type AgreedAuthorities,
  authoritiesToTrust,
  mayStaySignedBy,
} from "../../../src/decision/decide-trust.ts";

const settled: AgreedAuthorities = { signing: "old", other: null, isOtherNext: false, former: [] };
const trusting: AgreedAuthorities = { signing: "old", other: "new", isOtherNext: true, former: [] };
const signing: AgreedAuthorities = { signing: "new", other: "old", isOtherNext: false, former: [] };
const replaced: AgreedAuthorities = { signing: "new", other: null, isOtherNext: false, former: ["old"] };

describe("whom to trust", () => {
  test.each([
    ["the one that is agreed", settled, ["old"], ["old"]],
    ["both, from the moment on that there are two", trusting, ["old"], ["old", "new"]],
    ["both, while the new one signs", signing, ["old", "new"], ["new", "old"]],
    ["the new one, once the former counts for nobody", replaced, ["new", "old"], ["new"]],
    ["also who was away for all of it", replaced, ["old"], ["new"]],
    ["what a disk that is ahead trusts", settled, ["old", "new"], ["old", "new"]],
    ["what a disk that is ahead trusts alone", signing, ["new"], ["new", "old"]],
    ["what a newcomer was told, before it heard anything", settled, ["new", "old"], ["old", "new"]],
  ] as const)("%s", (_name, agreed, onDisk, trusted) => {
    expect(authoritiesToTrust(agreed, onDisk)).toEqual(trusted);
  });
});

describe("whose certificate may stay", () => {
  test.each([
    ["the present one's", settled, "old", true],
    ["nobody's", settled, null, false],
    ["the present one's, while all learn to trust the next", trusting, "old", true],
    ["the next one's: this member is behind its own disk", trusting, "new", true],
    ["the former one's is signed anew", signing, "old", false],
    ["the new one's", signing, "new", true],
    ["one that counts for nobody any more is signed anew", replaced, "old", false],
    ["one that only the disk knows of: this member is behind", settled, "new", true],
  ] as const)("%s", (_name, agreed, signer, stays) => expect(mayStaySignedBy(agreed, signer)).toBe(stays));
});
