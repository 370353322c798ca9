import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Lets a person edit a text, in a file that nobody else may read; null where the editor failed. */
export async function editText(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<string | null> {
  const directory = await mkdtemp(join(tmpdir(), "guacamole-"));
  const file = join(directory, "spec.yaml");
  try {
    await writeFile(file, text, { mode: 0o600 });
    const editor = env["VISUAL"] || env["EDITOR"] || "vi";
    // It may be a command with options, as git takes it.
    const editing = Bun.spawn(["sh", "-c", `${editor} "$1"`, "sh", file], {
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
    });
    return (await editing.exited) === 0 ? await readFile(file, "utf8") : null;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
