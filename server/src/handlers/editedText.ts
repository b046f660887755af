/** Characters per piece that long texts are cut into. */
const pieceLength = 8_192;

interface Piece {
  readonly text: string;
  /** Line breaks that end in this piece. A piece never ends between `\r` and `\n`. */
  readonly breaks: number;
}

export interface TextPosition {
  readonly line: number;
  readonly character: number;
}

/**
 * A document's text in pieces, so that a keystroke costs one piece and not the document. Offsets and characters are
 * UTF-16 units; lines end with `\n`, `\r\n` or `\r`, as the protocol says.
 */
export class EditedText {
  private pieces: Piece[];
  private units: number;
  private lineBreaks: number;

  constructor(text: string) {
    this.pieces = toPieces(text);
    this.units = text.length;
    this.lineBreaks = sum(this.pieces);
  }

  get length(): number {
    return this.units;
  }

  get lineCount(): number {
    return this.lineBreaks + 1;
  }

  /** Text between two offsets, both within the text. */
  slice(start: number, end: number = this.units): string {
    if (end <= start) return "";
    const [first, firstAt] = this.pieceAt(start);
    let text = "";
    for (let index = first, at = firstAt; index < this.pieces.length && at < end; index++) {
      const piece = this.pieces[index]!.text;
      text += piece.slice(Math.max(0, start - at), end - at);
      at += piece.length;
    }
    return text;
  }

  /** Offset of a position. A character beyond the line means the line's end, a line beyond the last the text's end. */
  offsetAt({ line, character }: TextPosition): number {
    if (line >= this.lineCount) return this.units;
    if (line < 0) return 0;
    const start = this.lineStart(line);
    const end = this.lineEnd(line, start);
    return Math.min(start + Math.max(0, character), end);
  }

  positionAt(offset: number): TextPosition {
    const target = Math.min(Math.max(0, offset), this.units);
    const [index, at] = this.pieceAt(target);
    const text = this.pieces[index]?.text ?? "";
    const insideBreak = text[target - at] === "\n" && text[target - at - 1] === "\r";
    const line = sum(this.pieces.slice(0, index)) + countBreaks(text.slice(0, target - at)) - (insideBreak ? 1 : 0);
    const start = this.lineStart(line);
    return { line, character: Math.min(target, this.lineEnd(line, start)) - start };
  }

  /** Puts `text` in the place of what stands between two offsets. */
  replace(start: number, end: number, text: string): void {
    let [first, firstAt] = this.pieceAt(start);
    let [last, lastAt] = this.pieceAt(end);
    const before = this.pieces[first]?.text.slice(0, start - firstAt) ?? "";
    const after = this.pieces[last]?.text.slice(end - lastAt) ?? "";
    let changed = before + text + after;
    // With the pieces beside it where they may share a line break.
    if (first > 0 && (changed === "" || changed.startsWith("\n"))) changed = this.pieces[--first]!.text + changed;
    if (changed.endsWith("\r") && last + 1 < this.pieces.length) changed += this.pieces[++last]!.text;
    const inserted = toPieces(changed);
    const removed = this.pieces.splice(first, last - first + 1, ...inserted);
    this.units += text.length - (end - start);
    this.lineBreaks += sum(inserted) - sum(removed);
  }

  /** The piece that holds an offset, and where it begins; the last one for the text's end. */
  private pieceAt(offset: number): [index: number, at: number] {
    let at = 0;
    let index = 0;
    for (; index < this.pieces.length - 1; index++) {
      const { length } = this.pieces[index]!.text;
      if (offset < at + length) break;
      at += length;
    }
    return [index, at];
  }

  private lineStart(line: number): number {
    let at = 0;
    let left = line;
    for (const { text, breaks } of this.pieces) {
      if (left === 0) return at;
      if (left <= breaks) return at + afterBreak(text, left);
      left -= breaks;
      at += text.length;
    }
    return at;
  }

  /** Where a line's own text ends, before its break. */
  private lineEnd(line: number, start: number): number {
    if (line + 1 >= this.lineCount) return this.units;
    const next = this.lineStart(line + 1);
    const [, lineBreak = ""] = /(\r\n|\n|\r)$/.exec(this.slice(Math.max(start, next - 2), next)) ?? [];
    return next - lineBreak.length;
  }
}

function toPieces(text: string): Piece[] {
  const pieces: Piece[] = [];
  for (let start = 0; start < text.length; ) {
    let end = Math.min(text.length, start + pieceLength);
    if (text[end - 1] === "\r" && text[end] === "\n") end += 1;
    const piece = text.slice(start, end);
    pieces.push({ text: piece, breaks: countBreaks(piece) });
    start = end;
  }
  return pieces;
}

function countBreaks(text: string): number {
  return text.match(/\r\n|\n|\r/g)?.length ?? 0;
}

/** Index after the `count`-th line break. */
function afterBreak(text: string, count: number): number {
  const lineBreak = /\r\n|\n|\r/g;
  for (let found = 0; found < count; found++) lineBreak.exec(text);
  return lineBreak.lastIndex;
}

function sum(pieces: readonly Piece[]): number {
  return pieces.reduce((total, { breaks }) => total + breaks, 0);
}
