/** Messages for syslog daemons, as text of ASCII alone: of the protocol (RFC 5424), and of a host to its own daemon. */

/** RFC 5424, table 2: those that are used here. */
export type SyslogSeverity = "error" | "warning" | "notice";

export interface SyslogMessage {
  /** As the protocol numbers it: 0 to 23. */
  readonly facility: number;
  readonly severity: SyslogSeverity;
  readonly atMs: number;
  /** Empty: not known. */
  readonly hostName: string;
  readonly appName: string;
  readonly processId: number;
  /** What kind of message it is, for who sorts them. */
  readonly messageId: string;
  /** Release of this program. */
  readonly version: string;
  /** Counts what this process sends, so that a reader sees a gap. */
  readonly sequence: number;
  /** Becomes JSON. */
  readonly content: unknown;
}

const SEVERITIES: Readonly<Record<SyslogSeverity, number>> = { error: 3, warning: 4, notice: 5 };
/** `sequenceId` begins anew after this one. */
const SEQUENCE_MAX = 2_147_483_647;

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/**
 * As a host's own daemon reads it from its socket, in the form of `syslog(3)` (RFC 3164, section 4.1, without a host): neither
 * rsyslog nor journald takes the protocol's own form there. One line, without a break at its end.
 */
export function formatLocalSyslog(message: SyslogMessage): string {
  const { facility, severity, atMs, appName, processId, messageId } = message;
  const at = new Date(atMs);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = String(at.getDate()).padStart(2, " ");
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const tag = word(appName.replace(/[:[\]]/g, ""), 32);
  const priority = facility * 8 + SEVERITIES[severity];
  const text = `${word(messageId, 32)} ${asciiJson(message.content)}`;
  return `<${priority}>${MONTHS[at.getMonth()]} ${day} ${time} ${tag}[${processId}]: ${text}`;
}

/** As the protocol has it. One line, without a break at its end. */
export function formatSyslog(message: SyslogMessage): string {
  const { facility, severity, atMs, hostName, appName, processId, messageId } = message;
  const priority = facility * 8 + SEVERITIES[severity];
  const header = [
    `<${priority}>1`,
    new Date(atMs).toISOString(),
    word(hostName, 255),
    word(appName, 48),
    word(String(processId), 128),
    word(messageId, 32),
  ];
  const sequence = ((message.sequence - 1) % SEQUENCE_MAX) + 1;
  const meta = `[meta sequenceId="${sequence}"]`;
  const origin = `[origin software="${quoted(appName)}" swVersion="${quoted(message.version).slice(0, 32)}"]`;
  return `${header.join(" ")} ${meta}${origin} ${asciiJson(message.content)}`;
}

/** Printable ASCII without blanks; `-`, which stands for nothing, where nothing of it is left. */
function word(text: string, lengthMax: number): string {
  const printable = text.replace(/[^\x21-\x7e]/g, "").slice(0, lengthMax);
  return printable === "" ? "-" : printable;
}

function quoted(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "").replace(/["\\\]]/g, "");
}

/** Without a mark of its encoding nothing but ASCII is understood by everybody. */
function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** As one message of a stream: with its length before it (RFC 6587, section 3.4.1). */
export function framed(message: string): string {
  return `${message.length} ${message}`;
}

/** An entry that tells values, and how many it does not. */
interface WithValues {
  readonly values: readonly unknown[];
  readonly untold: number;
}

/** The same entry with as many of its values as fit into so many characters, as JSON of ASCII alone. */
export function withinLength<Entry extends WithValues>(entry: Entry, lengthMax: number): Entry {
  let fitting = entry;
  while (fitting.values.length > 0 && asciiJson(fitting).length > lengthMax)
    fitting = { ...fitting, values: fitting.values.slice(0, -1), untold: fitting.untold + 1 };
  return fitting;
}
