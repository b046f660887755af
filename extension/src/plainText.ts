/**
 * Texts from outside the program (names in model files, error texts with such names, patterns, file names) on their way to
 * the screen. VS Code reads Markdown in tooltips, `[text](address)` in messages and `$(icon)` in labels; none of that may
 * come from outside.
 */

/** One line without control characters and marks that turn the writing direction, and not longer than `most`. */
export function plainText(text: string, most = 400): string {
  const line = text
    .replace(/[\s\u2028\u2029]+/gu, " ")
    .replace(/[\p{Cc}\p{Cf}]/gu, "")
    .trim();
  return line.length > most ? `${line.slice(0, most - 1).trimEnd()}…` : line;
}

/** For messages and progress titles, where `[text](address)` would become a link. */
export function messageText(text: string): string {
  return plainText(text, 600).replace(/\](?=\()/g, "] ");
}

/** For labels of pick lists and the status bar, where `$(name)` would become an icon. */
export function labelText(text: string, most = 120): string {
  return plainText(text, most).replace(/\$(?=\()/g, "$ ");
}

/** For Markdown: every character that could mean something there stands for itself, in tables too. */
export function markdownText(text: string, most = 400): string {
  return plainText(text, most).replace(/[!-/:-@[-`{-~]/g, "\\$&");
}
