import { Command, Option } from "@commander-js/extra-typings";
import type { MemberDocument } from "../api/documents.ts";
import type { ParametersChange, ParametersDocument } from "../api/parameter-documents.ts";
import type { SpecAtDocument, SpecHistoryDocument } from "../api/spec-documents.ts";
import { editCommand, wantAgain } from "./apply-command.ts";
import type { ApiClient } from "./client.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { finish } from "./cluster-commands.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import { renderParameters } from "./render-parameters.ts";
import { renderHistory } from "./render-spec.ts";
import { beginRestart } from "./restart-commands.ts";
import { whole } from "./spec-commands.ts";
import { suggestCommand } from "./suggest-command.ts";

/** `guacamole config` */
export function configCommand(ports: CliPorts) {
  return new Command("config")
    .summary("PostgreSQL's parameters: what is wanted, what is in effect, and why")
    .description(
      "Shows and changes PostgreSQL's parameters, for the cluster, a role or a member.\nA member's own counts more than its role's, that more than the cluster's, and that more than postgresql.conf.",
    )
    .addCommand(showCommand(ports), { isDefault: true })
    .addCommand(setCommand(ports))
    .addCommand(resetCommand(ports))
    .addCommand(diffCommand(ports))
    .addCommand(editCommand(ports, ["postgres"]))
    .addCommand(historyCommand(ports))
    .addCommand(rollbackCommand(ports))
    .addCommand(suggestCommand(ports));
}

function historyCommand(ports: CliPorts) {
  return clientCommand("history")
    .summary("who changed which parameters, when and why")
    .description(
      "Lists the versions that changed parameters, newest first. 'guacamole spec history' shows all versions, and everything\nthat each changed.",
    )
    .option("--limit <count>", "at most so many", whole, 20)
    .addHelpText("after", "\nExample:\n  guacamole config history --limit 5")
    .action(async (options) => {
      const client = await openClient(ports, options);
      const history = await client.get<SpecHistoryDocument>("/v1/spec/history?limit=200");
      const versions = history.versions.flatMap(({ changes, ...version }) => {
        const told = changes.filter(({ path }) => path.startsWith("postgres."));
        return told.length === 0 ? [] : [{ ...version, changes: told }];
      });
      const shown = { ...history, versions: versions.slice(0, options.limit) };
      printResult(ports, options.output, shown, renderHistory);
    });
}

function rollbackCommand(ports: CliPorts) {
  return clientCommand("rollback")
    .summary("want the parameters of an earlier version again, and nothing else of it")
    .description(
      "Makes the parameters of an earlier version the wanted ones again, as a new version and with the checks of 'guacamole\nconfig set'. 'guacamole spec rollback' does so with everything.",
    )
    .argument("<generation>", "back to this one", whole)
    .option("--reason <text>", "why: it stands in the history and in the audit trail")
    .addHelpText("after", '\nExample:\n  guacamole config rollback 11 --reason "INC-4711"')
    .action(async (generation, options) => {
      const client = await openClient(ports, options);
      const { spec } = await client.get<SpecAtDocument>(`/v1/spec/history/${generation}`);
      const { reason = `parameters back to generation ${generation}` } = options;
      await wantAgain(ports, client, { postgres: spec.postgres ?? null }, { ...options, reason });
    });
}

function showCommand(ports: CliPorts) {
  return clientCommand("show")
    .summary("what is wanted and what is in effect, on each member")
    .description(
      "Asks each member's PostgreSQL for its parameters, and shows those that are wanted and those that are not as\nPostgreSQL has them by itself; of the named ones, what values they take as well.",
    )
    .argument("[names...]", "these only")
    .option("--all", "every parameter")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole config show\n  guacamole config show work_mem max_connections\n  guacamole config show --all --output json",
    )
    .action(async (names, options) => {
      const client = await openClient(ports, options);
      const query =
        names.length > 0
          ? `?name=${encodeURIComponent(names.join(","))}`
          : options.all === true
            ? "?all=true"
            : "";
      const seen = await client.get<ParametersDocument>(`/v1/parameters${query}`, READ_DEADLINE_MS);
      const isDetailed = names.length > 0;
      printResult(ports, options.output, seen, (shown) => renderParameters(shown, { isDetailed }));
    });
}

function setCommand(ports: CliPorts) {
  return clientCommand("set")
    .summary("want a value: for the cluster, or with --role or --member for a part of it")
    .description(
      "Changes parameters. Nothing is accepted that PostgreSQL would not take: the name, the value and whether it would\nstart with it are checked on every member that can be reached. Most take effect at once; what waits for a start is said.",
    )
    .argument("<values...>", "name=value, as PostgreSQL's files have it")
    .addOption(roleOption())
    .addOption(memberOption())
    .option(
      "--restart",
      "then start PostgreSQL again where that is waited for, as 'guacamole restart --pending-only'",
    )
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole config set work_mem=64MB log_min_duration_statement=1s\n  guacamole config set max_standby_streaming_delay=5min --role standby\n  guacamole config set effective_cache_size=12GB --member m2\n\nWhat runs programs or loads code (archive_command, shared_preload_libraries, …) needs a token of scope admin.",
    )
    .action(async (values, options) => {
      const changes = Object.fromEntries(values.map(parseAssignment));
      await change(ports, options, inLayer(options, changes));
      if (options.restart === true) await restartWhatWaits(ports, options);
    });
}

