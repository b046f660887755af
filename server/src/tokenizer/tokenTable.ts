import { createHash } from "node:crypto";
import { plainText } from "../plainText.js";
import { writeTokenBytes } from "./byteAlphabet.js";
import { badTokenizer, duplicate, maxTokenLength, type Vocabulary } from "./vocabulary.js";

/**
 * A vocabulary as typed arrays over one buffer, which is also what the table's file holds: nothing is parsed when it is
 * loaded, and no token is a string before somebody asks for it.
 *
 * The buffer begins with a header of {@link headerBytes}; then come the description as JSON padded to four bytes, and
 * the sections in the order of {@link sectionsOf}.
 */
export interface TokenTable extends TokenTableDescription {
  readonly buffer: ArrayBuffer;
  /** Where each token's bytes begin in `bytes`; one more entry than tokens. */
  readonly offsets: Int32Array;
  readonly bytes: Uint8Array;
  /** Id of the token for one byte, -1 where the vocabulary lacks it. */
  readonly byteIds: Int32Array;
  /** Hash table of tokens by their bytes: id, or -1 for a free slot. */
  readonly tokenSlots: Int32Array;
  /** What each merge joins and what becomes of it, by rank. */
  readonly mergeLeft: Int32Array;
  readonly mergeRight: Int32Array;
  readonly mergeResult: Int32Array;
  /** Hash table of merges by what they join: rank, or -1 for a free slot. */
  readonly mergeSlots: Int32Array;
}

/** What is not an array of numbers. */
interface TokenTableDescription
  extends Pick<Vocabulary, "size" | "added" | "split" | "nfc" | "ignoreMerges" | "bosId" | "eosId"> {
  readonly fingerprint: string;
  readonly mergeCount: number;
  readonly byteCount: number;
  readonly tokenSlotCount: number;
  readonly mergeSlotCount: number;
}

const magic = 0x4b544f50; // "POTK"
const version = 1;
/** Magic, version, length in bytes and length of the description as integers, then the checksum. */
const headerBytes = 36;
const checksumAt = 16;

/** Builds the table. Throws ModelError where merges or tokens contradict each other. */
export function buildTokenTable(vocabulary: Vocabulary, fingerprint: string): TokenTable {
  const { size, merges, added, split, nfc, ignoreMerges, bosId, eosId } = vocabulary;
  const { bytes, offsets } = tokenBytes(vocabulary);
  const description: TokenTableDescription = {
    fingerprint,
    size,
    mergeCount: merges.length,
    byteCount: bytes.length,
    tokenSlotCount: slotsFor(size),
    mergeSlotCount: slotsFor(merges.length),
    added,
    split,
    nfc,
    ignoreMerges,
    bosId,
    eosId,
  };
  const table = allocate(description);
  table.bytes.set(bytes);
  table.offsets.set(offsets);
  fillTokenSlots(table, vocabulary);
  fillMerges(table, vocabulary);
  new Uint8Array(table.buffer).set(checksum(table.buffer), checksumAt);
  return table;
}

/** A table over the bytes of its file; undefined where they are none, are damaged, or come from another vocabulary. */
export function openTokenTable(buffer: ArrayBuffer, fingerprint: string): TokenTable | undefined {
  if (buffer.byteLength < headerBytes) return undefined;
  const [foundMagic, foundVersion, length, jsonLength] = new Int32Array(buffer, 0, 4);
  if (foundMagic !== magic || foundVersion !== version || length !== buffer.byteLength) return undefined;
  if (!checksum(buffer).equals(new Uint8Array(buffer, checksumAt, headerBytes - checksumAt))) return undefined;
  // With the right version and checksum this is what was written below.
  const json = new TextDecoder().decode(new Uint8Array(buffer, headerBytes, jsonLength));
  const description = JSON.parse(json) as TokenTableDescription;
  if (description.fingerprint !== fingerprint) return undefined;
  return { ...description, ...sectionsOf(description, buffer, jsonLength!) };
}

