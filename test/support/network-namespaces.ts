/**
 * Hosts of their own on this machine: each is a network namespace with one address, a link to every other host and one
 * to this process. What one host sends to another can be cut, each direction alone, while everybody still answers here.
 *
 * A cut swallows packets without a word, as a broken switch does: the sender's neighbour entry names a hardware address
 * that nobody has. No firewall is needed for that, and connections stay open on both ends.
 */

import { existsSync, readdirSync } from "node:fs";
import { assert } from "../../src/base/assert.ts";
import { remember, removed } from "./left-behind.ts";

export interface NamespaceHost {
  readonly name: string;
  readonly address: string;
  /** Put before a command, it runs on this host. */
  readonly enter: readonly string[];
}

const NAMESPACES = "/run/netns";
const NAME_BEGIN = "guacamole-e2e-";
/** Of the process that made it, in either kind of name. */
const NAMESPACE_OWNER = /^guacamole-e2e-(\d+)-/;
const DEVICE_OWNER = /^guac([0-9a-z]+)s\d+h\d+$/;
const NOBODY = "02:67:63:00:00:ff";
/** Set aside for tests of networks (RFC 2544): nothing that matters is there. */
const SUBNETS = "198.18";
const THIS_PROCESS = 254;

let networksMade = 0;

export class NamespaceNetwork {
  readonly hosts: readonly NamespaceHost[];
  readonly #serial: number;
  readonly #subnet: string;
  readonly #unplugged = new Set<NamespaceHost>();

