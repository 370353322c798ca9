/**
 * Two roles that take turns as the login of a third, so that two passwords are good for a while (`roadmap/0013-login-pairs.md`).
 * The role itself may be the first one that is taken over from: whoever logged in as `app` gets to `app_a` without a gap.
 */
import { err, ok, type Result } from "../base/result.ts";
import { type DeclaredSpec, type Login, type LoginPair, type RoleWish, wishOfRole } from "./declared.ts";

export const OVERLAP_SECONDS_DEFAULT = 86_400;
export const OVERLAP_SECONDS_MAX = 31_536_000;

type Wish = Omit<RoleWish, "since">;

/** What a login is called on the server. */
export function loginName(role: string, login: Login): string {
  return login === "self" ? role : `${role}_${login}`;
}

/** How far the one before is. Instants are compared as texts: UTC with milliseconds, all of them. */
export function previousState({ previous }: LoginPair, now: string): "overlapping" | "ended" {
  return now < previous.until ? "overlapping" : "ended";
}

/** The overlaps of a declaration that are over, as a text that is another one as soon as one more is. */
export function endedOverlaps({ roles = {} }: DeclaredSpec, now: string): string {
  return Object.entries(roles)
    .filter(([, { logins }]) => logins !== undefined && previousState(logins, now) === "ended")
    .map(([name]) => name)
    .join("\n");
}

/**
 * A new password for the login whose turn it is next, and an end for the one before.
 *
 * @param until when the one before ends.
 * @returns an error while an overlap goes on: a third password would take away one that may be in use.
 */
export function rotated(
  wish: Wish,
  verifier: string,
  now: string,
  until: string,
): Result<Wish, "overlap-goes-on"> {
  const { login, password, validUntil, rotation, logins, ...rest } = wish;
  const asks = { ...rest, rotation: rotation ?? { overlapSeconds: OVERLAP_SECONDS_DEFAULT } };
  if (logins === undefined) {
    // Who could not log in needs no time to leave, and nobody gets more of it than he had.
    const ends = login === false ? now : earlier(until, validUntil ?? null);
    const own = typeof password === "string" ? { selfVerifier: password } : {};
    const previous = { login: "self" as const, until: ends };
    return ok({ ...asks, logins: { newest: "a", previous, ...own, aVerifier: verifier } });
  }
  if (previousState(logins, now) === "overlapping") return err("overlap-goes-on");
  const { newest, selfVerifier: _, ...kept } = logins;
  const next = newest === "a" ? "b" : "a";
  const previous = { login: newest, until };
  return ok({ ...asks, logins: { ...kept, newest: next, previous, [`${next}Verifier`]: verifier } });
}

/** Another password for the newest login: the one that it has was lost. Who is on the way out keeps his time. */
export function replacedNewest(wish: Wish, logins: LoginPair, verifier: string): Wish {
  return { ...wish, logins: { ...logins, [`${logins.newest}Verifier`]: verifier } };
}

/** Another end for the one before; an error where it is over: what ended stays ended. */
export function endingAt(
  wish: Wish,
  logins: LoginPair,
  now: string,
  until: string,
): Result<Wish, "overlap-over"> {
  if (previousState(logins, now) === "ended") return err("overlap-over");
  return ok({ ...wish, logins: { ...logins, previous: { ...logins.previous, until } } });
}

/** The same wish, said by whoever knows nothing of rotations: whose turn it is stays as it was. */
export function withLogins(before: Wish | null, wish: Wish): Wish {
  const { logins: _, ...rest } = wish;
  if (before?.logins === undefined || before.isAbsent === true) return rest;
  // They go with the role; nobody has to remember that they belonged to it.
  const { newest, previous } = before.logins;
  if (rest.isAbsent === true) return { ...rest, logins: { newest, previous } };
  return rest.rotation === undefined ? rest : { ...rest, logins: before.logins };
}

/** What is wrong with a wish for a role whose logins take turns, in a sentence; null: nothing. */
export function flawOfRotation(name: string, wish: Wish): string | null {
  const { rotation, logins, login, password, validUntil, replication } = wish;
  if (rotation === undefined) return null;
  const { overlapSeconds } = rotation;
  if (!Number.isInteger(overlapSeconds) || overlapSeconds < 0 || overlapSeconds > OVERLAP_SECONDS_MAX)
    return `rotation: overlapSeconds is 0 to ${OVERLAP_SECONDS_MAX}`;
  if (new TextEncoder().encode(loginName(name, "a")).length > 63)
    return `rotation: a name of 63 bytes at most is left for ${loginName(name, "a")}`;
  if (replication === true)
    return "rotation: who replicates does so as whoever logs in, and never becomes another role";
  const isOwn = login === true || password !== undefined || validUntil !== undefined;
  return logins !== undefined && isOwn
    ? `its logins take turns, so login, password and validUntil are not its own: 'guacamole role rotate' gives it a new password`
    : null;
}

/** Which login of a role is a role that somebody declared for itself, in a sentence; null: none. */
export function flawOfLoginNames(declared: DeclaredSpec | null): string | null {
  for (const [name, { rotation, logins }] of Object.entries(declared?.roles ?? {})) {
    if (rotation === undefined && logins === undefined) continue;
    for (const turn of ["a", "b"] as const) {
      const login = loginName(name, turn);
      if (wishOfRole(declared ?? undefined, login) !== null)
        return `${login} is a login of ${name}, whose password is rotated, and cannot be declared for itself`;
    }
  }
  return null;
}

function earlier(a: string, b: string | null): string {
  return b !== null && b < a ? b : a;
}
