import { Elysia, t } from "elysia";
import { type RoleWish, wishOfRole } from "../cluster/declared.ts";
import type { HbaRule } from "../cluster/hba-rule.ts";
import {
  endingAt,
  loginName,
  OVERLAP_SECONDS_DEFAULT,
  replacedNewest,
  rotated,
} from "../cluster/login-pair.ts";
import { type Caller, mayDo } from "./access.ts";
import type { Asked } from "./change-wanted.ts";
import { declare } from "./declare.ts";
import { toInstant } from "./describe.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { OverlapRequestSchema, RoleSchema, RotatedSchema, RotationRequestSchema } from "./role-documents.ts";
import { describeOne, notDeclared, requireRole, verifierOf } from "./role-routes.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { look, type Sight } from "./sight.ts";
import { etagOf, specChangeHeaders } from "./spec-version.ts";

const PATH = "/v1/access/roles/:name/rotation";
const roleName = t.Object({ name: t.String({ minLength: 1, maxLength: 200 }) });

/** Passwords that overlap: two logins of a role take turns (`roadmap/0013-login-pairs.md`). */
export function rotationRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .post(
      PATH,
      async ({ params: { name }, body, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: `rotate ${name}` };
        await changeRole(ports, asked, name, async (sight, wish) => {
          const { logins, rotation } = wish;
          const verifier = await verifierOf(ports, sight.state, name, body.password);
          if (body.replacesNewest === true) {
            if (logins === undefined) throw neverRotated(name);
            return replacedNewest(wish, logins, verifier);
          }
          const seconds = body.overlapSeconds ?? rotation?.overlapSeconds ?? OVERLAP_SECONDS_DEFAULT;
          const wallMs = ports.clock.wallMs();
          const until = toInstant(wallMs + seconds * 1_000);
          const after = rotated(wish, verifier, toInstant(wallMs), until);
          if (after.ok) return after.value;
          throw overlapGoesOn(name, wish);
        });
        const sight = look(ports);
        set.headers["etag"] = etagOf(sight.state);
        const role = await describeOne(ports, sight, name);
        const login = role.logins?.newest ?? name;
        return { login, role, notices: notices(name, login, sight.state.spec.access?.hba ?? []) };
      },
      {
        params: roleName,
        body: RotationRequestSchema,
        headers: specChangeHeaders,
        response: { 200: RotatedSchema },
        detail: describeRoute(
          "access",
          "access",
          "Give a declared role a new password, and let the one before be good for a while",
          "Two logins take turns: app_a and app_b are members of app, and begin their sessions as it. The answer says which one has the new password. The one before ends by PostgreSQL's own clock, and is locked then.",
        ),
      },
    )
    .patch(
      PATH,
      async ({ params: { name }, body, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: `overlap ${name}` };
        await changeRole(ports, asked, name, async (_sight, wish) => {
          if (wish.logins === undefined) throw neverRotated(name);
          const wallMs = ports.clock.wallMs();
          const until = toInstant(wallMs + body.overlapSeconds * 1_000);
          const after = endingAt(wish, wish.logins, toInstant(wallMs), until);
          if (after.ok) return after.value;
          throw overlapOver(name, wish.logins.previous.until);
        });
        const sight = look(ports);
        set.headers["etag"] = etagOf(sight.state);
        return describeOne(ports, sight, name);
      },
      {
        params: roleName,
        body: OverlapRequestSchema,
        headers: specChangeHeaders,
        response: { 200: RoleSchema },
        detail: describeRoute(
          "access",
          "access",
          "Let the password before be good for longer, or end it",
          "Sessions that are open stay open: a password is asked for where one begins.",
        ),
      },
    )
    .delete(
      PATH,
      async ({ params: { name }, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: `rotation-delete ${name}` };
        await changeRole(ports, asked, name, async (_sight, wish) => {
          const { logins: _, rotation, ...rest } = wish;
          if (rotation === undefined) throw neverRotated(name);
          return rest;
        });
        const sight = look(ports);
        set.headers["etag"] = etagOf(sight.state);
        return describeOne(ports, sight, name);
      },
      {
        params: roleName,
        headers: specChangeHeaders,
        response: { 200: RoleSchema },
        detail: describeRoute(
          "access",
          "access",
          "Let the logins of a role take turns no more",
          "On the server nothing changes: both logins stay, each with its password and its end, and nobody locks them.",
        ),
      },
    );
}

type Wish = Omit<RoleWish, "since">;

function changeRole(
  ports: ApiPorts,
  asked: Asked,
  name: string,
  changed: (sight: Sight, wish: Wish) => Promise<Wish>,
): Promise<void> {
  return declare(ports, asked, async (sight) => {
    const found = wishOfRole(sight.state.spec.declared, name);
    if (found === null || found.isAbsent === true) throw notDeclared(name);
    const { since: _, isTrusted: __, ...wish } = found;
    const after = await changed(sight, wish);
    requireRole(asked.caller, name, after);
    return { roles: { [name]: trusted(asked.caller, after) } };
  });
}

function trusted(caller: Caller, wish: Wish): Wish {
  return mayDo(caller.scopes, "admin") ? { ...wish, isTrusted: true } : wish;
}

/** Where the role was named, its logins are somebody else. */
function notices(role: string, login: string, rules: readonly HbaRule[]): string[] {
  const isMeant = ({ users }: HbaRule) =>
    users.some((user) => user === role || user === `"${role}"`) &&
    !users.some((user) => user === `+${role}` || user === `+"${role}"` || user === login || user === "all");
  return rules.some(isMeant)
    ? [`Rules for connections that name ${role} do not admit ${login}: let them name +${role}.`]
    : [];
}

function neverRotated(name: string): ApiProblem {
  return new ApiProblem({
    status: 409,
    code: "never-rotated",
    detail: `The password of ${name.slice(0, 80)} was never rotated. Nothing was changed.`,
    hint: "'guacamole role rotate' does it.",
  });
}

function overlapGoesOn(name: string, { logins }: Wish): ApiProblem {
  const before = logins === undefined ? name : loginName(name, logins.previous.login);
  return new ApiProblem({
    status: 409,
    code: "overlap-goes-on",
    detail: `The password before, of ${before.slice(0, 80)}, is good until ${logins?.previous.until}: a third one would take its login away. Nothing was changed.`,
    hint: "'guacamole role overlap --end' ends it now; 'guacamole role rotate --again' replaces the newest one, where that was lost.",
  });
}

function overlapOver(name: string, until: string): ApiProblem {
  return new ApiProblem({
    status: 409,
    code: "overlap-over",
    detail: `The password before, of ${name.slice(0, 80)}, ended at ${until}, and stays so. Nothing was changed.`,
    hint: "'guacamole role rotate' begins anew.",
  });
}