function allocate(description: TokenTableDescription): TokenTable {
  const json = new TextEncoder().encode(JSON.stringify(description));
  const { size, mergeCount, byteCount, tokenSlotCount, mergeSlotCount } = description;
  const ints = size + 1 + 256 + tokenSlotCount + 3 * mergeCount + mergeSlotCount;
  const buffer = new ArrayBuffer(headerBytes + padded(json.length) + 4 * ints + padded(byteCount));
  new Int32Array(buffer).set([magic, version, buffer.byteLength, json.length]);
  new Uint8Array(buffer).set(json, headerBytes);
  return { ...description, ...sectionsOf(description, buffer, json.length) };
}

function sectionsOf(
  description: TokenTableDescription,
  buffer: ArrayBuffer,
  jsonLength: number,
): Omit<TokenTable, keyof TokenTableDescription> {
  const { size, mergeCount, byteCount, tokenSlotCount, mergeSlotCount } = description;
  let at = headerBytes + padded(jsonLength);
  const ints = (count: number) => {
    const section = new Int32Array(buffer, at, count);
    at += section.byteLength;
    return section;
  };
  return {
    buffer,
    offsets: ints(size + 1),
    byteIds: ints(256),
    tokenSlots: ints(tokenSlotCount),
    mergeLeft: ints(mergeCount),
    mergeRight: ints(mergeCount),
    mergeResult: ints(mergeCount),
    mergeSlots: ints(mergeSlotCount),
    bytes: new Uint8Array(buffer, at, byteCount),
  };
}

/**
 * Detects damage, not intent: nobody but this program writes the file. A hash of the platform, because a loop of our
 * own over megabytes is still being compiled when it ends.
 */
function checksum(buffer: ArrayBuffer): Buffer {
  const header = new Uint8Array(buffer, 0, checksumAt);
  return createHash("sha1").update(header).update(new Uint8Array(buffer, headerBytes)).digest();
}

/** Special tokens have no bytes. What BPE cannot have made, added tokens and others, stands for its own text. */
function tokenBytes({ tokens, added, size }: Vocabulary): { bytes: Uint8Array; offsets: Int32Array } {
  const addedById = new Map(added.map((token) => [token.id, token]));
  const offsets = new Int32Array(size + 1);
  let bytes = new Uint8Array(8 * size + 1024);
  let at = 0;
  for (let id = 0; id < size; id++) {
    const token = addedById.get(id);
    const text = token === undefined ? (tokens[id] ?? "") : token.special ? "" : token.content;
    bytes = withRoom(bytes, at, 3 * text.length);
    const end = token === undefined ? writeTokenBytes(text, 0, text.length, bytes, at) : -1;
    at = end >= 0 ? end : at + new TextEncoder().encodeInto(text, bytes.subarray(at)).written;
    offsets[id + 1] = at;
  }
  return { bytes: bytes.subarray(0, at), offsets };
}

function withRoom(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): Uint8Array<ArrayBuffer> {
  if (at + length <= bytes.length) return bytes;
  const larger = new Uint8Array(2 * (at + length));
  larger.set(bytes.subarray(0, at));
  return larger;
}

/** Only what BPE writes can be found by its bytes. */
function fillTokenSlots(table: TokenTable, { file, tokens, added }: Vocabulary): void {
  table.tokenSlots.fill(-1);
  table.byteIds.fill(-1);
  const addedIds = new Set(added.map(({ id }) => id));
  const others = new Set<string>();
  const scratch = new Uint8Array(maxTokenLength);
  for (let id = 0; id < tokens.length; id++) {
    const token = tokens[id];
    if (token === undefined || addedIds.has(id)) continue;
    const length = writeTokenBytes(token, 0, token.length, scratch, 0);
    const isNew = length < 0 ? others.size !== others.add(token).size : insertToken(table, id);
    if (!isNew) throw duplicate(file, token);
    if (length === 1) table.byteIds[scratch[0]!] = id;
  }
}

