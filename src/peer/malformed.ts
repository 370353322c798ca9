/** What came from the network is not what it must be. Closes the connection it came on, nothing else. */
export class MalformedError extends Error {
  override readonly name = "MalformedError";
}
