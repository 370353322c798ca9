/**
 * What this process made on the machine and has not removed yet. A test run that is told to end (Ctrl-C, SIGTERM, a terminal that
 * is closed) must leave nothing either.
 */

export interface Removable {
  remove(): Promise<void> | void;
}

const made = new Set<Removable>();

/** To be called where something is made, and `removed` once it is gone. */
export function remember(thing: Removable): void {
  made.add(thing);
}

export function removed(thing: Removable): void {
  made.delete(thing);
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    void Promise.allSettled([...made].map(async (thing) => thing.remove())).then(() => process.exit(130));
  });
}
