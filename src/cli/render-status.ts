import type {
  ClusterDocument,
  MemberDocument,
  OperationDocument,
  ScheduledSwitchoverDocument,
} from "../api/documents.ts";
import { renderTable, withoutControls } from "./render-table.ts";

/** The cluster as people read it: one line about it, one row per member, then what needs a look. */
export function renderStatus(cluster: ClusterDocument): string {
  return `${headline(cluster)}\n\n${renderMembers(cluster.members)}${footnotes(cluster)}`;
}

function headline(cluster: ClusterDocument): string {
  const { reign } = cluster;
  const parts = [
    `cluster ${cluster.name}`,
    reign === null ? "no primary yet" : `epoch ${reign.epoch}`,
    cluster.isWritable ? "writable" : "NOT writable",
    renderDurability(cluster),
    ...cluster.pauses.map((reason) => `PAUSED: ${reason}`),
    cluster.raft.leader === null ? "NO leader" : `leader ${cluster.raft.leader}`,
  ];
  return withoutControls(parts.join(" · "));
}

function renderDurability({ reign, durability }: ClusterDocument): string {
  if (durability.mode === "async") return "async";
  if (reign === null) return `quorum k=${durability.synchronousStandbys}`;
  return `quorum ANY ${reign.cohort.k} (${reign.cohort.standbys.join(", ")})`;
}

/** One row per member. */
export function renderMembers(members: readonly MemberDocument[]): string {
  return renderTable(
    ["member", "role", "state", "tl", "lag", "leader", "reason"],
    members.map((member) => [
      member.name,
      member.role,
      member.state,
      member.timeline === null ? "-" : String(member.timeline),
      member.lagBytes === null ? "-" : renderBytes(member.lagBytes),
      member.isLeader ? "*" : "",
      renderReason(member),
    ]),
  );
}

function renderReason(member: MemberDocument): string {
  const { work } = member;
  const base = [member.reason, member.detail].filter((each) => each !== null && each !== "").join(": ");
  if (work === null) return base;
  const done = renderProgress(work.doneBytes, work.totalBytes);
  return [base, `${work.kind} ${work.phase}`, done].filter((each) => each !== "").join(" · ");
}

function footnotes(cluster: ClusterDocument): string {
  const { decision } = cluster;
  const notes = [
    decision === null || decision.reason === "steady" ? null : `${decision.by} leads: ${decision.text}`,
    decision?.wayOut == null ? null : `way out: ${decision.wayOut}`,
    cluster.isWritable ? null : cluster.writableReason,
    cluster.reign?.fence == null
      ? null
      : `epoch ${cluster.reign.epoch} is being ended: ${cluster.reign.fence.reason}`,
    cluster.switchover === null
      ? null
      : `switchover to ${cluster.switchover.to}: ${cluster.switchover.phase}`,
    ...cluster.warnings.map(({ text }) => `warning: ${text}`),
    cluster.scheduledSwitchover == null ? null : renderScheduled(cluster.scheduledSwitchover),
    ...cluster.runningOperations.map((id) => `operation ${id} is running`),
    ...cluster.members
      .filter(({ pendingRestart }) => pendingRestart.length > 0)
      .map(
        ({ name, pendingRestart }) => `${name}: ${pendingRestart.join(", ")} wait for a start of PostgreSQL`,
      ),
    ...cluster.members
      .filter(({ seenAgoMs }) => seenAgoMs !== null && seenAgoMs > 3000)
      .map(
        ({ name, seenAgoMs }) => `what is shown of ${name} is ${Math.round((seenAgoMs ?? 0) / 1000)} s old`,
      ),
  ].filter((note) => note !== null);
  return notes.length === 0 ? "" : `\n${notes.map((note) => `${withoutControls(note)}\n`).join("")}`;
}

/** What is to happen, and when, in one line. */
export function renderScheduled({ from, to, at, by }: ScheduledSwitchoverDocument): string {
  return `a switchover from ${from} to ${to ?? "whoever is best then"} is scheduled for ${at}, by ${by}`;
}

/** An operation with its log. */
export function renderOperation(operation: OperationDocument): string {
  const head = `${operation.kind} of ${operation.member}: ${operation.status}, ${operation.phase} (operation ${operation.id}, by ${operation.by})`;
  const log = operation.log.map(({ at, message }) => `  ${at}  ${message}`);
  const members = (operation.restart?.members ?? []).map(({ member, state }) => `  ${member}: ${state}`);
  return `${[head, ...log, ...members].map(withoutControls).join("\n")}\n`;
}

/** What is going on in an operation at this moment, in one line. */
export function renderOperationProgress(operation: OperationDocument): string {
  const work = operation.work.map(({ member, work: { kind, phase, doneBytes, totalBytes } }) =>
    [member, kind, phase, renderProgress(doneBytes, totalBytes)].filter((each) => each !== "").join(" "),
  );
  return withoutControls([operation.phase, ...work].join(" · "));
}

function renderProgress(doneBytes: number | null, totalBytes: number | null): string {
  if (doneBytes === null) return "";
  if (totalBytes === null || totalBytes <= 0) return renderBytes(doneBytes);
  return `${Math.min(100, Math.floor((100 * doneBytes) / totalBytes))} % of ${renderBytes(totalBytes)}`;
}

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

/** Bytes in PostgreSQL's units (powers of 1024), with three digits at most. */
export function renderBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.5 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit] ?? "B"}`;
}
