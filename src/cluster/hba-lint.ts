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

/** @param oldestMajor of the servers that the rules are for; null: not known. */
export function lintRules(rules: readonly HbaRule[], oldestMajor: number | null): readonly HbaWarning[] {
  return rules.flatMap((rule, index) => {
    const never = whyNeverMet(rules, index);
    return [
      ...(never === null ? [] : [{ rule: index + 1, ...never }]),
      ...adviceFor(rule, oldestMajor).map((advice) => ({ rule: index + 1, ...advice })),
    ];
  });
}

type Advice = Omit<HbaWarning, "rule">;

function whyNeverMet(rules: readonly HbaRule[], index: number): Advice | null {
  const rule = rules[index];
  if (rule === undefined) return null;
  const own = OWN_RULES.findIndex((each) => covers(each, rule));
  if (own !== -1) {
    const message = `it is never met: guacamole's own rule ${own + 1} comes first and fits whatever it fits`;
    return { code: "shadowed", message };
  }
  const earlier = rules.slice(0, index).findIndex((each) => covers(each, rule));
  const before = rules[earlier];
  if (before === undefined) return null;
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
    (inner.type === "local" || coversAddress(outer.address ?? "", inner.address ?? "")) &&
    inner.databases.every((name) => outer.databases.some((each) => coversDatabase(each, name))) &&
    inner.users.every((name) => outer.users.some((each) => coversUser(each, name))) &&
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

function coversAddress(outer: string, inner: string): boolean {
  if (outer === "all" || outer === inner) return true;
  if (outer === "samenet") return inner === "samehost";
  const [outerNetwork, innerNetwork] = [parseIpNetwork(outer), parseIpNetwork(inner)];
  if (outerNetwork.ok && innerNetwork.ok) return containsNetwork(outerNetwork.value, innerNetwork.value);
  return outer.startsWith(".") && !innerNetwork.ok && inner.endsWith(outer);
}

function coversDatabase(outer: string, inner: string): boolean {
  return outer === inner || (outer === "all" && inner !== "replication");
}

function coversUser(outer: string, inner: string): boolean {
  return outer === inner || outer === "all" || outer === `+${inner}`;
}

function coversList(outer: readonly string[] | undefined, inner: readonly string[]): boolean {
  return outer === undefined || inner.every((each) => outer.includes(each));
}
