import type { Brand } from "./brand.ts";
import { err, ok, type Result } from "./result.ts";

/** One log, one id, for ever: made when a member forms or joins, never reused, never an address. A UUID. */
export type MemberId = Brand<string, "MemberId">;
/** Made when a control plane is formed. Every message between members carries it. A UUID. */
export type ClusterId = Brand<string, "ClusterId">;
/** Raft's term. */
export type Term = Brand<number, "Term">;
/** A position in the Raft log, from 1. */
export type LogIndex = Brand<number, "LogIndex">;
/** One reign of one primary. Epochs never repeat and never go back. The first reign is epoch 1. */
export type Epoch = Brand<number, "Epoch">;
/** Counts the versions of the cluster's spec, from 1. */
export type Generation = Brand<number, "Generation">;
/** PostgreSQL's timeline, from 1. */
export type TimelineId = Brand<number, "TimelineId">;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function parseMemberId(text: string): Result<MemberId, string> {
  return UUID.test(text) ? ok(text as MemberId) : err(`'${text}' is not a member id (a UUID is)`);
}

export function parseClusterId(text: string): Result<ClusterId, string> {
  return UUID.test(text) ? ok(text as ClusterId) : err(`'${text}' is not a cluster id (a UUID is)`);
}

/** The epoch after `epoch`. The only way to get a new one. */
export function nextEpoch(epoch: Epoch): Epoch {
  return (epoch + 1) as Epoch;
}

/** Before the first reign. */
export const EPOCH_ZERO = 0 as Epoch;

const MEMBER_NAME = /^[a-z][a-z0-9_-]{0,39}$/;

/**
 * A member's name becomes PostgreSQL's `application_name`, part of a host name and of file names, and stands in
 * `synchronous_standby_names`: so it is short, lower-case and needs no quoting surprises.
 */
export function parseMemberName(text: string): Result<string, string> {
  if (MEMBER_NAME.test(text)) return ok(text);
  return err(
    `'${text}' is not a member name: 1 to 40 characters from a-z, 0-9, '-' and '_', beginning with a letter`,
  );
}
