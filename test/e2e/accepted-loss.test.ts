/** The primary and a standby die at once: nobody that is left is sure to hold everything, and a person decides. */

import { expect } from "bun:test";
import { appendFileSync } from "node:fs";
import type { ClusterDocument, ExplanationDocument, FailoverDocument } from "../../src/api/documents.ts";
import type { LocalCluster } from "../../src/demo/local-cluster.ts";
import { type ClusterLife, describeLife, makeCluster } from "../support/cluster-life.ts";

/** Three with PostgreSQL, and two that only vote: a majority is left without the two that will die. */
function makeClusterWithWitnesses(): LocalCluster {
  const cluster = makeCluster(5);
  for (const name of ["m4", "m5"])
    appendFileSync(cluster.member(name).configPath, "\n[tags]\nwitness = true\n");
  return cluster;
}

async function explained(life: ClusterLife): Promise<ExplanationDocument> {
  const run = await life.ask(life.cluster.member("m3"), "explain", "--output", "json");
  return JSON.parse(run.stdout) as ExplanationDocument;
}

function areAllBack({ isWritable, members }: ClusterDocument): boolean {
  const standbys = members.filter(({ role }) => role === "standby");
  return isWritable && standbys.length === 2 && standbys.every(({ state }) => state === "streaming");
}

describeLife("a reign whose commits cannot all be found", makeClusterWithWitnesses, (part) => {
  part("is held, and says what a person could take upon them", async (life) => {
    await life.form();
    await life.cluster.initialize();
    await life.seen("all stream", areAllBack);
    const [m1, m2] = [life.cluster.member("m1"), life.cluster.member("m2")];
    expect((await life.primary()).name).toBe("m1");
    await Promise.all([life.cluster.killEverything(m1), life.cluster.killEverything(m2)]);
    await life.until("it is held with an offer", async () => (await explained(life)).lossOffer !== null);
    const held = await explained(life);
    expect(held).toMatchObject({ outcome: "held", reason: "waiting-for-pledges" });
    expect(held.wayOut).toContain("--accept-loss");
    expect(held.lossOffer?.member).toBe("m3");
    const nobodyToAsk = await life.ask(life.cluster.member("m3"), "failover", "--accept-loss");
    expect(nobodyToAsk.exitCode).not.toBe(0);
    expect((await life.now()).reign).toMatchObject({ epoch: 1 });
  });

  part(
    "is ended once somebody takes the loss; the others come back, and it stands in the history",
    async (life) => {
      const m3 = life.cluster.member("m3");
      const token = (await explained(life)).lossOffer?.token ?? "";
      const forged = await life.ask(
        m3,
        "failover",
        "--accept-loss",
        token.replace(/.$/, (last) => (last === "0" ? "1" : "0")),
      );
      expect(forged.exitCode).not.toBe(0);
      expect(await life.ask(m3, "failover", "--accept-loss", token)).toMatchObject({ exitCode: 0 });
      await life.seen("m3 reigns", ({ reign }) => reign?.primary === "m3" && reign.epoch === 2);
      for (const name of ["m1", "m2"]) await life.cluster.start(life.cluster.member(name));
      await life.seen("all have come back", areAllBack);
      const { stdout } = await life.ask(m3, "history", "--output", "json");
      const [newest] = JSON.parse(stdout) as FailoverDocument[];
      expect(newest).toMatchObject({ from: "m1", to: "m3" });
      expect(newest?.loss).not.toBeNull();
    },
  );
});
