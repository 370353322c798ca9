/** Every core kept busy, by one process each. */
import { availableParallelism } from "node:os";
import type { CleanUps } from "../clean-ups.ts";

export async function withBusyCores<Value>(
  cleanUps: CleanUps,
  body: (processes: number) => Promise<Value>,
): Promise<Value> {
  const count = availableParallelism();
  const children = Array.from({ length: count }, () =>
    Bun.spawn([process.execPath, "-e", "for (;;);"], { stdio: ["ignore", "ignore", "ignore"] }),
  );
  const end = async (): Promise<void> => {
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(children.map(({ exited }) => exited));
  };
  // Also where the benchmark is interrupted: they would run for ever.
  cleanUps.add(end);
  try {
    return await body(count);
  } finally {
    await end();
  }
}
