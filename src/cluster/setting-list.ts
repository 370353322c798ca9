/** Parameters that are lists of names: PostgreSQL keeps them with quotes of its own, so that equal lists may be written unequally. */
const LISTS: ReadonlySet<string> = new Set([
  "local_preload_libraries",
  "search_path",
  "session_preload_libraries",
  "shared_preload_libraries",
  "temp_tablespaces",
  "unix_socket_directories",
]);

/**
 * The names in such a list, folded as PostgreSQL folds them; null: the parameter is no list of names.
 *
 * @see PostgreSQL's `variable_is_guc_list_quote` and `SplitGUCList`.
 */
export function namesInSetting(name: string, value: string): readonly string[] | null {
  if (!LISTS.has(name)) return null;
  const found = value.matchAll(/"((?:[^"]|"")*)"|[^\s,][^,]*/g);
  const names = [...found].map(([word, quoted]) =>
    quoted === undefined ? word.trim().toLowerCase() : quoted.replaceAll('""', '"'),
  );
  // An empty list is kept as one empty name.
  return names.filter((each) => each !== "");
}

/** Whether two values of a parameter are the same to PostgreSQL, as they are written in its catalogs. */
export function isSameSetting(name: string, a: string, b: string): boolean {
  const [these, those] = [namesInSetting(name, a), namesInSetting(name, b)];
  return these === null || those === null ? a === b : JSON.stringify(these) === JSON.stringify(those);
}
