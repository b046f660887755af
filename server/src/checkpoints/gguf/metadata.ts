import { plainText } from "../../plainText.js";
import { badGguf, type Cursor } from "./cursor.js";

/** Types of values by their id in the file, with their sizes in bytes; 0 where the size varies. */
const valueTypes = [
  { name: "u8", bytes: 1 },
  { name: "i8", bytes: 1 },
  { name: "u16", bytes: 2 },
  { name: "i16", bytes: 2 },
  { name: "u32", bytes: 4 },
  { name: "i32", bytes: 4 },
  { name: "f32", bytes: 4 },
  { name: "bool", bytes: 1 },
  { name: "string", bytes: 0 },
  { name: "array", bytes: 0 },
  { name: "u64", bytes: 8 },
  { name: "i64", bytes: 8 },
  { name: "f64", bytes: 8 },
] as const;
type ValueType = (typeof valueTypes)[number]["name"];

/** A value where it lies: nothing of it is decoded before somebody asks. */
interface Value {
  readonly type: ValueType;
  /** Of the value, of the characters of a string, or of the first item of an array. */
  readonly offset: number;
  /** Bytes of a string, items of an array. */
  readonly length: number;
  readonly itemType?: ValueType;
}

const keyBytes = 65535;
/** A key of one character, a type and the shortest value. */
export const leastEntryBytes = 8 + 1 + 4 + 1;
const stringLengthBytes = 8;

/** Steps over one key and its value and remembers where the value lies. */
export function readEntry(cursor: Cursor, entries: Map<string, Value>): void {
  const key = cursor.text("a key");
  if (key === "") throw badGguf(cursor.file, "has a value without a key");
  if (Buffer.byteLength(key) > keyBytes) throw badGguf(cursor.file, `has the key ${plainText(key)}, which is too long`);
  if (entries.has(key)) throw badGguf(cursor.file, `has the key ${plainText(key)} twice`);
  const what = `the value of ${plainText(key)}`;
  entries.set(key, skipValue(cursor, typeOf(cursor, cursor.u32(what), what), what));
}

function typeOf(cursor: Cursor, id: number, what: string): ValueType {
  const type = valueTypes[id];
  if (type) return type.name;
  throw badGguf(cursor.file, `gives ${what} the type ${id}, which is not known`);
}

function skipValue(cursor: Cursor, type: ValueType, what: string): Value {
  if (type === "array") return skipArray(cursor, what);
  if (type === "string") {
    const length = cursor.count(what, 1);
    return { type, offset: cursor.take(length, what), length };
  }
  return { type, offset: cursor.take(sizeOf(type), what), length: 1 };
}

function skipArray(cursor: Cursor, what: string): Value {
  const itemType = typeOf(cursor, cursor.u32(what), what);
  if (itemType === "array") throw badGguf(cursor.file, `has an array of arrays as ${what}`);
  const size = itemType === "string" ? stringLengthBytes : sizeOf(itemType);
  const length = cursor.count(what, size);
  const offset = cursor.offset;
  if (itemType !== "string") cursor.take(length * size, what);
  else cursor.skipTexts(length, what);
  return { type: "array", offset, length, itemType };
}

function sizeOf(type: ValueType): number {
  return valueTypes.find(({ name }) => name === type)!.bytes;
}

/** Integers of an array as they lie in the file. */
export interface Integers {
  readonly length: number;
  at(index: number): number;
}

/** The keys and values of a GGUF file. Readers name the type that they want; another one is an error that names the key. */
export class Metadata {
  constructor(
    readonly file: string,
    private readonly bytes: Buffer,
    private readonly entries: ReadonlyMap<string, Value>,
  ) {}

  has(key: string): boolean {
    return this.entries.has(key);
  }

  keys(): Iterable<string> {
    return this.entries.keys();
  }

  /** True where the value is an array; some architectures give one number per layer. */
  isArray(key: string): boolean {
    return this.entries.get(key)?.type === "array";
  }

  text(key: string): string | undefined {
    const value = this.entries.get(key);
    if (!value) return undefined;
    if (value.type !== "string") throw this.wrongType(key, value, "a string");
    return this.bytes.toString("utf8", value.offset, value.offset + value.length);
  }

  flag(key: string): boolean | undefined {
    const value = this.entries.get(key);
    if (!value) return undefined;
    if (value.type !== "bool") throw this.wrongType(key, value, "a bool");
    return this.bytes[value.offset] !== 0;
  }

