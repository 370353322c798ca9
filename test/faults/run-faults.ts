/** `make faults`: every fault, or those that are named, as often as wanted; a table at the end. */

import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { NamespaceNetwork } from "../support/network-namespaces.ts";
import type { Fault } from "./fault.ts";
import { FAULTS } from "./faults.ts";
import { outcomeTable } from "./report.ts";
import { Suite, setupOf } from "./suite.ts";

const HELP = `make faults ARGS="[words of a fault's name …] [options]"

  --repeat N         all of them N times (1), each time with the next seed
  --seed N           the order of the faults, whom they hit, how long they last
  --freeze-seconds N how long what is frozen stays so (60)
  --rolling-minutes N how long everything is killed in turn (2)
  --report FILE      one line of JSON for each fault (dist/faults.jsonl)
  --list             only say which faults there are

Needs root: hosts are network namespaces.
`;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    repeat: { type: "string", default: "1" },
    seed: { type: "string" },
    "freeze-seconds": { type: "string", default: "60" },
    "rolling-minutes": { type: "string", default: "2" },
    report: { type: "string", default: resolve(import.meta.dir, "../../dist/faults.jsonl") },
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

process.exit(await main());

function titleOf(fault: Fault): string {
  return `${fault.name} [${setupOf(fault)}]`;
}

async function main(): Promise<number> {
  const say = (text: string): void => void process.stdout.write(`${text}\n`);
  if (flags.help) {
    say(HELP);
    return 0;
  }
  const chosen = FAULTS.filter(
    (fault) => positionals.length === 0 || positionals.some((words) => titleOf(fault).includes(words)),
  );
  if (flags.list || chosen.length === 0) {
    say(FAULTS.map((fault) => `${titleOf(fault)}: ${fault.expects}`).join("\n"));
    return flags.list ? 0 : 2;
  }
  const refusal = NamespaceNetwork.refusal();
  if (refusal !== null) {
    say(`faults: ${refusal}`);
    return 2;
  }
  const seed = flags.seed === undefined ? Math.floor(Math.random() * 0xffff_ffff) : Number(flags.seed);
  mkdirSync(resolve(flags.report, ".."), { recursive: true });
  say(`faults: ${chosen.length} of ${FAULTS.length}, ${flags.repeat} times, SEED=${seed}`);
  const suite = new Suite({
    seed,
    freezeMs: Number(flags["freeze-seconds"]) * 1_000,
    rollingMs: Number(flags["rolling-minutes"]) * 60_000,
    reportFile: flags.report,
    say,
  });
  const isClean = await suite.run(chosen, Number(flags.repeat));
  say(outcomeTable(suite.outcomes));
  return isClean ? 0 : 1;
}
