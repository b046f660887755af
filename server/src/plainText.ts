/**
 * Text from outside the program (a file, a server, another program) made fit for one line of a message: no control
 * characters, no marks that turn writing direction, runs of white space as one blank, and not longer than `most`.
 */
export function plainText(text: string, most = 200): string {
  const line = text
    .replace(/[\s\u2028\u2029]+/gu, " ")
    .replace(/[\p{Cc}\p{Cf}]/gu, "")
    .trim();
  return line.length > most ? `${line.slice(0, most - 1).trimEnd()}…` : line;
}
