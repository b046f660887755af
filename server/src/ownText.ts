/**
 * The same text with characters of its own. A slice of a string is a view of the whole, all of which it keeps alive for as
 * long as it is held: what is remembered of a document goes through here first.
 */
export function ownText(slice: string): string {
  return Buffer.from(slice, "utf16le").toString("utf16le");
}
