import { userInfo } from "node:os";

export interface OwnUser {
  readonly uid: number;
  readonly username: string;
}

/**
 * Whose rights this process has, as the system knows it: PostgreSQL compares the name of whoever connects. Bun's `userInfo()`
 * takes the name from `$USER`, which a service, a container or `setpriv` may not set, or may set to another's.
 *
 * @throws {Error} where the system knows no such user: PostgreSQL would not run either.
 */
export function ownUser(): OwnUser {
  const { uid } = userInfo();
  const asked = Bun.spawnSync(["id", "-un"], { stderr: "ignore" });
  const username = asked.stdout.toString().trim();
  if (asked.success && username !== "") return { uid, username };
  throw new Error(
    `this system knows no user with the id ${uid}, as which this process runs; PostgreSQL needs one with a name (an entry in /etc/passwd)`,
  );
}
