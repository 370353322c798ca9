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
import { tryLook } from "./sight.ts";

const COMPATIBLE_READS: readonly string[] = ["/patroni", "/cluster", "/history"];

/** Whether it is what load balancers and existing monitoring ask for: it takes no token. */
export function isHealthPath(path: string): boolean {
  return Object.hasOwn(HEALTH_CHECKS, path) || COMPATIBLE_READS.includes(path);
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
  return app
    .get("/patroni", () => Response.json(describeForMonitoring(tryLook(ports), ports.name, ports.version)), {
      detail: describeRoute("none", "health", "This member, as existing monitoring reads it"),
    })
    .get("/cluster", () => Response.json(describeClusterForMonitoring(tryLook(ports))), {
      detail: describeRoute("none", "health", "All members, as existing monitoring reads them"),
    })
    .get("/history", () => Response.json(describeHistoryForMonitoring(tryLook(ports))), {
      detail: describeRoute("none", "health", "Timelines that were left, as existing monitoring reads them"),
    })
    .get(
      "/metrics",
      () =>
        new Response(renderMetrics(tryLook(ports), ports.name, ports.version), {
          headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
        }),
      { detail: describeRoute("health", "metrics", "Prometheus text") },
    );
}
