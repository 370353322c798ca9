/** Forms a member, agrees on one command and says so: compiled by `compiled.test.ts`, and run from an empty directory. */

import { apply } from "../../../../src/cluster/apply.ts";
import { encodeCommand } from "../../../../src/cluster/command-codec.ts";
import { startConsensus } from "../../../../src/main/consensus-client.ts";
import { createAuthority } from "../../../../src/peer/certificates.ts";
import { bootstrapEntries } from "../../../../src/raft/node.ts";
import { formStore } from "../../../../src/store/identity.ts";
import { identityFor } from "../../peer/identities.ts";
import { CLUSTER, formCommand, M1, tokenCommand } from "../../store/sample.ts";

const databasePath = process.argv[2] ?? "";
const authority = await createAuthority(CLUSTER, Date.now());
formStore({
  databasePath,
  clusterId: CLUSTER,
  memberId: M1,
  entries: bootstrapEntries(M1, encodeCommand(formCommand(authority))),
  rules: { apply },
});
const write = (event: string, fields = {}) => process.stderr.write(`${event} ${JSON.stringify(fields)}\n`);
const consensus = await startConsensus({
  databasePath,
  memberId: M1,
  credentials: await identityFor(authority, CLUSTER, M1),
  listen: "127.0.0.1:0",
  clock: { nowMs: () => performance.now(), wallMs: () => Date.now(), sleep: Bun.sleep },
  seed: 7,
  log: { error: write, warn: write, info: write, debug: write },
  onFatal: (exitCode) => process.exit(exitCode),
});
/** With a number of commands: goes on until the disk is full. */
const count = Number(process.argv[3] ?? 1);
let last = "";
for (let at = 0; at < count; at += 1) {
  const result = await consensus.propose(tokenCommand(`c${at}`), 5000);
  last = result.kind;
}
process.stdout.write(`${last}: ${consensus.state.tokens.length} tokens\n`);
await consensus.close();
