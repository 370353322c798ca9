import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import type { EventDocument, EventPageDocument, OperationDocument } from "../api/documents.ts";
import type { ApiClient } from "./client.ts";
import { clientCommand, type OutputFormat, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import { pause } from "./follow-operation.ts";
import type { CliPorts } from "./ports.ts";
import { renderOperation } from "./render-status.ts";
import { renderTable, withoutControls } from "./render-table.ts";
import { steerCommand } from "./restart-commands.ts";
import { readServerSentEvents } from "./server-sent-events.ts";

const RECONNECT_MS = 1_000;
const PAGE_EVENTS = 500;

/** `guacamole operation …` */
export function operationCommand(ports: CliPorts) {
  const list = clientCommand("list")
    .description("Lists operations, newest first.")
    .action(async (options) => {
      const client = await openClient(ports, options);
      printResult(
        ports,
        options.output,
        await client.get<OperationDocument[]>("/v1/operations"),
        renderOperations,
      );
    });
  const show = clientCommand("show")
    .description("Shows one operation with its log.")
    .argument("<id>", "its id")
    .action(async (id, options) => {
      const client = await openClient(ports, options);
      const operation = await client.get<OperationDocument>(`/v1/operations/${encodeURIComponent(id)}`);
      printResult(ports, options.output, operation, renderOperation);
    });
  return new Command("operation")
    .summary("long work: what runs, and how it ended; hold or end a planned restart")
    .description(
      "Shows long work: what runs, and how it ended. A planned restart can be held, let go on and ended.",
    )
    .addCommand(list)
    .addCommand(show)
    .addCommand(steerCommand(ports, "pause"))
    .addCommand(steerCommand(ports, "resume"))
    .addCommand(steerCommand(ports, "cancel"));
}

function renderOperations(operations: readonly OperationDocument[]): string {
  return renderTable(
    ["id", "kind", "member", "status", "phase", "started"],
    operations.map(({ id, kind, member, status, phase, startedAt }) => [
      id,
      kind,
      member,
      status,
      phase,
      startedAt,
    ]),
  );
}

/** `guacamole events` */
export function eventsCommand(ports: CliPorts) {
  return clientCommand("events")
    .summary("what happened, and what happens")
    .description("Prints what happened, oldest first. With --output json and --follow: one event per line.")
    .option("-f, --follow", "go on as things happen, until Ctrl-C")
    .option("--after <id>", "only events after this one", parseEventId, 0)
    .addHelpText("after", "\nExample:\n  guacamole events --follow")
    .action(async (options) => {
      const client = await openClient(ports, options);
      if (options.follow === true) {
        await follow(ports, client, options.after, options.output);
        return;
      }
      printResult(ports, options.output, await readAll(client, options.after), (events) =>
        events.map(renderEvent).join(""),
      );
    });
}

async function readAll(client: ApiClient, after: number): Promise<EventDocument[]> {
  const all: EventDocument[] = [];
  let next = after;
  while (true) {
    const page = await client.get<EventPageDocument>(`/v1/events?after=${next}&limit=${PAGE_EVENTS}`);
    all.push(...page.events);
    if (page.events.length < PAGE_EVENTS || page.next <= next) return all;
    next = page.next;
  }
}

/** Goes on after a member went away or another one answers: from the last event that was seen. */
async function follow(
  ports: CliPorts,
  client: ApiClient,
  after: number,
  format: OutputFormat,
): Promise<void> {
  let last = after;
  let isFirst = true;
  do {
    try {
      const stream = await client.stream("/v1/events", last, ports.interrupted);
      isFirst = false;
      for await (const { data } of readServerSentEvents(stream)) {
        const event = JSON.parse(data) as EventDocument;
        last = event.id;
        ports.terminal.out(format === "json" ? `${JSON.stringify(event)}\n` : renderEvent(event));
      }
    } catch (error) {
      if (ports.interrupted.aborted) return;
      const isGone = error instanceof CliError ? error.exitCode === EXIT.unreachable : true;
      if (isFirst || !isGone) throw error;
      ports.terminal.err("The member went away; trying again.\n");
    }
  } while (await pause(ports, RECONNECT_MS));
}

function renderEvent({ at, name, message }: EventDocument): string {
  return `${withoutControls(`${at}  ${name.padEnd(28)}  ${message}`)}\n`;
}

function parseEventId(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError("An event's id is a whole number.");
  return Number(text);
}
