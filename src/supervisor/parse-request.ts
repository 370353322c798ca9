import { type ClusterId, type Epoch, parseClusterId, type TimelineId } from "../base/ids.ts";
import { parseIpNetwork } from "../base/ip-network.ts";
import type { Lsn } from "../base/lsn.ts";
import { err, ok, type Result } from "../base/result.ts";
import { BREAK_GLASS_PREFIX, type GuardedGrant } from "../cluster/break-glass.ts";
import type { AccessLines, ManagedSettings, Upstream } from "../cluster/managed-settings.ts";
import type { TimelineEpoch } from "../cluster/observation.ts";
import { type Parameters, parseParameterName } from "../cluster/parameters.ts";
import type { SupervisorRequest } from "./protocol.ts";

/** What came over the socket, as a request: the gateway of the supervisor. Nothing unparsed goes further. */
export interface Envelope {
  readonly id: number;
  readonly request: SupervisorRequest;
}

/** What is wrong with a message, and whom to tell: null where not even its id can be read. */
export interface MalformedRequest {
  readonly id: number | null;
  readonly message: string;
}

/** The error names the first field that is wrong. */
export function parseEnvelope(line: string): Result<Envelope, MalformedRequest> {
  let id: number | null = null;
  try {
    const envelope = record(JSON.parse(line), "message");
    id = whole(envelope["id"], "id");
    return ok({ id, request: parseRequest(record(envelope["request"], "request")) });
  } catch (error) {
    return err({ id, message: error instanceof Error ? error.message : String(error) });
  }
}

type Fields = Readonly<Record<string, unknown>>;

function parseRequest(fields: Fields): SupervisorRequest {
  const kind = text(fields["kind"], "kind");
  switch (kind) {
    case "look":
      return {
        kind,
        ...(fields["isStarting"] === true ? { isStarting: true } : {}),
        ...(fields["wantsWal"] === true ? { wantsWal: true } : {}),
      };
    case "reload":
    case "discard-aside":
    case "list-forks":
    case "describe-machine":
      return { kind };
    case "try-parameters":
      return { kind, parameters: parameters(fields["parameters"]) };
    case "try-access":
      return { kind, lines: accessLines(record(fields["lines"], "lines")) };
    case "list-local-access":
      return { kind, told: texts(fields["told"], "told") };
    case "guard-break-glass":
      return { kind, grants: guardedGrants(fields["grants"]) };
    case "install-certificates":
      return {
        kind,
        caPem: text(fields["caPem"], "caPem"),
        certificatePem: text(fields["certificatePem"], "certificatePem"),
        privateKeyPem: text(fields["privateKeyPem"], "privateKeyPem"),
      };
    case "initdb": {
      const options = record(fields["options"], "options");
      return {
        kind,
        clusterId: clusterId(fields["clusterId"]),
        options: {
          encoding: text(options["encoding"], "encoding"),
          locale: text(options["locale"], "locale"),
          ...(options["walSegmentMb"] === undefined
            ? {}
            : { walSegmentMb: whole(options["walSegmentMb"], "walSegmentMb") }),
        },
      };
    }
    case "clone":
      return {
        kind,
        clusterId: clusterId(fields["clusterId"]),
        epoch: epoch(fields["epoch"]),
        timelines: timelines(fields["timelines"]),
        source: upstream(fields["source"], "source"),
        replace: fields["replace"] === null ? null : text(fields["replace"], "replace"),
      };
    case "rewind":
      return {
        kind,
        epoch: epoch(fields["epoch"]),
        timelines: timelines(fields["timelines"]),
        source: upstream(fields["source"], "source"),
        forkTimeline: whole(fields["forkTimeline"], "forkTimeline") as TimelineId,
        forkLsn: whole(fields["forkLsn"], "forkLsn") as Lsn,
      };
    case "configure":
      return {
        kind,
        epoch: epoch(fields["epoch"]),
        timelines: timelines(fields["timelines"]),
        settings: settings(record(fields["settings"], "settings")),
        ...(fields["needsLease"] === true ? { needsLease: true } : {}),
      };
    case "promote":
      return {
        kind,
        epoch: epoch(fields["epoch"]),
        timelines: timelines(fields["timelines"]),
        needsLease: fields["needsLease"] === true,
      };
    case "extend-lease":
      return {
        kind,
        epoch: epoch(fields["epoch"]),
        stampMs: duration(fields["stampMs"], "stampMs"),
        durationMs: duration(fields["durationMs"], "durationMs"),
      };
    case "hello":
      return {
        kind,
        pid: whole(fields["pid"], "pid"),
        startTicks: whole(fields["startTicks"], "startTicks"),
      };
    case "restart-in-place":
      return {
        kind,
        epoch: epoch(fields["epoch"]),
        withinMs: whole(fields["withinMs"], "withinMs"),
        needsLease: fields["needsLease"] === true,
      };
    case "start":
    case "release-lease":
    case "pledge":
      return { kind, epoch: epoch(fields["epoch"]) };
    case "stop": {
      const mode = fields["mode"];
      if (mode !== "fast" && mode !== "immediate") throw new Error("mode must be 'fast' or 'immediate'");
      return { kind, mode, deadlineMs: whole(fields["deadlineMs"], "deadlineMs") };
    }
    default:
      throw new Error(`'${kind}' is not a request that this supervisor knows (is it older than the member?)`);
  }
}

