/**
 * What a request asks for: its path and its query. Never throws.
 *
 * Of the host it says nothing that counts here, and need not name one: load balancers check health by HTTP/1.0, without `Host`. The
 * runtime hands out a path alone then, and where that header holds nonsense, a URL that cannot be read.
 */
export function targetOf({ url }: Request): URL {
  return new URL(`http://localhost/${url.replace(/^[a-z]+:\/\/[^/?#]*/i, "").replace(/^\//, "")}`);
}
