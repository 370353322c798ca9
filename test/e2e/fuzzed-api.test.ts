/**
 * Every endpoint of a real member, as its OpenAPI document describes them, is asked right things, nearly right ones and
 * nonsense: no answer is a fault of guacamole itself, none hangs, and each refusal is a problem document. One seed gives the
 * same requests again (FUZZ_SEED).
 */

import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import type { ProblemDocument } from "../../src/api/problem.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { describeLife, makeCluster, socketOf } from "../support/cluster-life.ts";
import { type GeneratedRequest, type OpenApi, requestsOf } from "../support/openapi-requests.ts";

const SEED = Number(process.env["FUZZ_SEED"] ?? "1");
const REQUESTS_PER_OPERATION = Number(process.env["FUZZ_COUNT"] ?? "20");
/** Longer than any write may take before it is honestly unknown. */
const HANGS_MS = 20_000;
/** What the group cannot do now is no fault: a lone member that was asked to end its own reign, for instance. */
const HONEST: ReadonlySet<string> = new Set(["no-leader", "unknown-outcome", "member-unreachable"]);

describeLife(
  "an API that is asked anything",
  () => makeCluster(1),
  (part) => {
    part("never fails by itself, never hangs, and refuses in problem documents", async (life) => {
      await life.form("fuzz");
      const member = life.cluster.member("m1");
      await life.cluster.initialize();
      const pid = member.process?.pid;
      const document = (await (await send(member, life.token, plain("/openapi.json"))).json()) as OpenApi;
      const operations = Object.entries(document.paths).flatMap(([path, item]) =>
        Object.keys(item).map((method) => [path, method] as const),
      );
      expect(operations.length).toBeGreaterThan(40);
      const names = ["m1", "m2", "1", "op-1", "local", "initialize", "constructor", "__proto__", "gcm_a_b"];
      const faults: string[] = [];
      const seen = new Map<number, number>();
      for (const [at, [path, method]] of operations.entries()) {
        const requests = fc.sample(requestsOf(document, path, method, names), {
          numRuns: REQUESTS_PER_OPERATION,
          seed: SEED + at,
        });
        for (const request of requests) {
          const { status, fault } = await judge(member, life.token, request);
          seen.set(status, (seen.get(status) ?? 0) + 1);
          if (fault !== null) faults.push(fault);
        }
      }
      expect(faults).toEqual([]);
      // Were all refused, or none, the requests would be worth little.
      expect(seen.get(200) ?? 0).toBeGreaterThan(operations.length);
      expect(seen.get(422) ?? 0).toBeGreaterThan(operations.length);
      expect(member.process?.pid).toBe(pid ?? -1);
      expect(member.process?.exitCode).toBeNull();
      expect((await send(member, life.token, plain("/liveness"))).status).toBe(200);
      expect(faultsLogged(member)).toEqual([]);
    });

    part("answers paths and methods that nobody described", async (life) => {
      const member = life.cluster.member("m1");
      const paths = [
        "/v1//cluster",
        "/v1/%00",
        "/v1/members/%2e%2e",
        `/${"a".repeat(4000)}`,
        "/v1/cluster/",
        "/v1/members/%zz",
        "/v1/members/%ff",
        "/v1/operations/%E0%A4%A",
        "/v1/explain?lost=%ff%zz&lost=m1&zone",
        "/v1/audit?after=%zz",
        "/v1/events?after=1e99",
      ];
      for (const path of paths) {
        for (const method of ["GET", "PUT", "PATCH", "PROPFIND"]) {
          const { fault, status } = await judge(member, life.token, { ...plain(path), method });
          expect([path, method, fault]).toEqual([path, method, null]);
          expect(status).toBeGreaterThanOrEqual(400);
        }
      }
      const headers = { "x-large": "h".repeat(64 * 1024) };
      const large = await send(member, life.token, { ...plain("/v1/cluster"), headers }).catch(() => null);
      // Turned away by the runtime, before anything of ours is asked.
      if (large !== null) expect(large.status).toBe(431);
      expect(faultsLogged(member)).toEqual([]);
    });
  },
);

function plain(path: string): GeneratedRequest {
  return { method: "GET", path, headers: {}, body: null };
}

/** Over the network by token; what is asked only there, over the Unix socket. */
function send(member: LocalMember, token: string, request: GeneratedRequest): Promise<Response> {
  const { method, path, headers, body } = request;
  const common = {
    method,
    headers: { ...headers, authorization: `Bearer ${token}` },
    ...(body === null ? {} : { body }),
    redirect: "error" as const,
    signal: AbortSignal.timeout(HANGS_MS),
  };
  const isLocal = path === "/v1/form" || path === "/v1/join";
  if (isLocal) return fetch(`http://localhost${path}`, { ...common, unix: socketOf(member) });
  const ca = readFileSync(join(member.directory, "member", "tls", "ca.crt"), "utf8");
  return fetch(`https://127.0.0.1:${member.apiPort}${path}`, { ...common, tls: { ca } });
}

async function judge(
  member: LocalMember,
  token: string,
  request: GeneratedRequest,
): Promise<{ readonly status: number; readonly fault: string | null }> {
  const told = JSON.stringify(request);
  let answer: Response;
  let text: string;
  try {
    answer = await send(member, token, request);
    const isStream = answer.headers.get("content-type") === "text/event-stream";
    if (isStream) await answer.body?.cancel();
    text = isStream ? "" : await answer.text();
  } catch (error) {
    return { status: 0, fault: `${told}: ${String(error)}` };
  }
  const { status } = answer;
  const isHealth = !request.path.startsWith("/v1/") && status === 503;
  if (status < 400 || isHealth) return { status, fault: null };
  if (answer.headers.get("content-type") !== "application/problem+json")
    return { status, fault: `${told}: ${status} is no problem document: ${text.slice(0, 200)}` };
  const { code, detail } = JSON.parse(text) as ProblemDocument;
  const isFault = status >= 500 && !HONEST.has(code);
  return { status, fault: isFault ? `${told}: ${status} ${code} ${detail}` : null };
}

/** What the member logged of faults of its own. */
function faultsLogged({ logPath }: LocalMember): readonly string[] {
  return readFileSync(logPath, "utf8")
    .split("\n")
    .filter((line) => line.includes('"api.request-failed"') || line.includes('"api.answer-invalid"'));
}
