/**
 * Which ports the next test cluster tries: clusters of one process never draw the same ones, although nobody listens on
 * them yet when they are drawn.
 */

const FIRST = 10_000;
const COUNT = 20_000;
const STRIDE = 16;

let cursor = Math.floor((Math.random() * COUNT) / STRIDE) * STRIDE;

/** In place of a random integer, for `LocalCluster`: at most 16 ports at a time are taken from where it points. */
export function nextPort(min: number, max: number): number {
  cursor = (cursor + STRIDE) % COUNT;
  return Math.min(Math.max(FIRST + cursor, min), max);
}