/** False where there is a token of the same bytes already. */
function insertToken(table: TokenTable, id: number): boolean {
  const { tokenSlots, offsets, bytes } = table;
  const [start, end] = [offsets[id]!, offsets[id + 1]!];
  const mask = tokenSlots.length - 1;
  let slot = hashBytes(bytes, start, end) & mask;
  for (; tokenSlots[slot]! >= 0; slot = (slot + 1) & mask) {
    if (hasBytes(table, tokenSlots[slot]!, bytes, start, end)) return false;
  }
  tokenSlots[slot] = id;
  return true;
}

function fillMerges(table: TokenTable, { file, merges, added }: Vocabulary): void {
  table.mergeSlots.fill(-1);
  const addedIds = new Map(added.map(({ id, content }) => [content, id]));
  const scratch = new Uint8Array(2 * maxTokenLength);
  /** Merges may make or take a token that is listed among the added ones. */
  const idOf = (start: number, end: number, name: () => string, rank: number) => {
    const id = end < 0 ? -1 : idOfBytes(table, scratch, start, end);
    const found = id >= 0 ? id : addedIds.get(name());
    if (found !== undefined) return found;
    throw badTokenizer(file, `merge ${rank} names the token ${plainText(name())}, which the tokenizer does not have`);
  };
  for (let rank = 0; rank < merges.length; rank++) {
    const merge = merges[rank]!;
    const space = merge.indexOf(" ", 1);
    if (space < 0 || merge.length > 2 * maxTokenLength || merge.includes(" ", space + 1)) {
      throw badTokenizer(file, `merge ${rank}, ${plainText(merge)}, is no pair of tokens`);
    }
    const middle = writeTokenBytes(merge, 0, space, scratch, 0);
    const end = middle < 0 ? -1 : writeTokenBytes(merge, space + 1, merge.length, scratch, middle);
    table.mergeLeft[rank] = idOf(0, middle, () => merge.slice(0, space), rank);
    table.mergeRight[rank] = idOf(middle, end, () => merge.slice(space + 1), rank);
    table.mergeResult[rank] = idOf(0, end, () => merge.replace(" ", ""), rank);
    insertMerge(table, rank);
  }
}

/** Of two merges of the same pair the first counts. */
function insertMerge(table: TokenTable, rank: number): void {
  const [left, right] = [table.mergeLeft[rank]!, table.mergeRight[rank]!];
  if (rankOf(table, left, right) >= 0) return;
  const mask = table.mergeSlots.length - 1;
  let slot = hashPair(left, right) & mask;
  while (table.mergeSlots[slot]! >= 0) slot = (slot + 1) & mask;
  table.mergeSlots[slot] = rank;
}

/** Rank of the merge of two tokens, or -1. */
export function rankOf(table: TokenTable, left: number, right: number): number {
  const { mergeSlots, mergeLeft, mergeRight } = table;
  const mask = mergeSlots.length - 1;
  for (let slot = hashPair(left, right) & mask; ; slot = (slot + 1) & mask) {
    const rank = mergeSlots[slot]!;
    if (rank < 0 || (mergeLeft[rank] === left && mergeRight[rank] === right)) return rank;
  }
}

/** Id of the token that BPE writes for `wanted[start, end)`, or -1. */
export function idOfBytes(table: TokenTable, wanted: Uint8Array, start: number, end: number): number {
  const { tokenSlots } = table;
  const mask = tokenSlots.length - 1;
  for (let slot = hashBytes(wanted, start, end) & mask; ; slot = (slot + 1) & mask) {
    const id = tokenSlots[slot]!;
    if (id < 0 || hasBytes(table, id, wanted, start, end)) return id;
  }
}

function hasBytes(table: TokenTable, id: number, wanted: Uint8Array, start: number, end: number): boolean {
  const from = table.offsets[id]!;
  if (table.offsets[id + 1]! - from !== end - start) return false;
  for (let i = start; i < end; i++) if (table.bytes[from + i - start] !== wanted[i]) return false;
  return true;
}

function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash ^ (hash >>> 15);
}

function hashPair(left: number, right: number): number {
  const hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return hash ^ (hash >>> 15);
}

/** A power of two, at most two thirds full. */
function slotsFor(count: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(8, 1.5 * count)));
}

function padded(length: number): number {
  return (length + 3) & ~3;
}
