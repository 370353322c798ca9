/** Commands that need no group: what configurations and quorums come to. */
import type { LogIndex, MemberId } from "../../src/base/ids.ts";
import { planConfig } from "../../src/raft/engine/config-change.ts";
import type { ClusterConfig } from "../../src/raft/engine/message.ts";
import { isJoint, quorumIndex, voteOutcome, votersOf } from "../../src/raft/engine/quorum.ts";
import type { Arguments } from "./arguments.ts";
import { configText } from "./wording.ts";

export const ARITHMETIC: Readonly<Record<string, (args: Arguments) => readonly string[]>> = {
  // `plan voters=m1,m2 to m1,m3 learners m2`: the configurations on the way there.
  plan: (args) => {
    const current = args.config();
    const [to, voters = "", ...rest] = args.words();
    const learners = rest[0] === "learners" ? rest[1] : "";
    if (to !== "to" || learners === undefined) throw new Error("plan voters=… to VOTERS [learners LEARNERS]");
    const target = { voters: idsOf(voters), learners: idsOf(learners) };
    const changed = planConfig(current, target);
    if (changed === null) return ["nothing to do"];
    return [configText(changed), ...(isJoint(changed) ? [`then ${configText(left(changed, target))}`] : [])];
  },
  // `committed voters=m1,m2,m3 m1=5 m2=3`: who is not named holds nothing.
  committed: (args) => {
    const config = args.config();
    const matches = new Map(args.pairs().map(([id, index]) => [id, Number(index)]));
    const index = quorumIndex(config, (id) => (matches.get(id) ?? 0) as LogIndex);
    const width = Math.max(0, ...matches.values());
    const bars = votersOf(config).map((id) => {
      const match = matches.get(id) ?? 0;
      return `${id} ${halvesOf(config, id)} ${"=".repeat(match)}${">"}${" ".repeat(width - match)} ${match}`;
    });
    return [...bars, `committed up to ${index}`];
  },
  // `election voters=m1,m2,m3 m1=yes m2=no`: who is not named has not answered.
  election: (args) => {
    const config = args.config();
    const votes = new Map(args.pairs().map(([id, vote]) => [id as MemberId, isYes(vote)]));
    return [voteOutcome(config, votes)];
  },
};

/** As `leaveJoint` does it; the two are held to agree by the transcripts that go all the way. */
function left(joint: ClusterConfig, { voters }: { readonly voters: readonly MemberId[] }): ClusterConfig {
  return {
    voters,
    outgoing: [],
    learners: [...joint.learners, ...joint.learnersNext],
    learnersNext: [],
  };
}

function isYes(vote: string): boolean {
  if (vote !== "yes" && vote !== "no") throw new Error(`a vote is yes or no, not '${vote}'`);
  return vote === "yes";
}

/** In which of the two sets this voter counts. */
function halvesOf({ voters, outgoing }: ClusterConfig, id: MemberId): string {
  if (outgoing.length === 0) return "";
  return `${voters.includes(id) ? "new" : "   "} ${outgoing.includes(id) ? "old" : "   "}`;
}

function idsOf(word: string): readonly MemberId[] {
  return word === "" || word === "nobody" ? [] : (word.split(",") as MemberId[]);
}
