import type { CatalogStatement, DeclaredItem, DeclaredProblem } from "../cluster/catalog.ts";

/** One thing to do so that a wish is fulfilled. */
export interface CatalogStep {
  readonly item: DeclaredItem;
  readonly statement: CatalogStatement;
  /** What is not as it should be: names only, and never a secret. */
  readonly what: string;
  /** It is due since then (`ObservedCatalog.now`): until then it was as it should be, and nobody changed it. */
  readonly dueAt?: string;
}

export interface CatalogPlan {
  /** In the order in which they have to be done. */
  readonly steps: readonly CatalogStep[];
  /** Wishes that cannot be fulfilled: nothing is done about any part of them; of grants, about those that cannot be. */
  readonly impossible: readonly DeclaredProblem[];
}
