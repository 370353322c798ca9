/** Chance, as our code gets it. The simulator derives all of it from one seed. */
export interface Random {
  /** A whole number from `min` to `max`, both included. */
  integer(min: number, max: number): number;
}
