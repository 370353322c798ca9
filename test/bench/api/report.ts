/** What was measured of APIs, as a table for people: medians over the rounds, and ratios to Patroni's. */
import type { Seen } from "../consensus/closed-loop.ts";
import { percentile } from "../measured.ts";
import type { Amount } from "./amounts.ts";

export interface ApiSample extends Seen {
  readonly subject: string;
  readonly kind: "read" | "write";
}

export interface ApiReport {
  readonly place: string;
  readonly versions: readonly string[];
  readonly samples: readonly ApiSample[];
  /** Empty: not measured. */
  readonly amounts: readonly Amount[];
  /** Of the machine, at the end. */
  readonly load: number;
  readonly atWallMs: number;
}

const PEER = "Patroni";
const TEXTS = { read: "reads of the cluster", write: "small changes" } as const;

export function markdown({ place, versions, samples, amounts, load, atWallMs }: ApiReport): string {
  const subjects = [...new Set(samples.map(({ subject }) => subject))];
  const cells = [...new Set(samples.map(({ kind, clients }) => `${kind} ${clients}`))];
  const rows = cells.map((cell) => {
    const [kind = "read", clients = "1"] = cell.split(" ");
    const of = (subject: string) =>
      samples.filter(
        (each) => each.subject === subject && each.kind === kind && each.clients === Number(clients),
      );
    const peer = of(PEER);
    const columns = subjects.map((subject) => describe(of(subject), subject === PEER ? [] : peer));
    return `| ${TEXTS[kind as keyof typeof TEXTS]}, ${clients} at once | ${columns.join(" | ")} |`;
  });
  const speed = [
    `| p50 (p99), answers a second, × Patroni's | ${subjects.join(" | ")} |`,
    `| --- |${" --- |".repeat(subjects.length)}`,
    ...rows,
    "",
  ];
  return [
    ...(samples.length === 0 ? [] : speed),
    ...(amounts.length === 0 ? [] : [...amountRows(amounts), ""]),
    `${versions.join("; ")}; ${place}; measured ${new Date(atWallMs).toISOString().slice(0, 16).replace("T", " ")} UTC, load of the machine ${load.toFixed(1)}.`,
  ].join("\n");
}

function amountRows(amounts: readonly Amount[]): readonly string[] {
  const rows = amounts.map((amount) => {
    const { what, agreedMs, inForceMs, oneMoreMs, readMs, memoryMb, primaryShare, otherShare } = amount;
    const times = [agreedMs, inForceMs, oneMoreMs, readMs].map(duration);
    const shares = [primaryShare, otherShare].map((share) => `${(share * 100).toFixed(1)} %`);
    return `| ${[what, ...times, `${memoryMb.toFixed(0)} MB`, ...shares].join(" | ")} |`;
  });
  return [
    "| there are | agreed after | in force everywhere after | one more in force after | all read in | memory of the primary's member | its share of a core, nothing happening | the busiest other's |",
    `| --- |${" --- |".repeat(7)}`,
    ...rows,
  ];
}

function duration(ms: number | null): string {
  if (ms === null) return "–";
  return ms < 1_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

function describe(seen: readonly Seen[], peer: readonly Seen[]): string {
  const [p50Ms, p99Ms, perSecond] = [median(seen, "p50Ms"), median(seen, "p99Ms"), median(seen, "perSecond")];
  const ratio = peer.length === 0 ? "" : `, ×${(perSecond / median(peer, "perSecond")).toFixed(1)}`;
  return `${p50Ms.toFixed(2)} ms (${p99Ms.toFixed(2)} ms), ${Math.round(perSecond).toLocaleString("en")}/s${ratio}`;
}

function median(seen: readonly Seen[], what: "p50Ms" | "p99Ms" | "perSecond"): number {
  return percentile(
    seen.map((each) => each[what]),
    0.5,
  );
}
