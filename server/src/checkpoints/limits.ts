/**
 * Most that a count in a file may be. Far beyond every model there is; below, products of any of them stay exact, and
 * nothing large is allocated from a number alone.
 */
export const limits = {
  layers: 1024,
  heads: 4096,
  headDim: 1 << 16,
  /** Hidden and intermediate sizes, vocabulary. */
  width: 1 << 22,
  convKernel: 256,
  positions: 2 ** 30,
} as const;
