/** What is allowed, and yet hardly meant: rules that are never met, and methods that give something away. */
import { containsNetwork, parseIpNetwork } from "../base/ip-network.ts";
import { OWN_RULES } from "./hba-own.ts";
import { HBA_ROLES, type HbaRule, type HbaType } from "./hba-rule.ts";
import { tokenOf } from "./hba-text.ts";

export interface HbaWarning {
  /** Of the rule, from 1. */
  readonly rule: number;
  readonly code: "duplicate" | "shadowed" | "trust" | "password-in-clear" | "regular-expression";
  readonly message: string;
}

/** A list that is shown again and again is looked through once. */
const known = new WeakMap<
  readonly HbaRule[],
  { readonly oldestMajor: number | null; readonly warnings: readonly HbaWarning[] }
>();

/** @param oldestMajor of the servers that the rules are for; null: not known. */
export function lintRules(rules: readonly HbaRule[], oldestMajor: number | null): readonly HbaWarning[] {
  const before = known.get(rules);
  if (before?.oldestMajor === oldestMajor) return before.warnings;
  const warnings = lint(rules, oldestMajor);
  known.set(rules, { oldestMajor, warnings });
  return warnings;
}

function lint(rules: readonly HbaRule[], oldestMajor: number | null): readonly HbaWarning[] {
  const byUser = indexByUser(rules);
  return rules.flatMap((rule, index) => {
    const never = whyNeverMet(rules, index, byUser);
    return [
      ...(never === null ? [] : [{ rule: index + 1, ...never }]),
      ...adviceFor(rule, oldestMajor).map((advice) => ({ rule: index + 1, ...advice })),
    ];
  });
}

type Advice = Omit<HbaWarning, "rule">;

/** By each name that stands in `users`, the indices of its rules: of thousands, only a few may cover another one. */
function indexByUser(rules: readonly HbaRule[]): ReadonlyMap<string, readonly number[]> {
  const byUser = new Map<string, number[]>();
  for (const [index, { users }] of rules.entries())
    for (const user of users) {
      const others = byUser.get(user);
      if (others === undefined) byUser.set(user, [index]);
      else others.push(index);
    }
  return byUser;
}

/** The first rule before `index` that covers the one there; null: none does. */
function firstCovering(
  rules: readonly HbaRule[],
  index: number,
  byUser: ReadonlyMap<string, readonly number[]>,
): number | null {
  const rule = rules[index];
  const [user] = rule?.users ?? [];
  if (rule === undefined || user === undefined) return null;
  const firsts = widerUsers(user).flatMap((each) => {
    const found = (byUser.get(each) ?? []).find((at) => {
      const earlier = rules[at];
      return at >= index || (earlier !== undefined && covers(earlier, rule));
    });
    return found === undefined || found >= index ? [] : [found];
  });
  return firsts.length === 0 ? null : Math.min(...firsts);
}

function whyNeverMet(
  rules: readonly HbaRule[],
  index: number,
  byUser: ReadonlyMap<string, readonly number[]>,
): Advice | null {
  const rule = rules[index];
  if (rule === undefined) return null;
  const own = OWN_RULES.findIndex((each) => covers(each, rule));
  if (own !== -1) {
    const message = `it is never met: guacamole's own rule ${own + 1} comes first and fits whatever it fits`;
    return { code: "shadowed", message };
  }
  const earlier = firstCovering(rules, index, byUser);
  const before = earlier === null ? undefined : rules[earlier];
  if (earlier === null || before === undefined) return null;
  const isSame = covers(rule, before);
  return isSame
    ? { code: "duplicate", message: `it is never met: rule ${earlier + 1} is for the same connections` }
    : { code: "shadowed", message: `it is never met: rule ${earlier + 1} fits whatever it fits` };
}

function adviceFor(rule: HbaRule, oldestMajor: number | null): readonly Advice[] {
  const names = [...rule.databases, ...rule.users].filter((name) => tokenOf(name).text.startsWith("/"));
  const mayBeClear = rule.type !== "hostssl" && rule.type !== "hostgssenc" && rule.type !== "local";
  return [
    ...(rule.method === "trust" && rule.type !== "local"
      ? [
          {
            code: "trust" as const,
            message: "'trust' asks for no proof: whoever reaches the port may say any name",
          },
        ]
      : []),
    ...(rule.method === "password" && mayBeClear
      ? [
          {
            code: "password-in-clear" as const,
            message: "'password' sends the password as it is, and this rule asks for no TLS",
          },
        ]
      : []),
    ...(names.length > 0 && oldestMajor !== null && oldestMajor < 16
      ? [
          {
            code: "regular-expression" as const,
            message: `PostgreSQL ${oldestMajor} takes ${names.join(", ")} for a name: regular expressions here came with 16`,
          },
        ]
      : []),
  ];
}

/** Every connection that meets `inner` would have met `outer`, were it asked first. Rather no than a wrong yes. */
export function covers(outer: HbaRule, inner: HbaRule): boolean {
  return (
    coversType(outer.type, inner.type) &&
    inner.databases.every((name) => outer.databases.some((each) => coversDatabase(each, name))) &&
    inner.users.every((name) => outer.users.some((each) => coversUser(each, name))) &&
    (inner.type === "local" || coversAddress(outer, inner)) &&
    coversList(outer.roles, inner.roles ?? HBA_ROLES) &&
    (outer.members === undefined || (inner.members !== undefined && coversList(outer.members, inner.members)))
  );
}

const WIDER: Readonly<Record<HbaType, readonly HbaType[]>> = {
  local: [],
  host: [],
  hostssl: ["host", "hostnogssenc"],
  hostnossl: ["host"],
  hostgssenc: ["host", "hostnossl"],
  hostnogssenc: ["host"],
};

function coversType(outer: HbaType, inner: HbaType): boolean {
  return outer === inner || WIDER[inner].includes(outer);
}

function coversAddress(outerRule: HbaRule, innerRule: HbaRule): boolean {
  const { address: outer = "" } = outerRule;
  const { address: inner = "" } = innerRule;
  if (outer === "all" || outer === inner) return true;
  if (outer === "samenet") return inner === "samehost";
  const [outerNetwork, innerNetwork] = [networkOf(outerRule), networkOf(innerRule)];
  if (outerNetwork.ok && innerNetwork.ok) return containsNetwork(outerNetwork.value, innerNetwork.value);
  return outer.startsWith(".") && !innerNetwork.ok && inner.endsWith(outer);
}

const networks = new WeakMap<HbaRule, ReturnType<typeof parseIpNetwork>>();

/** Of a rule's address. It is compared with thousands of others, and read once. */
function networkOf(rule: HbaRule): ReturnType<typeof parseIpNetwork> {
  const known = networks.get(rule);
  if (known !== undefined) return known;
  const network = parseIpNetwork(rule.address ?? "");
  networks.set(rule, network);
  return network;
}

function coversDatabase(outer: string, inner: string): boolean {
  return outer === inner || (outer === "all" && inner !== "replication");
}

function coversUser(outer: string, inner: string): boolean {
  return widerUsers(inner).includes(outer);
}

/** What may stand in a rule that fits whenever this name does. */
function widerUsers(name: string): readonly string[] {
  return [name, "all", `+${name}`];
}

function coversList(outer: readonly string[] | undefined, inner: readonly string[]): boolean {
  return outer === undefined || inner.every((each) => outer.includes(each));
}
