import { Elysia } from "elysia";
import swaggerStyle from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import swaggerScript from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import { describeRoute } from "./route-context.ts";

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>guacamole API</title>
<link rel="stylesheet" href="/swagger/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/swagger/swagger-ui-bundle.js"></script>
<script src="/swagger/start.js"></script>
</body>
</html>
`;

const START = `SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
`;

/** Nothing from elsewhere, no scripts in the page itself; swagger-ui sets inline styles and uses data: images. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Swagger UI from the binary: no request leaves the host. It needs no token; what one tries in it does. */
export function swaggerRoutes() {
  const file = (summary: string) => ({
    detail: { ...describeRoute("none", "documentation", summary), hide: true },
  });
  const answer = (body: string | Blob, type: string) =>
    new Response(body, { headers: { "content-type": type, "content-security-policy": POLICY } });
  return new Elysia({ normalize: false })
    .get("/swagger", () => answer(PAGE, "text/html; charset=utf-8"), file("Swagger UI"))
    .get("/swagger/start.js", () => answer(START, "text/javascript; charset=utf-8"), file("Its start"))
    .get(
      "/swagger/swagger-ui-bundle.js",
      () => answer(Bun.file(swaggerScript), "text/javascript; charset=utf-8"),
      file("Its script"),
    )
    .get(
      "/swagger/swagger-ui.css",
      () => answer(Bun.file(swaggerStyle), "text/css; charset=utf-8"),
      file("Its style"),
    );
}
