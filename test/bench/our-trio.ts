/** Three members of the compiled guacamole on this machine: built, broken and mended as often as the benchmark wants. */
import { randomBytes } from "node:crypto";
import type { OperationDocument } from "../../src/api/documents.ts";
import type { Clock } from "../../src/base/clock.ts";
import type { LocalCluster, LocalMember } from "../../src/demo/local-cluster.ts";
import { createLedgerDatabase } from "../../src/postgres/ledger-writer.ts";
import { GapMeter } from "./write-gap.ts";

const USER = "bench";
const WHOLE_MS_MAX = 60_000;
const SWITCHOVER_MS_MAX = 60_000;

export class OurTrio {
  readonly cluster: LocalCluster;
  readonly #clock: Clock;

  constructor(cluster: LocalCluster, clock: Clock) {
    this.cluster = cluster;
    this.#clock = clock;
  }

  /** From nothing to three that stream and take writes. @returns how long it took. */
  async bringUp(): Promise<number> {
    const fromMs = this.#clock.nowMs();
    await Promise.all(this.cluster.members.map((member) => this.cluster.start(member)));
    await this.cluster.form("bench");
    await this.cluster.initialize();
    await this.whole();
    return this.#clock.nowMs() - fromMs;
  }

  async openMeter(): Promise<GapMeter> {
    const primary = await this.primary();
    const password = randomBytes(18).toString("hex");
    const place = { socketDirectory: primary.socketDirectory, port: primary.postgresPort };
    await createLedgerDatabase({ ...place, username: USER, password });
    const servers = this.cluster.members.map(({ name, postgresPort }) => ({
      name,
      host: "127.0.0.1",
      port: postgresPort,
    }));
    return new GapMeter({ servers, username: USER, password, clock: this.#clock });
  }

  async crash(meter: GapMeter): Promise<number> {
    const primary = await this.primary();
    return meter.around(
      () => this.cluster.killPostmaster(primary),
      () => this.#hasMoved(primary),
    );
  }

  async death(meter: GapMeter): Promise<number> {
    const primary = await this.primary();
    const gapMs = await meter.around(
      () => this.cluster.killEverything(primary),
      () => this.#hasMoved(primary),
    );
    await this.cluster.start(primary);
    return gapMs;
  }

  async switchover(meter: GapMeter): Promise<number> {
    const primary = await this.primary();
    const gapMs = await meter.around(
      async () => {
        await primary.api.post<OperationDocument>("/v1/switchover", {});
      },
      () => this.#hasMoved(primary),
    );
    await this.cluster.until("the switchover is over", SWITCHOVER_MS_MAX, async () => {
      const seen = await this.cluster.anyCluster();
      return seen !== null && seen.switchover === null && seen.runningOperations.length === 0;
    });
    return gapMs;
  }

  /** Waits until all stream. @throws with what each member says, if that does not come. */
  async whole(): Promise<void> {
    try {
      await this.cluster.until("every member streams", WHOLE_MS_MAX, () => this.cluster.isWhole());
    } catch (error) {
      const views = await Promise.all(this.cluster.members.map((member) => this.#viewOf(member)));
      throw new Error(`not every member streams:\n  ${views.join("\n  ")}`, { cause: error });
    }
  }

  async #viewOf(member: LocalMember): Promise<string> {
    const seen = await this.cluster.cluster(member);
    if (seen === null) return `${member.name} does not answer`;
    const { raft, writableReason, members } = seen;
    const others = members.map(
      ({ name, role, state, reason, seenAgoMs }) => `${name}=${role}/${state}/${reason}/${seenAgoMs} ms ago`,
    );
    return `${member.name} sees leader ${raft.leader}, ${writableReason}, ${others.join(" ")}`;
  }

  async primary(): Promise<LocalMember> {
    const seen = await this.cluster.anyCluster();
    if (seen?.reign == null) throw new Error("the cluster has no primary");
    return this.cluster.member(seen.reign.primary);
  }

  async leaderName(): Promise<string | null> {
    return (await this.cluster.anyCluster())?.raft.leader ?? null;
  }

  async #hasMoved(from: LocalMember): Promise<boolean> {
    const seen = await this.cluster.anyCluster();
    return seen?.reign != null && seen.reign.primary !== from.name && seen.isWritable;
  }
}
