/**
 * Byte-level BPE writes bytes as characters: printable Latin-1 bytes stand for themselves, the others for U+0100 onwards
 * in ascending order.
 */
export const byteCharacters: readonly string[] = alphabet();

/** Byte of each character code of the alphabet; -1 where the character stands for none. */
export const byteOfCharacter: Int16Array = new Int16Array(0x144).fill(-1);
for (const [byte, character] of byteCharacters.entries()) byteOfCharacter[character.charCodeAt(0)] = byte;

function alphabet(): readonly string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
    return String.fromCharCode(printable ? byte : next++);
  });
}

/** Writes the bytes that `token` stands for at `at` and returns where they end; -1 where a character is none of the alphabet. */
export function writeTokenBytes(token: string, bytes: Uint8Array, at: number): number {
  for (let i = 0; i < token.length; i++) {
    const byte = byteOfCharacter[token.charCodeAt(i)] ?? -1;
    if (byte < 0) return -1;
    bytes[at + i] = byte;
  }
  return at + token.length;
}
