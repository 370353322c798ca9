import type { MemberId } from "../base/ids.ts";

/** A trace that `guacamole break-glass local` leaves on a host: somebody came, or left. */
export interface LocalAccess {
  /** By it, it is told once. */
  readonly id: string;
  /** Of the coming and the leaving together. */
  readonly session: string;
  readonly what: "opened" | "closed";
  /** Who it is, as whoever ran the command said. */
  readonly who: string;
  /** Whose rights the command had, and who gave itself those rights, as far as the system told. */
  readonly systemUser: string;
  readonly reason: string;
  /** By the host's wall clock. */
  readonly atMs: number;
  /** Of psql, when somebody left; null: not known, or just opened. */
  readonly exitCode: number | null;
}

/** As it is agreed, with the member on whose host it was. */
export interface NotedLocalAccess extends LocalAccess {
  readonly memberId: MemberId;
}

/** So many are remembered: none is told twice before as many others were. */
export const LOCAL_ACCESS_KEPT = 100;

const TEXT_MAX = 500;

/** What a file holds, or null where that is no trace. */
export function parseLocalAccess(text: string): LocalAccess | null {
  try {
    const { id, session, what, who, systemUser, reason, atMs, exitCode } = JSON.parse(text) as LocalAccess;
    const texts = [id, session, who, systemUser, reason];
    const isWhole = texts.every((each) => typeof each === "string" && each.length <= TEXT_MAX);
    if (!isWhole || (what !== "opened" && what !== "closed") || typeof atMs !== "number") return null;
    const code = typeof exitCode === "number" ? exitCode : null;
    return { id, session, what, who, systemUser, reason, atMs, exitCode: code };
  } catch {
    return null;
  }
}