function resetCommand(ports: CliPorts) {
  return clientCommand("reset")
    .summary("want nothing any more: what counts less counts again")
    .description(
      "Takes parameters out of what is wanted of the cluster, or with --role or --member of a part of it.\nThen the next lower one counts again: the role's, the cluster's, and in the end postgresql.conf's.",
    )
    .argument("<names...>", "names of parameters")
    .addOption(roleOption())
    .addOption(memberOption())
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole config reset work_mem\n  guacamole config reset work_mem --member m2",
    )
    .action(async (names, options) => {
      const changes = Object.fromEntries(names.map((name) => [name, null]));
      await change(ports, options, inLayer(options, changes));
    });
}

function diffCommand(ports: CliPorts) {
  return clientCommand("diff")
    .summary("only where something else is in effect than what is wanted")
    .description(
      "Shows parameters of which another value waits for PostgreSQL to be started again, those that are not as wanted, what\nALTER SYSTEM had set and lost again, and lines of configuration files that PostgreSQL does not take.",
    )
    .addHelpText("after", "\nExample:\n  guacamole config diff --output json")
    .action(async (options) => {
      const client = await openClient(ports, options);
      const seen = await client.get<ParametersDocument>("/v1/parameters", READ_DEADLINE_MS);
      const isOff = ({
        pendingRestart,
        isDrifting,
      }: ParametersDocument["parameters"][number]["members"][number]) => pendingRestart || isDrifting;
      const differing = seen.parameters
        .map((parameter) => ({ ...parameter, members: parameter.members.filter(isOff) }))
        .filter(({ members }) => members.length > 0);
      printResult(ports, options.output, { ...seen, parameters: differing }, (shown) =>
        renderParameters(shown, { isDetailed: false, none: "Everything is in effect as it is wanted.\n" }),
      );
    });
}

/** Every member's PostgreSQL is asked, and a trial takes its time. */
const READ_DEADLINE_MS = 10_000;
const CHANGE_DEADLINE_MS = 45_000;

const roleOption = () =>
  new Option("--role <role>", "for members in this role")
    .choices(["primary", "standby"] as const)
    .conflicts("member");
const memberOption = () => new Option("--member <name>", "for this member");

interface Layer {
  readonly role?: "primary" | "standby" | undefined;
  readonly member?: string | undefined;
}

function inLayer(
  { role, member }: Layer,
  changes: NonNullable<ParametersChange["cluster"]>,
): ParametersChange {
  if (member !== undefined) return { members: { [member]: changes } };
  return { [role ?? "cluster"]: changes };
}

function parseAssignment(text: string): readonly [string, string] {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at).trim(), text.slice(at + 1).trim()];
  throw new CliError(
    EXIT.usage,
    `'${text}' is no name=value`,
    "For instance: guacamole config set work_mem=64MB",
  );
}

async function change(
  ports: CliPorts,
  options: Parameters<typeof openClient>[1] & { readonly output: Parameters<typeof printResult>[1] },
  body: ParametersChange,
): Promise<void> {
  const client = await openClient(ports, options);
  const changed = await client.patch<ParametersDocument>("/v1/parameters", body, {
    idempotencyKey: ports.newId(),
    deadlineMs: CHANGE_DEADLINE_MS,
  });
  const shown = await untilInEffect(ports, client, changed);
  printResult(ports, options.output, shown, (seen) => renderParameters(seen, { isDetailed: false }));
}

/** A server tells within seconds that something waits. */
const PENDING_MS_MAX = 10_000;

/** Starts PostgreSQL again where something waits for it; where nothing does, it says so. */
async function restartWhatWaits(
  ports: CliPorts,
  options: Parameters<typeof openClient>[1] & { readonly output: "table" | "json" | "yaml" },
): Promise<void> {
  const client = await openClient(ports, options);
  const untilMs = ports.clock.nowMs() + PENDING_MS_MAX;
  while (ports.clock.nowMs() < untilMs) {
    const members = await client.get<MemberDocument[]>("/v1/members");
    if (members.some(({ pendingRestart }) => pendingRestart.length > 0)) break;
    await ports.clock.sleep(RELOAD_LOOK_MS);
  }
  // Each member tells at its own time: those that do so a moment later are not to be left out.
  await ports.clock.sleep(PENDING_SPREAD_MS);
  const begun = await beginRestart(ports, client, { onlyIfPending: true });
  await finish(ports, client, begun, { ...options, wait: true });
}

const PENDING_SPREAD_MS = 3_000;
const RELOAD_MS_MAX = 5_000;
const RELOAD_LOOK_MS = 250;

/** A reload takes a moment: what is shown is how things are after it. What waits for a start is not waited for. */
async function untilInEffect(
  ports: CliPorts,
  client: ApiClient,
  changed: ParametersDocument,
): Promise<ParametersDocument> {
  const names = changed.parameters.map(({ name }) => name).join(",");
  const untilMs = ports.clock.nowMs() + RELOAD_MS_MAX;
  let seen = changed;
  while (isDrifting(seen) && ports.clock.nowMs() < untilMs) {
    await ports.clock.sleep(RELOAD_LOOK_MS);
    const path = `/v1/parameters?name=${encodeURIComponent(names)}`;
    seen = { ...(await client.get<ParametersDocument>(path, READ_DEADLINE_MS)), notices: changed.notices };
  }
  return seen;
}

function isDrifting({ parameters }: ParametersDocument): boolean {
  return parameters.some(({ members }) => members.some((each) => each.isDrifting));
}
