/**
 * Byte-level BPE writes bytes as characters: printable bytes of Latin-1 stand for themselves, the others for U+0100
 * onwards in ascending order. Here is the byte of each character code; -1 for those that stand for none.
 */
const byteOfCharacter = new Int16Array(0x144).fill(-1);

for (let byte = 0, next = 0x100; byte < 256; byte++) {
  const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
  byteOfCharacter[printable ? byte : next++] = byte;
}

/** Writes the bytes of the token `text[start, end)` at `at`. Returns where they end, or -1 where a character has none. */
export function writeTokenBytes(text: string, start: number, end: number, bytes: Uint8Array, at: number): number {
  for (let i = start; i < end; i++) {
    const byte = byteOfCharacter[text.charCodeAt(i)] ?? -1;
    if (byte < 0) return -1;
    bytes[at + i - start] = byte;
  }
  return at + end - start;
}
