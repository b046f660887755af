import type { RopeScaling } from "../engine/addon.js";
import { plainText } from "../plainText.js";

/** What a file says about stretching rotary frequencies; undefined where it says nothing. */
export interface RopeFields {
  readonly type: string | undefined;
  readonly factor: number | undefined;
  readonly originalMaxPositions: number | undefined;
  readonly lowFrequencyFactor?: number | undefined;
  readonly highFrequencyFactor?: number | undefined;
  readonly betaFast?: number | undefined;
  readonly betaSlow?: number | undefined;
  readonly attentionFactor?: number | undefined;
  readonly mscale?: number | undefined;
  readonly mscaleAllDim?: number | undefined;
}

/** A field is missing or out of range; the reader adds where. */
export class RopeProblem extends Error {
  constructor(
    readonly code: "badConfig" | "unsupported",
    message: string,
  ) {
    super(message);
  }
}

/** The scaling that the fields mean, undefined for none. Throws {@link RopeProblem}. */
export function ropeScalingOf(fields: RopeFields, maxPositions: number): RopeScaling | undefined {
  const type = fields.type ?? "default";
  if (type === "default" || type === "none") return undefined;
  if (type === "linear") return { ...noScaling, type, factor: factorOf(fields) };
  if (type === "llama3") return llama3(fields, maxPositions);
  if (type === "yarn") return yarn(fields, maxPositions);
  throw new RopeProblem("unsupported", `asks for rope_type ${plainText(type)}; known are default, linear, llama3 and yarn`);
}

const noScaling: Omit<RopeScaling, "type" | "factor"> = {
  originalMaxPositions: 0,
  lowFrequencyFactor: 0,
  highFrequencyFactor: 0,
  betaFast: 0,
  betaSlow: 0,
  attentionFactor: 1,
};

function llama3(fields: RopeFields, maxPositions: number): RopeScaling {
  const { lowFrequencyFactor: low, highFrequencyFactor: high } = fields;
  if (low === undefined || high === undefined || !(low > 0 && high > low)) {
    throw new RopeProblem(
      "badConfig",
      `gives llama3 rope scaling low_freq_factor ${low} and high_freq_factor ${high}; the second must be greater`,
    );
  }
  return {
    ...noScaling,
    type: "llama3",
    factor: factorOf(fields),
    originalMaxPositions: fields.originalMaxPositions ?? maxPositions,
    lowFrequencyFactor: low,
    highFrequencyFactor: high,
  };
}

function yarn(fields: RopeFields, maxPositions: number): RopeScaling {
  const originalMaxPositions = fields.originalMaxPositions ?? maxPositions;
  const factor = fields.factor === undefined ? maxPositions / originalMaxPositions : factorOf(fields);
  const attentionFactor = fields.attentionFactor ?? yarnAttention(factor, fields);
  if (!(attentionFactor > 0 && attentionFactor < 1e3))
    throw new RopeProblem("badConfig", `gives yarn rope scaling the attention factor ${attentionFactor}`);
  return {
    ...noScaling,
    type: "yarn",
    factor,
    originalMaxPositions,
    betaFast: fields.betaFast || 32,
    betaSlow: fields.betaSlow || 1,
    attentionFactor,
  };
}

/** As in transformers: `0.1 ln(factor) + 1`, or the ratio of two such where both mscales are given. */
function yarnAttention(factor: number, { mscale, mscaleAllDim }: RopeFields): number {
  const scaled = (by: number) => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);
  return mscale && mscaleAllDim ? scaled(mscale) / scaled(mscaleAllDim) : scaled(1);
}

function factorOf({ type, factor }: RopeFields): number {
  if (factor !== undefined && factor >= 1 && factor <= 1e6) return factor;
  throw new RopeProblem("badConfig", `gives ${type} rope scaling the factor ${factor}; it must be 1 or more`);
}

/**
 * The llama3 scaling behind a table of divisors of the rotary frequencies, one per pair of dimensions, as converters to
 * GGUF write it; `"none"` where all are 1, undefined where the table is of another kind.
 */
export function llama3FromDivisors(divisors: Float32Array, ropeTheta: number): RopeScaling | "none" | undefined {
  if (divisors.every((divisor) => divisor === 1)) return "none";
  const factor = divisors.reduce((most, divisor) => Math.max(most, divisor), 1);
  // The table does not say for which length a model was trained. It is a power of two; the one that explains every entry.
  for (let originalMaxPositions = 1; originalMaxPositions <= 2 ** 20; originalMaxPositions *= 2) {
    const scaling: RopeScaling = {
      ...noScaling,
      type: "llama3",
      factor,
      originalMaxPositions,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
    };
    const explains = divisors.every((divisor, i) => {
      const wanted = llama3Divisor(scaling, ropeTheta ** (-i / divisors.length));
      return Math.abs(divisor - wanted) <= 1e-4 * wanted;
    });
    if (explains) return scaling;
  }
  return undefined;
}

/** By what a frequency, in radians per position, is divided. */
function llama3Divisor(scaling: RopeScaling, frequency: number): number {
  const { factor, originalMaxPositions, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
  const turns = (originalMaxPositions * frequency) / (2 * Math.PI);
  if (turns > high) return 1;
  if (turns < low) return factor;
  const smooth = (turns - low) / (high - low);
  return 1 / ((1 - smooth) / factor + smooth);
}
