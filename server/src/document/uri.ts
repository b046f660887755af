/** A URI taken apart as far as documents need it. */
interface UriParts {
  /** Lower case; empty for a path of Windows that is no URI. */
  readonly scheme: string;
  readonly authority: string;
  /** Decoded, with forward slashes. */
  readonly path: string;
  /** Query and fragment with their marks, decoded. */
  readonly rest: string;
}

/**
 * One spelling for all spellings of a URI: editors encode more or fewer characters, write the drive's letter in either case,
 * and an empty authority or none. For keys only; what is sent back is what came.
 */
export function canonicalUri(uri: string): string {
  const { scheme, authority, path, rest } = partsOf(uri);
  return `${scheme}://${authority}${path.replace(/^\/?([A-Za-z]):/, (_all, drive: string) => `/${drive.toLowerCase()}:`)}${rest}`;
}

/** The parts of a URI's path, decoded, without what only names a part of the file or goes up and down. */
export function pathSegments(uri: string): readonly string[] {
  const segments: string[] = [];
  for (const segment of partsOf(uri).path.replaceAll("\\", "/").split("/")) {
    if (segment === "..") segments.pop();
    else if (segment !== "" && segment !== ".") segments.push(segment);
  }
  return segments;
}

function partsOf(uri: string): UriParts {
  // A scheme has two letters at least: one letter is a drive.
  const match = /^(?:([A-Za-z][A-Za-z0-9+.-]+):)?(?:\/\/([^/?#]*))?([^?#]*)(.*)$/s.exec(uri)!;
  const [, scheme = "", authority = "", path = "", rest = ""] = match;
  return { scheme: scheme.toLowerCase(), authority: authority.toLowerCase(), path: decoded(path), rest: decoded(rest) };
}

/** Percent-decoded where that can be done; an encoded slash stays, as it separates nothing. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replace(/%(?=2f)/gi, "%25"));
  } catch {
    return text;
  }
}
