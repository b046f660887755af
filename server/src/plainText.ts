/**
 * Text that comes out of a file or off the network, made fit for an error message: one line, without characters that
 * control a terminal or turn the direction of writing, without the form of a Markdown link, and capped.
 */
export function plainText(text: string, most = 80): string {
  const line = text
    .slice(0, 4 * most)
    .replace(/(?!\s)[\p{Cc}\p{Cf}\p{Cs}\p{Co}]/gu, "")
    .replace(/\s+/gu, " ")
    .replace(/\](?=[([])/g, "] ")
    .trim();
  return line.length <= most && text.length <= 4 * most ? line : `${line.slice(0, most - 1).trimEnd()}…`;
}
