/** A document written down with `█` where the cursor stands. */
export interface MarkedText {
  readonly text: string;
  readonly offset: number;
  readonly position: { readonly line: number; readonly character: number };
}

export function parseCursor(marked: string): MarkedText {
  const offset = marked.indexOf("█");
  if (offset < 0 || marked.indexOf("█", offset + 1) >= 0) throw new Error(`exactly one █ is needed: ${marked}`);
  const before = marked.slice(0, offset).split("\n");
  const position = { line: before.length - 1, character: before.at(-1)!.length };
  return { text: marked.replace("█", ""), offset, position };
}
