/**
 * The token with which a person takes a loss that was shown: the reign, the member, how far it was, and until when. It is sealed
 * with a key that only members have, so that nobody takes what was not shown, or later than it was meant.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Epoch, MemberId, TimelineId } from "../base/ids.ts";
import type { Lsn, Position } from "../base/lsn.ts";
import { err, ok, type Result } from "../base/result.ts";

export interface OfferedLoss {
  readonly epoch: Epoch;
  readonly memberId: MemberId;
  readonly position: Position;
  readonly expiresAtMs: number;
}

const TOKEN = /^((\d{1,15}):([0-9a-f-]{36}):(\d{1,10}):(\d{1,16}):(\d{1,16})):([0-9a-f]{32})$/;

/** @param key the cluster authority's private key: every member has it, and no client. */
export function formatLossOffer(
  { epoch, memberId, position, expiresAtMs }: OfferedLoss,
  key: string,
): string {
  const fields = [epoch, memberId, position.timeline, position.lsn, expiresAtMs].join(":");
  return `${fields}:${seal(fields, key)}`;
}

/** The error ends a sentence that begins with the token. */
export function parseLossOffer(token: string, key: string): Result<OfferedLoss, string> {
  const match = TOKEN.exec(token);
  if (match === null) return err("is no token of a loss that was shown");
  const [, fields = "", epoch, memberId = "", timeline, lsn, expiresAtMs, given = ""] = match;
  if (!timingSafeEqual(Buffer.from(given), Buffer.from(seal(fields, key))))
    return err("was not made by this cluster, or was changed");
  return ok({
    epoch: Number(epoch) as Epoch,
    memberId: memberId as MemberId,
    position: { timeline: Number(timeline) as TimelineId, lsn: Number(lsn) as Lsn },
    expiresAtMs: Number(expiresAtMs),
  });
}

function seal(fields: string, key: string): string {
  return createHmac("sha256", key).update(`loss-offer\n${fields}`).digest("hex").slice(0, 32);
}