/** Milliseconds, with fractions. */
function duration(value: unknown, name: string): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0)
    throw new Error(`${name} must be a number of milliseconds`);
  return value;
}

function settings(fields: Fields): ManagedSettings {
  const rule = fields["synchronousStandbyNames"];
  return {
    memberName: text(fields["memberName"], "memberName"),
    clusterId: clusterId(fields["clusterId"]),
    listenAddresses: text(fields["listenAddresses"], "listenAddresses"),
    port: whole(fields["port"], "port"),
    socketDirectory: text(fields["socketDirectory"], "socketDirectory"),
    upstream: fields["upstream"] === null ? null : upstream(fields["upstream"], "upstream"),
    synchronousStandbyNames: rule === null ? null : synchronousRule(record(rule, "synchronousStandbyNames")),
    ...(fields["parameters"] === undefined ? {} : { parameters: parameters(fields["parameters"]) }),
    ...(fields["access"] === undefined ? {} : { access: accessLines(record(fields["access"], "access")) }),
  };
}

/** Roles and addresses become lines of pg_hba.conf, and roles stand in statements. */
function guardedGrants(value: unknown): readonly GuardedGrant[] {
  if (!Array.isArray(value)) throw new Error("grants must be a list");
  return value.map((each) => {
    const fields = record(each, "grants");
    const role = text(fields["role"], "grants.role");
    if (!role.startsWith(BREAK_GLASS_PREFIX) || !/^[a-z0-9_]{1,63}$/.test(role))
      throw new Error(`grants.role: '${role}' is no role for break-glass access`);
    const address = text(fields["address"], "grants.address");
    const network = parseIpNetwork(address);
    if (!network.ok) throw new Error(`grants.address: ${network.error}`);
    return {
      id: text(fields["id"], "grants.id"),
      role,
      address,
      durationMs: duration(fields["durationMs"], "grants.durationMs"),
      expiresAtMs: duration(fields["expiresAtMs"], "grants.expiresAtMs"),
      isOver: fields["isOver"] === true,
      knownMs: duration(fields["knownMs"], "grants.knownMs"),
    };
  });
}

function accessLines(fields: Fields): AccessLines {
  return {
    revision: whole(fields["revision"], "access.revision"),
    hba: texts(fields["hba"], "access.hba"),
    identMaps: texts(fields["identMaps"], "access.identMaps"),
  };
}

/** Names and values become lines of a configuration file. */
function parameters(value: unknown): Parameters {
  const entries = Object.entries(record(value, "parameters")).map(([name, each]) => {
    if (parseParameterName(name) !== name) throw new Error(`parameters: '${name}' is no name of a parameter`);
    return [name, text(each, `parameters.${name}`)] as const;
  });
  return Object.fromEntries(entries);
}

function synchronousRule(fields: Fields): { readonly k: number; readonly names: readonly string[] } {
  return {
    k: whole(fields["k"], "synchronousStandbyNames.k"),
    names: texts(fields["names"], "synchronousStandbyNames.names"),
  };
}

function texts(value: unknown, name: string): readonly string[] {
  if (!Array.isArray(value)) throw new Error(`${name} must be a list`);
  return value.map((each) => text(each, name));
}

function upstream(value: unknown, name: string): Upstream {
  const fields = record(value, name);
  return { host: text(fields["host"], `${name}.host`), port: whole(fields["port"], `${name}.port`) };
}

function clusterId(value: unknown): ClusterId {
  const parsed = parseClusterId(text(value, "clusterId"));
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
}

function timelines(value: unknown): readonly TimelineEpoch[] {
  if (!Array.isArray(value)) throw new Error("timelines must be a list");
  return value.map((each) => {
    const fields = record(each, "timelines");
    return {
      timeline: whole(fields["timeline"], "timelines.timeline") as TimelineId,
      epoch: epoch(fields["epoch"]),
    };
  });
}

function epoch(value: unknown): Epoch {
  return whole(value, "epoch") as Epoch;
}

function record(value: unknown, name: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error(`${name} must be an object`);
  return Object.fromEntries(Object.entries(value));
}

const PEM: ReadonlySet<string> = new Set(["caPem", "certificatePem", "privateKeyPem"]);

/** No line breaks or zero bytes, except in PEM: these become lines of configuration files. */
function text(value: unknown, name: string): string {
  if (typeof value !== "string") throw new Error(`${name} must be a string`);
  if (!PEM.has(name) && /[\n\r\0]/.test(value)) throw new Error(`${name} must be one line`);
  return value;
}

function whole(value: unknown, name: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw new Error(`${name} must be a whole number from 0`);
  }
  return value;
}
