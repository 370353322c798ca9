import { Elysia, t } from "elysia";
import type { Clock } from "../base/clock.ts";
import type { Consensus } from "../cluster/consensus.ts";
import { ConsistencySchema, consistencyQuery, lookWith } from "./consistency.ts";
import { describeEvent, describeOperation } from "./describe.ts";
import { type EventPageDocument, EventPageSchema, OperationSchema } from "./documents.ts";
import { isForEverybody, readWanted } from "./event-pages.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem, notReadyProblem } from "./problem.ts";
import { describeRoute } from "./route-context.ts";

const EVENTS_PER_PAGE_MAX = 1000;
/** A comment line keeps proxies from closing a quiet stream. */
const KEEP_ALIVE_MS = 15_000;

export function historyRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/operations",
      async ({ query }) => {
        const sight = await lookWith(ports, query);
        return sight.state.operations.toReversed().map((operation) => describeOperation(sight, operation));
      },
      {
        query: consistencyQuery,
        response: { 200: t.Array(OperationSchema) },
        detail: describeRoute("viewer", "operations", "Long work, newest first"),
      },
    )
    .get(
      "/v1/operations/:id",
      async ({ params, query }) => {
        const sight = await lookWith(ports, query);
        const operation = sight.state.operations.find(({ id }) => id === params.id);
        if (operation === undefined) {
          throw new ApiProblem({
            status: 404,
            code: "operation-unknown",
            detail: "No operation has this id, or it is too old to be remembered.",
            hint: "GET /v1/operations lists those that are.",
          });
        }
        return describeOperation(sight, operation);
      },
      {
        params: t.Object({ id: t.String() }),
        query: consistencyQuery,
        response: { 200: OperationSchema },
        detail: describeRoute("viewer", "operations", "One operation: phase, progress and log"),
      },
    )
    .get(
      "/v1/events",
      async ({ query, request, headers }) => {
        const consensus = ports.consensus();
        if (consensus === null) throw notReadyProblem(ports.memberId() !== null);
        const lastSeen = headers["last-event-id"];
        const after = lastSeen === undefined ? (query.after ?? 0) : Number(lastSeen);
        if (!Number.isSafeInteger(after) || after < 0) {
          throw new ApiProblem({
            status: 422,
            code: "invalid-request",
            detail: "The header Last-Event-ID must be the id of an event, which is a whole number.",
          });
        }
        if (query.consistency === "linearizable") await lookWith(ports, query);
        if ((request.headers.get("accept") ?? "").includes("text/event-stream")) {
          return new Response(streamEvents(consensus, ports.clock, after), {
            headers: { "content-type": "text/event-stream", "x-accel-buffering": "no" },
          });
        }
        const { events, next } = await readWanted(consensus, after, query.limit ?? 100, isForEverybody);
        const page: EventPageDocument = { events: events.map(describeEvent), next };
        return Response.json(page);
      },
      {
        query: t.Object({
          after: t.Optional(t.Integer({ minimum: 0, default: 0, description: "Events with a greater id" })),
          limit: t.Optional(t.Integer({ minimum: 1, maximum: EVENTS_PER_PAGE_MAX, default: 100 })),
          consistency: ConsistencySchema,
        }),
        headers: t.Object({
          "last-event-id": t.Optional(t.String({ description: "Resume a stream after this event" })),
        }),
        response: { 200: EventPageSchema },
        detail: describeRoute(
          "viewer",
          "operations",
          "What happened, oldest first",
          "With `Accept: text/event-stream`: the same as Server-Sent Events, which go on as things happen.",
        ),
      },
    );
}

/** Events after `after` as Server-Sent Events, for as long as the reader listens and as fast as it reads. */
export function streamEvents(consensus: Consensus, clock: Clock, after: number): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const stopped = new AbortController();
  let last = after;
  let isGreeted = false;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (!isGreeted) {
        isGreeted = true;
        controller.enqueue(encoder.encode("retry: 1000\n\n"));
        return;
      }
      while (!stopped.signal.aborted) {
        // Before reading: what happens while we read must wake us too.
        const change = awaitApplied(consensus, stopped.signal);
        const events = await consensus.readEvents(last, EVENTS_PER_PAGE_MAX);
        const newest = events.at(-1);
        if (newest !== undefined) {
          change.cancel();
          last = newest.id;
          const shown = events.filter(isForEverybody);
          if (shown.length === 0) continue;
          if (!stopped.signal.aborted)
            controller.enqueue(encoder.encode(shown.map(describeEvent).map(formatEvent).join("")));
          return;
        }
        const woke = await raceKeepAlive(change.promise, clock, stopped.signal);
        change.cancel();
        if (woke === "keep-alive" && !stopped.signal.aborted) {
          controller.enqueue(encoder.encode(": keep-alive\n\n"));
          return;
        }
      }
    },
    cancel() {
      stopped.abort();
    },
  });
}

function formatEvent(event: ReturnType<typeof describeEvent>): string {
  return `id: ${event.id}\nevent: ${event.name}\ndata: ${JSON.stringify(event)}\n\n`;
}

/** Resolves once more was applied than now (events come from applied commands only), or the stream stopped. */
function awaitApplied(
  consensus: Consensus,
  signal: AbortSignal,
): { promise: Promise<void>; cancel: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const appliedBefore = consensus.appliedIndex;
  const unsubscribe = consensus.onChange(() => {
    if (consensus.appliedIndex !== appliedBefore) resolve();
  });
  const onAbort = () => resolve();
  signal.addEventListener("abort", onAbort);
  return {
    promise,
    cancel: () => {
      unsubscribe();
      signal.removeEventListener("abort", onAbort);
      resolve();
    },
  };
}

async function raceKeepAlive(
  change: Promise<void>,
  clock: Clock,
  signal: AbortSignal,
): Promise<"change" | "keep-alive"> {
  const timer = new AbortController();
  const sleep = clock.sleep(KEEP_ALIVE_MS, AbortSignal.any([timer.signal, signal])).then(
    () => "keep-alive" as const,
    // Rejects only because we aborted it.
    () => "change" as const,
  );
  const woke = await Promise.race([change.then(() => "change" as const), sleep]);
  timer.abort();
  return woke;
}
