import type { ObservedCatalog } from "../cluster/catalog.ts";
import type { DeclaredSpec } from "../cluster/declared.ts";
import type { CatalogPlan } from "./catalog-step.ts";
import { planDatabases } from "./plan-databases.ts";
import { planRoles } from "./plan-roles.ts";

/**
 * From what is declared and what the primary's catalogs say to what is to be done, in order: owners before what they own, and
 * what is dropped last. Pure: the same two give the same plan, and a plan that was carried out leaves nothing to do.
 */
export function planCatalog(declared: DeclaredSpec, observed: ObservedCatalog): CatalogPlan {
  const roles = planRoles(declared, observed);
  const databases = planDatabases(declared, observed);
  return {
    steps: [
      ...roles.attributes,
      ...databases.creations,
      ...roles.memberships,
      ...databases.changes,
      ...roles.settings,
      ...databases.inside,
      ...databases.drops,
      ...roles.drops,
    ],
    impossible: [...roles.impossible, ...databases.impossible],
  };
}
