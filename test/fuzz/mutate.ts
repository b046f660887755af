/** Random numbers that are the same for the same seed. */
export class Random {
  constructor(private state: number) {}

  /** At least 0, below `limit`. */
  below(limit: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

/** Where counts and types stand, such values have done harm. */
const extremes = [0n, 1n, 2n, 7n, 31n, 0x7fn, 0xffn, 0xffffn, 1n << 20n, 0x7fffffffn, 0x80000000n, 0xffffffffn, 1n << 32n, 1n << 40n, (1n << 53n) + 1n, 1n << 61n, 1n << 63n, (1n << 64n) - 1n];

/** A damaged copy: some bytes among the first `within` changed, moved, doubled, lost, or made an extreme number. */
export function mutateBytes(bytes: Buffer, random: Random, within = bytes.length): Buffer {
  let copy = Buffer.from(bytes);
  const reach = Math.min(within, copy.length);
  for (let left = 1 + random.below(3); left > 0; --left) {
    const at = random.below(Math.max(1, reach - 8));
    switch (random.below(7)) {
      case 0:
        copy[at] = random.below(256);
        break;
      case 1:
        copy[at]! ^= 1 << random.below(8);
        break;
      case 2:
        if (at + 8 <= copy.length) copy.writeBigUInt64LE(random.pick(extremes), at);
        break;
      case 3:
        if (at + 4 <= copy.length) copy.writeUInt32LE(Number(random.pick(extremes) & 0xffffffffn), at);
        break;
      case 4:
        copy = Buffer.concat([copy.subarray(0, at), copy.subarray(at + 1 + random.below(16))]);
        break;
      case 5:
        copy = Buffer.concat([copy.subarray(0, at), copy.subarray(Math.max(0, at - 1 - random.below(64)))]);
        break;
      case 6:
        if (random.below(4) === 0) copy = copy.subarray(0, at);
        break;
    }
  }
  return copy;
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const wildValues: readonly Json[] = [
  null,
  true,
  -1,
  0,
  1,
  2,
  3.5,
  1e9,
  5e9,
  2 ** 31,
  2 ** 53,
  1e308,
  "",
  "0",
  "\u001b[2J[x](command:y)",
  "a".repeat(5000),
  [],
  {},
  [[[]]],
  { length: 5 },
  ["full_attention"],
  ["__proto__"],
];

/** A damaged copy of a JSON document: some value anywhere in it replaced, removed, or put under another name. */
export function mutateJson(document: Json, random: Random): Json {
  const copy = structuredClone(document);
  for (let left = 1 + random.below(2); left > 0; --left) {
    const holders: { [key: string]: Json }[] = [];
    collect(copy, holders);
    if (holders.length === 0) return copy;
    const holder = random.pick(holders);
    const key = random.pick(Object.keys(holder));
    if (key === undefined) continue;
    const value = holder[key]!;
    const kind = random.below(5);
    if (kind === 0 && !Array.isArray(holder)) delete holder[key];
    else if (kind === 1 && !Array.isArray(holder)) holder[random.pick(["__proto__x", "constructor", `${key}_`, ""])] = value;
    else if (kind === 2 && typeof value === "number") holder[key] = value * random.pick([-1, 2, 0.5, 1e6]);
    else holder[key] = structuredClone(random.pick(wildValues));
  }
  return copy;
}

/** Objects and arrays that have something in them; of large ones only the first parts. */
function collect(value: Json, holders: { [key: string]: Json }[]): void {
  if (typeof value !== "object" || value === null) return;
  const entries = Object.values(value).slice(0, 50);
  if (entries.length > 0) holders.push(value as { [key: string]: Json });
  for (const entry of entries) collect(entry, holders);
}
