import { createReadStream, fstatSync, openSync, unlinkSync } from "node:fs";
import { Readable } from "node:stream";
import { Elysia } from "elysia";
import type { StateBackup } from "../cluster/consensus.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { describeConsensus } from "./describe.ts";
import { ConsensusSchema } from "./documents.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem, notReadyProblem } from "./problem.ts";
import { describeRoute } from "./route-context.ts";

/** The group that agrees: how it stands, and a copy of what it has agreed on. */
export function consensusRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/consensus",
      async ({ query }) =>
        describeConsensus(await lookWith(ports, query), ports.name, query.consistency ?? "local"),
      {
        query: consistencyQuery,
        response: { 200: ConsensusSchema },
        detail: describeRoute(
          "viewer",
          "cluster",
          "The group that agrees: leader, log, who votes and who learns",
          "As the answering member knows it; how far the others have caught up, only the leader knows.",
        ),
      },
    )
    .get(
      "/v1/backup",
      async () => {
        const consensus = ports.consensus();
        if (consensus === null) throw notReadyProblem(ports.memberId() !== null);
        return sendBackup(ports, await writeBackup(ports, consensus));
      },
      {
        detail: describeRoute(
          "admin",
          "cluster",
          "A backup of what is agreed, as one file",
          "As of one index, which the header X-Guacamole-Index says. It holds the key of the cluster's certificate authority: keep it as you keep that. 'guacamole recover restore' reads it.",
        ),
      },
    );
}

async function writeBackup(
  ports: ApiPorts,
  consensus: { backup(): Promise<StateBackup> },
): Promise<StateBackup> {
  try {
    return await consensus.backup();
  } catch (error) {
    ports.log.error("api.backup-failed", { error: error instanceof Error ? error.message : String(error) });
    throw new ApiProblem({
      status: 503,
      code: "backup-failed",
      detail: "The backup could not be written; nothing was changed.",
      hint: "Is there room in this member's data directory? Its log says more. Another member can be asked as well.",
    });
  }
}

/** The file goes at once, while it is still open: nothing is left behind, however the sending ends. */
function sendBackup(ports: ApiPorts, { path, term, index }: StateBackup): Response {
  const file = openSync(path, "r");
  unlinkSync(path);
  const { size } = fstatSync(file);
  const stream = Readable.toWeb(createReadStream("", { fd: file, autoClose: true }));
  const name = `${ports.consensus()?.state.name ?? "cluster"}-${index}.backup`;
  return new Response(stream as unknown as ReadableStream<Uint8Array>, {
    headers: {
      "content-type": "application/octet-stream",
      "content-length": String(size),
      "content-disposition": `attachment; filename="${name}"`,
      "x-guacamole-term": String(term),
      "x-guacamole-index": String(index),
    },
  });
}
