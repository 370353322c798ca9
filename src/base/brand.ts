declare const brand: unique symbol;

/** A value that only a parser may mint: an `Epoch` is a number, but not every number is an `Epoch`. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
