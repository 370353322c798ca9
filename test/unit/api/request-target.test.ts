import { expect, test } from "bun:test";
import fc from "fast-check";
import { targetOf } from "../../../src/api/request-target.ts";

const target = (url: string) => {
  const { pathname, search } = targetOf({ url } as Request);
  return pathname + search;
};

test.each([
  ["https://m1:8008/replica?lag=1MB", "/replica?lag=1MB"],
  ["/replica?lag=1MB", "/replica?lag=1MB"],
  ["https:///primary", "/primary"],
  ["http://a b:99999/primary", "/primary"],
  ["https://m1", "/"],
  ["https://m1?lag=1", "/?lag=1"],
  ["", "/"],
  ["https://m1//evil.example/primary", "//evil.example/primary"],
  ["//evil.example/primary", "//evil.example/primary"],
])("%s asks for %s", (url, path) => expect(target(url)).toBe(path));

test("nothing that a client sends makes it throw", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      for (const url of [text, `/${text}`, `https://${text}`]) expect(target(url)).toStartWith("/");
    }),
  );
});
