/** As much of it as is used here: the package brings no types. */
declare module "oidc-provider" {
  import type { Server } from "node:http";

  export class Provider {
    constructor(issuer: string, configuration: object);
    listen(port: number, hostname: string, listening: () => void): Server;
  }
}
