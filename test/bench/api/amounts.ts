/** What many rules for connections and many declared roles cost: until they are in force, in memory, and while nothing happens. */
import type { HbaDocument } from "../../../src/api/access-documents.ts";
import type { RoleDocument } from "../../../src/api/role-documents.ts";
import type { GuacamoleServers } from "../failover/rivals/guacamole.ts";
import { memoryOf, processorSeconds } from "../resources.ts";

export interface Amount {
  /** What there is much of. */
  readonly what: string;
  /** From the request until it is agreed; null: nothing was asked. */
  readonly agreedMs: number | null;
  /** From the request until it is in force on every member that it concerns. */
  readonly inForceMs: number | null;
  /** The same for one more of them. */
  readonly oneMoreMs: number | null;
  /** Reading all of them. */
  readonly readMs: number | null;
  /** Of the primary's member, the process with all its threads. */
  readonly memoryMb: number;
  /** Of one core, while nothing happens: the primary's member, and the busiest of the others. */
  readonly primaryShare: number;
  readonly otherShare: number;
}

export interface AmountsWanted {
  readonly rules: number;
  readonly roles: number;
  readonly steadyMs: number;
  readonly say: (line: string) => void;
}

const DEADLINE_MS = 300_000;
const POLL_MS = 100;
const ROLES_AT_ONCE = 2_500;
/** 32 bytes in base64: nobody's key. */
const KEY = `${"A".repeat(43)}=`;

export async function measureAmounts(
  ours: GuacamoleServers,
  wanted: AmountsWanted,
): Promise<readonly Amount[]> {
  const { rules, roles, say } = wanted;
  const client = await clientOf(ours);
  say("bench: nothing of it, for comparison");
  const nothing = { what: "neither", agreedMs: null, inForceMs: null, oneMoreMs: null, readMs: null };
  const amounts: Amount[] = [{ ...nothing, ...(await costs(ours, wanted)) }];

  say(`bench: ${rules} rules`);
  const many = await timed(() => client("PUT", "/v1/access/hba", { rules: ruleList(rules - 1) }));
  const manyInForce = await timed(() => until("the rules are in force", () => areInForce(client)));
  const more = { ...ruleOf(rules), name: "one-more", at: 1 };
  const one = await timed(async () => {
    await client("POST", "/v1/access/hba/rules", more);
    await until("one more is in force", () => areInForce(client));
  });
  const read = await timed(() => client("GET", "/v1/access/hba"));
  amounts.push({
    what: `${rules.toLocaleString("en")} rules for connections`,
    agreedMs: many,
    inForceMs: many + manyInForce,
    oneMoreMs: one,
    readMs: read,
    ...(await costs(ours, wanted)),
  });
  await client("DELETE", "/v1/access/hba");
  await until("the rules are gone", () => areInForce(client));

  say(`bench: ${roles} roles`);
  const manyRoles = await timed(async () => {
    for (const wishes of roleWishes(roles)) await client("PATCH", "/v1/access/roles", { roles: wishes });
  });
  const made = await timed(() => until("the roles are made", () => isMade(client, roleName(0))));
  const oneRole = await timed(async () => {
    await client("PUT", `/v1/access/roles/${roleName(roles)}`, roleWish());
    await until("one more is made", () => isMade(client, roleName(roles)));
  });
  const readRoles = await timed(() => client("GET", "/v1/access/roles"));
  amounts.push({
    what: `${roles.toLocaleString("en")} declared roles with passwords`,
    agreedMs: manyRoles,
    inForceMs: manyRoles + made,
    oneMoreMs: oneRole,
    readMs: readRoles,
    ...(await costs(ours, wanted)),
  });
  return amounts;
}

type Client = (method: string, path: string, body?: unknown) => Promise<unknown>;

/** Asks the primary's member, with a token for everything. */
async function clientOf(ours: GuacamoleServers): Promise<Client> {
  const { primary } = await ours.leaders();
  const { origin, token, caPem } = ours.access(primary);
  return async (method, path, body) => {
    const answer = await fetch(`${origin}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      tls: { ca: caPem },
      ...(method === "GET" ? {} : { body: JSON.stringify(body ?? {}) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${text.slice(0, 400)}`);
    return JSON.parse(text);
  };
}

function ruleList(count: number) {
  return Array.from({ length: count }, (_, index) => ruleOf(index));
}

function ruleOf(index: number) {
  return {
    type: "hostssl",
    databases: [`db${index % 50}`],
    users: [`app${index}`],
    address: `10.${(index >> 8) & 255}.${index & 255}.0/24`,
    method: "scram-sha-256",
    comment: `team ${index % 20}`,
  };
}

const GROUP = "many_members";
/** PostgreSQL takes its time to check each. */
const VERIFIER = `SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$${KEY}:${KEY}`;

function roleWish() {
  return { login: true, password: VERIFIER, memberOf: { [GROUP]: "member" } };
}

/** As many as fit into a request. */
function roleWishes(count: number): readonly Readonly<Record<string, object>>[] {
  const wishes = Array.from({ length: count - 1 }, (_, index) => [roleName(index), roleWish()] as const);
  return Array.from({ length: Math.ceil(wishes.length / ROLES_AT_ONCE) }, (_, at) => ({
    ...(at === 0 ? { [GROUP]: { login: false } } : {}),
    ...Object.fromEntries(wishes.slice(at * ROLES_AT_ONCE, (at + 1) * ROLES_AT_ONCE)),
  }));
}

function roleName(index: number): string {
  return `many_${String(index).padStart(5, "0")}`;
}

async function areInForce(client: Client): Promise<boolean> {
  const { members } = (await client("GET", "/v1/access/hba")) as HbaDocument;
  const refused = members.find(({ state }) => state === "refused");
  if (refused !== undefined) throw new Error(`${refused.name}: ${refused.problem}`);
  return members.every(({ state }) => state === "in-force");
}

async function isMade(client: Client, name: string): Promise<boolean> {
  const { state, reason } = (await client("GET", `/v1/access/roles/${name}`)) as RoleDocument;
  if (state === "impossible") throw new Error(`${name}: ${reason}`);
  return state === "in-force";
}

/** What the members take while nothing happens. */
async function costs(
  ours: GuacamoleServers,
  { steadyMs }: AmountsWanted,
): Promise<Pick<Amount, "memoryMb" | "primaryShare" | "otherShare">> {
  const { primary } = await ours.leaders();
  const pids = ours.servers.map(({ name }, index) => ({ name, pid: ours.agents(index)[0] ?? 0 }));
  // What was done a moment before is over.
  await Bun.sleep(2_000);
  const before = pids.map(({ pid }) => processorSeconds(pid));
  await Bun.sleep(steadyMs);
  const shares = pids.map(({ name, pid }, index) => ({
    name,
    share: ((processorSeconds(pid) - (before[index] ?? 0)) * 1_000) / steadyMs,
  }));
  const own = pids.find(({ name }) => name === primary)?.pid ?? 0;
  return {
    memoryMb: memoryOf(own).rssMb,
    primaryShare: shares.find(({ name }) => name === primary)?.share ?? 0,
    otherShare: Math.max(...shares.filter(({ name }) => name !== primary).map(({ share }) => share)),
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const beganMs = performance.now();
  await work();
  return performance.now() - beganMs;
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + DEADLINE_MS;
  while (!(await isSo())) {
    if (performance.now() > untilMs) throw new Error(`never came: ${what}`);
    await Bun.sleep(POLL_MS);
  }
}
