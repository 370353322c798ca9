import { Elysia } from "elysia";
import {
  HbaExplainRequestSchema,
  HbaExplanationSchema,
  HbaRequestSchema,
  HbaSchema,
} from "./access-documents.ts";
import { changeAccess, dryRunQuery } from "./change-access.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { describeHba } from "./describe-hba.ts";
import { explainHba } from "./explain-hba.ts";
import { hbaRuleRoutes } from "./hba-rule-routes.ts";
import type { ApiPorts } from "./ports.ts";
import { callerOf, describeRoute, TAKES_TEXT_KEY } from "./route-context.ts";
import { look } from "./sight.ts";
import { etagOf, specChangeHeaders } from "./spec-version.ts";
import { wishedAccess, wishedRules } from "./wished-rules.ts";

/** Who may connect to PostgreSQL, besides members. */
export function accessRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false }).use(allRules(ports)).use(hbaRuleRoutes(ports));
}

function allRules(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/access/hba",
      async ({ query, request, set }) => {
        const sight = await lookWith(ports, query);
        set.headers["etag"] = etagOf(sight.state);
        return describeHba(sight, callerOf(request));
      },
      {
        query: consistencyQuery,
        response: { 200: HbaSchema },
        detail: describeRoute(
          "viewer",
          "access",
          "The rules for connections (pg_hba.conf), and where they are in force",
          "Values that are secrets are shown as *** to those who may not change them.",
        ),
      },
    )
    .put(
      "/v1/access/hba",
      async ({ body, query, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: "hba" };
        const changed = await changeAccess(ports, asked, query.dryRun === "true", (state) =>
          wishedAccess(state, body),
        );
        set.headers["etag"] = changed.etag;
        return changed.hba;
      },
      {
        body: HbaRequestSchema,
        query: dryRunQuery,
        headers: specChangeHeaders,
        response: { 200: HbaSchema },
        detail: {
          ...describeRoute(
            "access",
            "access",
            "Set the rules for connections, all of them, in order",
            "They replace what lets applications in; guacamole's own rules stay before them. The PostgreSQL of each member that answers reads them first: one that does not take them, and nothing is changed anywhere. The body may also be a pg_hba.conf, as text/plain.",
          ),
          [TAKES_TEXT_KEY]: true,
        },
      },
    )
    .delete(
      "/v1/access/hba",
      async ({ request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: "hba-default" };
        const changed = await changeAccess(ports, asked, false, () => null);
        set.headers["etag"] = changed.etag;
        return changed.hba;
      },
      {
        headers: specChangeHeaders,
        response: { 200: HbaSchema },
        detail: describeRoute(
          "access",
          "access",
          "Go back to the rules that apply where nobody says anything",
          "Applications by password from everywhere, nobody else replicates; maps are gone too.",
        ),
      },
    )
    .post(
      "/v1/access/hba/explain",
      ({ body }) => {
        const sight = look(ports);
        const wished = body.rules === undefined && body.text === undefined ? null : wishedRules(body);
        return explainHba(sight, body, wished);
      },
      {
        body: HbaExplainRequestSchema,
        response: { 200: HbaExplanationSchema },
        detail: describeRoute(
          "viewer",
          "access",
          "Which rule a connection would meet",
          "As PostgreSQL decides it: the first rule that fits, and none means no. Also for rules that are not agreed yet.",
        ),
      },
    );
}
