import { Elysia } from "elysia";
import {
  describeClusterForMonitoring,
  describeForMonitoring,
  describeHistoryForMonitoring,
} from "./compatible-reads.ts";
import { HEALTH_CHECKS, HEALTH_MEANINGS } from "./health.ts";
import { renderMetrics } from "./metrics.ts";
import type { ApiPorts } from "./ports.ts";
import { describeRoute } from "./route-context.ts";
import { type Sight, tryLook } from "./sight.ts";

interface CompatibleRead {
  readonly summary: string;
  readonly read: (
    sight: Sight | null,
    ports: ApiPorts,
  ) => Readonly<Record<string, unknown>> | readonly unknown[];
}

const COMPATIBLE_READS: Readonly<Record<string, CompatibleRead>> = {
  "/patroni": {
    summary: "This member, as existing monitoring reads it",
    read: (sight, { name, version }) => describeForMonitoring(sight, name, version),
  },
  "/cluster": {
    summary: "All members, as existing monitoring reads them",
    read: describeClusterForMonitoring,
  },
  "/history": {
    summary: "Timelines that were left, as existing monitoring reads them",
    read: describeHistoryForMonitoring,
  },
};

const CHECK_METHODS: readonly string[] = ["GET", "HEAD", "OPTIONS"];

/** Whether it is what load balancers and existing monitoring ask: it takes no token, and changes nothing. */
export function isHealthCheck(method: string, path: string): boolean {
  const isKnown = Object.hasOwn(HEALTH_CHECKS, path) || Object.hasOwn(COMPATIBLE_READS, path);
  return isKnown && CHECK_METHODS.includes(method);
}

/** Health paths for load balancers, reads for existing monitoring, and `/metrics`. */
export function probeRoutes(ports: ApiPorts) {
  const app = new Elysia({ normalize: false });
  for (const [path, check] of Object.entries(HEALTH_CHECKS)) {
    const answer = ({ request }: { request: Request }) => {
      const sight = tryLook(ports);
      const verdict = check(sight, new URL(request.url).searchParams, ports.stalledReason());
      const status = verdict.isOk ? 200 : 503;
      if (request.method !== "GET") return new Response(null, { status });
      const body = { ...describeForMonitoring(sight, ports.name, ports.version), reason: verdict.reason };
      return Response.json(body, { status });
    };
    const detail = describeRoute("none", "health", HEALTH_MEANINGS[path] ?? path);
    const quiet = { detail: { ...detail, hide: true } };
    app.get(path, answer, { detail }).head(path, answer, quiet).options(path, answer, quiet);
  }
  for (const [path, { summary, read }] of Object.entries(COMPATIBLE_READS))
    app.get(path, () => Response.json(read(tryLook(ports), ports)), {
      detail: describeRoute("none", "health", summary),
    });
  return app.get(
    "/metrics",
    () =>
      new Response(renderMetrics(tryLook(ports), ports.name, ports.version), {
        headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
      }),
    { detail: describeRoute("health", "metrics", "Prometheus text") },
  );
}