  /** A whole number from `least` to `most`. */
  integer(key: string, least: number, most: number): number | undefined {
    const value = this.entries.get(key);
    if (!value) return undefined;
    const number = isInteger(value.type) ? readNumber(this.bytes, value.type, value.offset) : undefined;
    if (number === undefined) throw this.wrongType(key, value, "a whole number");
    if (number >= least && number <= most) return number;
    throw badGguf(this.file, `gives ${plainText(key)} as ${number}; it must be between ${least} and ${most}`);
  }

  /** A finite number. An f32 is given as the shortest decimal that means it. */
  number(key: string): number | undefined {
    const value = this.entries.get(key);
    if (!value) return undefined;
    if (value.length !== 1 || !isNumber(value.type)) throw this.wrongType(key, value, "a number");
    const number = readNumber(this.bytes, value.type, value.offset);
    if (Number.isFinite(number)) return value.type === "f32" ? shortest(number) : number;
    throw badGguf(this.file, `gives ${plainText(key)} as ${number}`);
  }

  /** The type of a value must be this one exactly. */
  requireType(key: string, type: ValueType): void {
    const value = this.entries.get(key);
    if (value && value.type !== type) throw this.wrongType(key, value, `a ${type}`);
  }

  /** Length of an array of whatever type. */
  arrayLength(key: string): number | undefined {
    const value = this.entries.get(key);
    if (value && value.type !== "array") throw this.wrongType(key, value, "an array");
    return value?.length;
  }

  integers(key: string): Integers | undefined {
    const value = this.entries.get(key);
    if (!value) return undefined;
    const { itemType } = value;
    if (itemType !== "i32" && itemType !== "u32") throw this.wrongType(key, value, "an array of i32");
    return { length: value.length, at: (index) => readNumber(this.bytes, itemType, value.offset + 4 * index) };
  }

  texts(key: string): Texts | undefined {
    const value = this.entries.get(key);
    if (!value) return undefined;
    if (value.itemType !== "string") throw this.wrongType(key, value, "an array of strings");
    return new Texts(this.bytes, value.offset, value.length);
  }

  private wrongType(key: string, { type, itemType }: Value, wanted: string): Error {
    const found = type === "array" ? `array of ${itemType}` : type;
    return badGguf(this.file, `gives ${plainText(key)} as ${found}; it must be ${wanted}`);
  }
}

/** An array of strings, decoded only where somebody asks. */
export class Texts {
  #starts: Uint32Array | undefined;

  constructor(
    private readonly bytes: Buffer,
    private readonly offset: number,
    readonly length: number,
  ) {}

  at(index: number): string {
    const start = this.starts()[index]!;
    return this.bytes.toString("utf8", start, start + this.bytes.readUInt32LE(start - stringLengthBytes));
  }

  all(): string[] {
    const { bytes, length } = this;
    const texts = new Array<string>(length);
    for (let i = 0, start = this.offset; i < length; ++i) {
      const end = start + stringLengthBytes + bytes.readUInt32LE(start);
      texts[i] = bytes.toString("utf8", start + stringLengthBytes, end);
      start = end;
    }
    return texts;
  }

  /** Where the characters of each string begin; made on first use, from lengths that were checked before. */
  private starts(): Uint32Array {
    if (this.#starts) return this.#starts;
    const starts = new Uint32Array(this.length);
    for (let i = 0, start = this.offset; i < this.length; ++i) {
      starts[i] = start + stringLengthBytes;
      start = starts[i]! + this.bytes.readUInt32LE(start);
    }
    return (this.#starts = starts);
  }
}

type NumberType = Exclude<ValueType, "string" | "array" | "bool">;

function isNumber(type: ValueType): type is NumberType {
  return type !== "string" && type !== "array" && type !== "bool";
}

function isInteger(type: ValueType): type is Exclude<NumberType, "f32" | "f64"> {
  return isNumber(type) && type !== "f32" && type !== "f64";
}

function readNumber(bytes: Buffer, type: NumberType, offset: number): number {
  switch (type) {
    case "u8":
      return bytes.readUInt8(offset);
    case "i8":
      return bytes.readInt8(offset);
    case "u16":
      return bytes.readUInt16LE(offset);
    case "i16":
      return bytes.readInt16LE(offset);
    case "u32":
      return bytes.readUInt32LE(offset);
    case "i32":
      return bytes.readInt32LE(offset);
    case "f32":
      return bytes.readFloatLE(offset);
    case "f64":
      return bytes.readDoubleLE(offset);
    case "u64":
      return Number(bytes.readBigUInt64LE(offset));
    case "i64":
      return Number(bytes.readBigInt64LE(offset));
  }
}

/** `1e-6` rather than `9.999999974752427e-07`. */
function shortest(value: number): number {
  for (let digits = 6; digits < 9; ++digits) {
    const decimal = Number(value.toPrecision(digits));
    if (Math.fround(decimal) === value) return decimal;
  }
  return value;
}
