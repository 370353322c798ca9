import { afterEach, beforeEach, expect, test } from "bun:test";
import { LocalIssuer } from "../../support/local-issuer.ts";
import { applyCommands, stateOf } from "../api/fixture.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

let member: FakeMember;
let issuer: LocalIssuer;
beforeEach(async () => {
  member = await startFakeMember();
  member.fake.state = stateOf({ featureLevel: 4 });
  applyCommands(member.fake);
  issuer = await LocalIssuer.start();
});
afterEach(async () => {
  await member.close();
  await issuer.stop();
});

const guacamole = (...argv: string[]) =>
  member.guacamole(["identity-provider", ...argv], { newId: () => crypto.randomUUID() });
const agreed = () => member.fake.state?.spec.identity?.providers ?? [];

test("an identity provider is trusted, changed value by value, explained and taken away", async () => {
  expect((await guacamole("list")).out).toContain("No identity provider is trusted");
  const about = ["--issuer", issuer.url, "--audience", "guacamole"];
  const map = ["--map", "groups=dba:admin", "--map", "https://x/roles=a=b:c:operator"];
  const set = await guacamole("set", "corp", ...about, ...map, "--name-claim", "email", "--block", "bob");
  expect(set.err).toBe("");
  expect(set.out).toContain("1 keys");
  expect(set.out).toContain("refused: bob");
  const kept = {
    name: "corp",
    issuer: issuer.url,
    audiences: ["guacamole"],
    nameClaim: "email",
    scopes: [
      { claim: "groups", value: "dba", scope: "admin" },
      { claim: "https://x/roles", value: "a=b:c", scope: "operator" },
    ],
  };
  expect(agreed()).toMatchObject([{ ...kept, blockedSubjects: ["bob"], maxAgeSeconds: 86_400 }]);
  await guacamole("set", "corp", "--unblock", "bob", "--max-age", "3600", "--algorithm", "ES256");
  expect(agreed()).toEqual([
    { ...kept, algorithms: ["ES256"], clockToleranceSeconds: 30, maxAgeSeconds: 3_600 } as never,
  ]);
  const token = await issuer.sign({ atSeconds: 5 });
  const ask = () => Promise.resolve(token);
  const explained = await member.guacamole(["identity-provider", "explain"], { readLine: ask });
  expect(explained.out).toContain("It is good: admin");
  expect(explained.out).toContain(`${issuer.url}#ann`);
  const wrong = await issuer.sign({ atSeconds: 5, claims: { aud: "wiki" } });
  const refused = await member.guacamole(["identity-provider", "explain"], {
    readLine: () => Promise.resolve(wrong),
  });
  expect(refused.out).toContain("It is refused: wrong audience (corp)");
  expect((await guacamole("remove", "corp")).code).toBe(0);
  expect(agreed()).toEqual([]);
  expect((await guacamole("remove", "corp")).code).toBe(3);
});

test("what cannot be is refused before anything is sent, or by the API with what is wrong", async () => {
  expect((await guacamole("set", "corp", "--audience", "x")).err).toContain(
    "--issuer and --audience are wanted",
  );
  expect((await guacamole("set", "corp", "--map", "groups=dba")).err).toContain(
    "claim=value:scope is wanted",
  );
  const plain = await guacamole("set", "corp", "--issuer", "http://id.example.org", "--audience", "x");
  expect([plain.code, plain.err.includes("providers.corp.issuer: it begins with https://")]).toEqual([
    3,
    true,
  ]);
  const about = ["--issuer", issuer.url, "--audience", "x"];
  expect((await guacamole("set", "corp", ...about, "--algorithm", "HS256")).code).toBe(3);
  expect(agreed()).toEqual([]);
});
