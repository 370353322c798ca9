import { defineConfig } from "drizzle-kit";

/** `npx drizzle-kit generate --name <what>` writes the next migration; it is then listed in src/store/migrations.ts. */
export default defineConfig({
  dialect: "sqlite",
  schema: "./src/store/schema.ts",
  out: "./migrations",
});
