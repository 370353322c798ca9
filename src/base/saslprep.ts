import { isWithin, LEFT_TO_RIGHT, NOTHING, PROHIBITED, RIGHT_TO_LEFT, SPACES } from "./stringprep-tables.ts";

/**
 * A password as PostgreSQL and libpq hash it: SASLprep (RFC 4013) where that can be done, and as it is where it cannot.
 * The checks look at what was mapped and not yet normalised, as theirs do.
 */
export function preparePassword(password: string): string {
  const codePoints = Array.from(password, (each) => each.codePointAt(0) ?? 0);
  if (codePoints.every((each) => each < 0x80)) return password;
  const mapped = codePoints.flatMap((each) =>
    isWithin(SPACES, each) ? [0x20] : isWithin(NOTHING, each) ? [] : [each],
  );
  if (mapped.length === 0 || mapped.some((each) => isWithin(PROHIBITED, each))) return password;
  if (!isOneDirection(mapped)) return password;
  return String.fromCodePoint(...mapped).normalize("NFKC");
}

/** RFC 3454 section 6: right to left goes from the first to the last character, or is not there. */
function isOneDirection(codePoints: readonly number[]): boolean {
  if (!codePoints.some((each) => isWithin(RIGHT_TO_LEFT, each))) return true;
  if (codePoints.some((each) => isWithin(LEFT_TO_RIGHT, each))) return false;
  return isWithin(RIGHT_TO_LEFT, codePoints[0] ?? 0) && isWithin(RIGHT_TO_LEFT, codePoints.at(-1) ?? 0);
}
