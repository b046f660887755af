import type { DiskDtype } from "../../engine/addon.js";

/** A type of tensor that the engine reads: its name and how many values stand in how many bytes. */
export interface TensorType {
  readonly dtype: DiskDtype;
  readonly blockValues: number;
  readonly blockBytes: number;
}

const type = (dtype: DiskDtype, blockValues: number, blockBytes: number): TensorType => ({
  dtype,
  blockValues,
  blockBytes,
});

/** By the id in the file. */
const readTypes: ReadonlyMap<number, TensorType> = new Map([
  [0, type("F32", 1, 4)],
  [1, type("F16", 1, 2)],
  [2, type("Q4_0", 32, 18)],
  [3, type("Q4_1", 32, 20)],
  [6, type("Q5_0", 32, 22)],
  [7, type("Q5_1", 32, 24)],
  [8, type("Q8_0", 32, 34)],
  [10, type("Q2_K", 256, 84)],
  [11, type("Q3_K", 256, 110)],
  [12, type("Q4_K", 256, 144)],
  [13, type("Q5_K", 256, 176)],
  [14, type("Q6_K", 256, 210)],
  [20, type("IQ4_NL", 32, 18)],
  [30, type("BF16", 1, 2)],
]);

/** Types that exist and are not read, for messages. */
const otherTypes: ReadonlyMap<number, string> = new Map([
  [9, "Q8_1"],
  [15, "Q8_K"],
  [16, "IQ2_XXS"],
  [17, "IQ2_XS"],
  [18, "IQ3_XXS"],
  [19, "IQ1_S"],
  [21, "IQ3_S"],
  [22, "IQ2_S"],
  [23, "IQ4_XS"],
  [24, "I8"],
  [25, "I16"],
  [26, "I32"],
  [27, "I64"],
  [28, "F64"],
  [29, "IQ1_M"],
  [34, "TQ1_0"],
  [35, "TQ2_0"],
  [39, "MXFP4"],
]);

export function tensorType(id: number): TensorType | undefined {
  return readTypes.get(id);
}

/** Every type that is read, with its id in the file. */
export const tensorTypes: readonly (readonly [id: number, type: TensorType])[] = [...readTypes];

/** What to call a type that is not read. */
export function foreignTypeName(id: number): string {
  return otherTypes.get(id) ?? `type ${id}`;
}
