/**
 * Which connection speaks for the member. What an earlier life of it asked for can lie in a buffer while its process, or this
 * one, is frozen or killed: carried out after the next life has looked, it would undo what was concluded from that look.
 */
export class MemberLines {
  #accepted = 0;
  #newest = 0;

  /** A connection came. @returns its number: the order in which they were made. */
  open(): number {
    this.#accepted += 1;
    return this.#accepted;
  }

  /** This connection is a member's, and so whoever made one before it is gone. */
  claim(line: number): void {
    this.#newest = Math.max(this.#newest, line);
  }

  /** False: another life of the member has spoken since. A connection made later than that may be anybody's. */
  maySpeak(line: number): boolean {
    return line >= this.#newest;
  }
}