  /** Why there can be none here, in a few words; null if there can. */
  static refusal(): string | null {
    try {
      new NamespaceNetwork(2).remove();
      return null;
    } catch (error) {
      return `no network namespaces here: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  /** @throws {Error} where the system does not allow it; then nothing is left of it. */
  constructor(size: number) {
    assert(size < THIS_PROCESS, "a network of this kind is small");
    removeLeftovers();
    networksMade += 1;
    this.#serial = networksMade;
    this.#subnet = freeSubnet();
    this.hosts = Array.from({ length: size }, (_, index) => {
      const name = `${NAME_BEGIN}${process.pid}-${this.#serial}-${index + 1}`;
      return {
        name,
        address: this.#addressOf(index),
        enter: ["nsenter", `--net=${NAMESPACES}/${name}`],
      };
    });
    remember(this);
    try {
      this.#build();
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** From now on nothing that `from` sends arrives at `to`. The other direction is not touched. */
  cut(from: NamespaceHost, to: NamespaceHost): void {
    this.#setNeighbour(from, to, NOBODY);
  }

  cutBothWays(one: NamespaceHost, other: NamespaceHost): void {
    this.cut(one, other);
    this.cut(other, one);
  }

  /** Nothing arrives at this host or leaves it any more, to and from this process neither: as if its cable were drawn. */
  unplug(host: NamespaceHost): void {
    const others = this.hosts.filter((each) => each !== host);
    const device = this.#device(this.hosts.indexOf(host));
    // As few commands as there are places: it shall happen at one moment.
    batch(host.name, [
      `neighbour replace ${this.#ownAddress} lladdr ${NOBODY} dev tests nud permanent`,
      ...others.map((other) => this.#neighbour(other, NOBODY)),
    ]);
    batch(null, [`neighbour replace ${host.address} lladdr ${NOBODY} dev ${device} nud permanent`]);
    for (const other of others) batch(other.name, [this.#neighbour(host, NOBODY)]);
    this.#unplugged.add(host);
  }

  /** The cable of this host alone is in again: it reaches whoever is not unplugged, and is reached. */
  plug(host: NamespaceHost): void {
    if (!this.#unplugged.delete(host)) return;
    // Forgotten, not named: it is found out again as at the start.
    const device = this.#device(this.hosts.indexOf(host));
    batch(null, [`neighbour delete ${host.address} dev ${device}`]);
    batch(host.name, [`neighbour delete ${this.#ownAddress} dev tests`]);
    for (const other of this.hosts) {
      if (other === host || this.#unplugged.has(other)) continue;
      this.#setNeighbour(host, other, hardwareAddress(this.hosts.indexOf(other)));
      this.#setNeighbour(other, host, hardwareAddress(this.hosts.indexOf(host)));
    }
  }

  /** Everybody reaches everybody again. */
  mend(): void {
    for (const host of [...this.#unplugged]) this.plug(host);
    for (const from of this.hosts) {
      for (const to of this.hosts) {
        if (from !== to) this.#setNeighbour(from, to, hardwareAddress(this.hosts.indexOf(to)));
      }
    }
  }

  /** At once, so that it also works while the process ends. Whoever still runs there keeps running, cut off. */
  remove(): void {
    for (const [index, { name }] of this.hosts.entries()) {
      removeNamespace(name);
      removeDevice(this.#device(index));
    }
    removed(this);
  }

  #build(): void {
    for (const { name } of this.hosts) run(["ip", "netns", "add", name]);
    for (const [index, host] of this.hosts.entries()) {
      const device = this.#device(index);
      run(["ip", "link", "add", device, "type", "veth", "peer", "name", "tests", "netns", host.name]);
      batch(null, [
        `address add ${this.#ownAddress}/32 dev ${device}`,
        `link set ${device} up`,
        `route add ${host.address}/32 dev ${device} src ${this.#ownAddress}`,
      ]);
      for (const [other, { name }] of this.hosts.entries()) {
        if (other <= index) continue;
        batch(null, [
          `link add ${linkTo(other)} netns ${host.name} type veth peer name ${linkTo(index)} netns ${name}`,
        ]);
      }
    }
    for (const [index, host] of this.hosts.entries()) batch(host.name, this.#insideOf(index, host));
    this.mend();
  }

  #insideOf(index: number, host: NamespaceHost): readonly string[] {
    const others = [...this.hosts.keys()].filter((other) => other !== index);
    return [
      "link set lo up",
      `address add ${host.address}/32 dev lo`,
      "link set tests up",
      `route add ${this.#ownAddress}/32 dev tests src ${host.address}`,
      ...others.flatMap((other) => [
        `link set ${linkTo(other)} address ${hardwareAddress(index)}`,
        `link set ${linkTo(other)} up`,
        `route add ${this.#addressOf(other)}/32 dev ${linkTo(other)} src ${host.address}`,
      ]),
    ];
  }

  #setNeighbour(from: NamespaceHost, to: NamespaceHost, hardware: string): void {
    batch(from.name, [this.#neighbour(to, hardware)]);
  }

  /** Where a host sends what is for another one. */
  #neighbour(to: NamespaceHost, hardware: string): string {
    const device = linkTo(this.hosts.indexOf(to));
    return `neighbour replace ${to.address} lladdr ${hardware} dev ${device} nud permanent`;
  }

  get #ownAddress(): string {
    return `${this.#subnet}.${THIS_PROCESS}`;
  }

  #addressOf(index: number): string {
    return `${this.#subnet}.${index + 1}`;
  }

  #device(index: number): string {
    return `guac${process.pid.toString(36)}s${this.#serial}h${index + 1}`;
  }
}

function linkTo(index: number): string {
  return `host${index + 1}`;
}

function hardwareAddress(index: number): string {
  return `02:67:63:00:00:${(index + 1).toString(16).padStart(2, "0")}`;
}

/** What a test run left that was killed: what runs in its namespaces can be nobody else's. */
function removeLeftovers(): void {
  for (const name of existsSync(NAMESPACES) ? readdirSync(NAMESPACES) : []) {
    const owner = NAMESPACE_OWNER.exec(name)?.[1];
    if (owner === undefined || isRunning(Number(owner))) continue;
    for (const pid of run(["ip", "netns", "pids", name]).split(/\s+/).filter(Boolean))
      endProcess(Number(pid));
    removeNamespace(name);
  }
  for (const name of readdirSync("/sys/class/net")) {
    const owner = DEVICE_OWNER.exec(name)?.[1];
    if (owner !== undefined && !isRunning(Number.parseInt(owner, 36))) removeDevice(name);
  }
}

function removeNamespace(name: string): void {
  if (existsSync(`${NAMESPACES}/${name}`)) run(["ip", "netns", "delete", name]);
}

/** It goes with its namespace, but only once the last process there has ended. */
function removeDevice(name: string): void {
  const removed = Bun.spawnSync(["ip", "link", "delete", name], { stdout: "ignore", stderr: "pipe" });
  const complaint = removed.stderr.toString().trim();
  if (!removed.success && !complaint.includes("Cannot find device"))
    throw new Error(`${name} cannot be removed: ${complaint}`);
}

function freeSubnet(): string {
  const taken = run(["ip", "-4", "-oneline", "address", "show"]);
  for (let tried = 0; tried < 256; tried += 1) {
    const subnet = `${SUBNETS}.${(process.pid + networksMade + tried) % 256}`;
    if (!taken.includes(` ${subnet}.`)) return subnet;
  }
  throw new Error(`every network of ${SUBNETS}.0.0/16 is in use`);
}

function isRunning(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    // It ended by itself meanwhile.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** Commands of `ip`, all of them inside one namespace (null: here). */
function batch(namespace: string | null, lines: readonly string[]): void {
  const where = namespace === null ? [] : ["-netns", namespace];
  run(["ip", ...where, "-batch", "-"], `${lines.join("\n")}\n`);
}

function run(command: readonly string[], input = ""): string {
  const done = Bun.spawnSync([...command], { stdin: Buffer.from(input), stdout: "pipe", stderr: "pipe" });
  if (!done.success) throw new Error(`${command.join(" ")}: ${done.stderr.toString().trim()}`);
  return done.stdout.toString();
}
