import { t } from "elysia";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem, notReadyProblem } from "./problem.ts";
import { look, type Sight } from "./sight.ts";
import { PROPOSE_DEADLINE_MS } from "./submit.ts";

/** How fresh a read has to be. */
export const ConsistencySchema = t.Optional(
  t.Union([t.Literal("local"), t.Literal("linearizable")], {
    default: "local",
    description: "`linearizable` waits until everything that was agreed before is known here",
  }),
);

export const consistencyQuery = t.Object({ consistency: ConsistencySchema });

export interface ConsistencyQuery {
  readonly consistency?: "local" | "linearizable" | undefined;
}

/**
 * What this member knows; with `linearizable`, once it knows everything that was agreed before the call, through whichever
 * member leads. Nothing is written for that.
 *
 * @throws {ApiProblem} 503 `no-leader` where nobody can say in time what is agreed; as `look` does.
 */
export async function lookWith(ports: ApiPorts, { consistency }: ConsistencyQuery): Promise<Sight> {
  if (consistency === "linearizable") {
    const consensus = ports.consensus();
    if (consensus === null) throw notReadyProblem(ports.memberId() !== null);
    const reached = await consensus.barrier(PROPOSE_DEADLINE_MS);
    if (reached.kind === "unknown") {
      throw new ApiProblem({
        status: 503,
        code: "no-leader",
        detail: `Nobody can say now what is agreed (${reached.reason}).`,
        hint: "A majority of the voters must be up and reach each other. Without ?consistency=linearizable the answer is what this member knows.",
        headers: { "retry-after": "1" },
      });
    }
  }
  return look(ports);
}
