/** Discovery, keys and tokens as an implementation has them that is certified by the OpenID Foundation, and is not ours. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Server } from "node:http";
import { exportJWK, generateKeyPair } from "jose";
import { Provider } from "oidc-provider";
import type { TokenExplanationDocument } from "../../../src/api/identity-documents.ts";
import { nextPort } from "../../support/ports-in-turn.ts";
import { living, request } from "./fixture.ts";

let server: Server;
let issuer: string;

const CLIENT = {
  client_id: "ci",
  client_secret: "only-for-this-test",
  id_token_signed_response_alg: "ES256",
};

beforeAll(async () => {
  const { privateKey } = await generateKeyPair("ES256", { extractable: true });
  const port = nextPort(10_000, 30_000);
  issuer = `http://127.0.0.1:${port}`;
  const provider = new Provider(issuer, {
    clients: [{ ...CLIENT, grant_types: ["client_credentials"], redirect_uris: [], response_types: [] }],
    jwks: { keys: [{ ...(await exportJWK(privateKey)), kid: "k1", use: "sig", alg: "ES256" }] },
    ttl: { ClientCredentials: 120 },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => "urn:guacamole",
        getResourceServerInfo: () => ({
          scope: "guacamole",
          audience: "guacamole",
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
    extraTokenClaims: () => ({ groups: ["deployers"] }),
  });
  await new Promise<void>((resolve) => {
    server = provider.listen(port, "127.0.0.1", resolve);
  });
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

test("a token of a certified issuer lets in, and its author is told", async () => {
  const answer = await fetch(`${issuer}/token`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${CLIENT.client_id}:${CLIENT.client_secret}`)}` },
    body: new URLSearchParams({ grant_type: "client_credentials" }),
  });
  expect(answer.status).toBe(200);
  const { access_token: token } = (await answer.json()) as { access_token: string };
  const fake = living({ featureLevel: 4 });
  const { clock } = fake.ports;
  Object.assign(clock, { wallMs: () => Date.now() });
  const scopes = [{ claim: "groups", value: "deployers", scope: "operator" }];
  const providers = [{ name: "corp", issuer, audiences: ["guacamole"], scopes }];
  const put = await request(fake, "PUT", "/v1/access/identity-providers", { providers });
  expect(put.status).toBe(200);
  const paused = await request(fake, "POST", "/v1/pause", { reason: "deployment" }, {}, token);
  expect(paused.status).toBe(201);
  expect(fake.state?.pauses).toMatchObject([{ by: `${issuer}#ci` }]);
  expect((await request(fake, "GET", "/v1/tokens", undefined, {}, token)).status).toBe(403);
  const explained = await request(fake, "POST", "/v1/access/identity-providers/explain", { token });
  expect(((await explained.json()) as TokenExplanationDocument).scopes).toEqual(["operator"]);
});
