/** Every core kept busy, by one process each. */
import { availableParallelism } from "node:os";

export async function withBusyCores<Value>(body: (processes: number) => Promise<Value>): Promise<Value> {
  const count = availableParallelism();
  const children = Array.from({ length: count }, () =>
    Bun.spawn([process.execPath, "-e", "for (;;);"], { stdio: ["ignore", "ignore", "ignore"] }),
  );
  try {
    return await body(count);
  } finally {
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(children.map(({ exited }) => exited));
  }
}
