import { constants } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { ConsensusDocument } from "../api/documents.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import { renderConsensus } from "./render-members.ts";
import { renderBytes } from "./render-status.ts";

/** `guacamole consensus` */
export function consensusCommand(ports: CliPorts) {
  return clientCommand("consensus")
    .summary("the group that agrees: leader, log, who votes and who learns")
    .description(
      "Shows the group as the asked member sees it. How far the others have caught up only the leader knows.",
    )
    .option("--linearizable", "wait until everything that was agreed before is known to the asked member")
    .addHelpText("after", "\nExample:\n  guacamole consensus --output json | jq .group.voters")
    .action(async (options) => {
      const client = await openClient(ports, options);
      const path = options.linearizable === true ? "/v1/consensus?consistency=linearizable" : "/v1/consensus";
      printResult(ports, options.output, await client.get<ConsensusDocument>(path), renderConsensus);
    });
}

interface BackupResult {
  readonly file: string;
  readonly index: number;
  readonly bytes: number;
}

/** `guacamole backup-state` */
export function backupStateCommand(ports: CliPorts) {
  return clientCommand("backup-state")
    .summary("write what is agreed to a file")
    .description(
      "Writes what the cluster has agreed on (members, settings, who is primary, tokens' hashes) to a file, as of one moment.\nPostgreSQL's data is not in it. The certificate authority's key is: keep the file as secret as that.",
    )
    .argument("<file>", "where to write it; readable by its owner only")
    .option("--force", "replace the file if it is there")
    .addHelpText(
      "after",
      "\nExample:\n  guacamole backup-state /backup/guacamole-$(date +%F).state\n\n'guacamole recover restore' reads it, the day everything else is lost.",
    )
    .action(async (file, options) => {
      const client = await openClient(ports, options);
      const partial = `${file}.partial`;
      // Before anything is asked for: a place that cannot be written is no news after a long transfer.
      const handle = await create(partial, file, options.force === true);
      let written: BackupResult;
      try {
        const { body, headers } = await client.download("/v1/backup", ports.interrupted);
        const bytes = await copy(body, handle);
        written = { file, index: Number(headers.get("x-guacamole-index") ?? 0), bytes };
        await handle.sync();
        await handle.close();
        await rename(partial, file);
        await syncDirectory(dirname(file));
      } catch (error) {
        await handle.close();
        await rm(partial, { force: true });
        throw error;
      }
      printResult(
        ports,
        options.output,
        written,
        ({ index, bytes }) => `${file}: what was agreed up to entry ${index}, ${renderBytes(bytes)}.\n`,
      );
    });
}

async function create(partial: string, file: string, isForced: boolean): Promise<FileHandle> {
  try {
    if (!isForced && (await Bun.file(file).exists())) {
      throw new CliError(EXIT.usage, `${file} is there already`, "Name another file, or say --force.");
    }
    return await open(partial, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600);
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(
      EXIT.usage,
      `${file} cannot be written: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

async function copy(body: ReadableStream<Uint8Array>, to: FileHandle): Promise<number> {
  let bytes = 0;
  for await (const chunk of body) {
    await to.writeFile(chunk);
    bytes += chunk.byteLength;
  }
  return bytes;
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
