/** A member in a process of its own: prints the tokens it knows after each change. To be killed. */
import { readFileSync, writeSync } from "node:fs";
import { startConsensus } from "../../../src/main/consensus-client.ts";
import { CLOCK, LOG, type Seat } from "./members.ts";

const seat = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as Seat;
const consensus = await startConsensus({
  ...seat,
  seed: seat.seed + 1,
  clock: CLOCK,
  log: LOG,
  onFatal: (exitCode) => process.exit(exitCode),
});
const print = () => writeSync(1, `${consensus.state.tokens.map((token) => token.id).join()}\n`);
consensus.onChange(print);
print();
