/** A migration, imported as text: so it is part of the compiled binary. */
declare module "*.sql" {
  const text: string;
  export default text;
}
