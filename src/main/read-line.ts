import { createInterface } from "node:readline/promises";

/** One line that a person types; null where the input ends first. */
export async function readLine(question: string): Promise<string | null> {
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  const ended = new Promise<null>((resolve) => asking.once("close", () => resolve(null)));
  try {
    return await Promise.race([asking.question(question), ended]);
  } finally {
    asking.close();
  }
}
