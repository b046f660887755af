import type { LayerType, ModelConfig } from "../engine/addon.js";

/** Released Qwen3.5 sizes with PIPO modules, for benchmarks with random weights. Source: the public config.json files. */
export type ShapeName = "0.8b" | "4b";

const qwenVocabulary = { vocabSize: 248_320, realVocabSize: 248_077, padTokenId: 248_044 };

interface Dimensions {
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly valueHeads: number;
}

const dimensions: Record<ShapeName, Dimensions> = {
  "0.8b": { hiddenSize: 1024, intermediateSize: 3584, layers: 24, heads: 8, kvHeads: 2, valueHeads: 16 },
  "4b": { hiddenSize: 2560, intermediateSize: 9216, layers: 32, heads: 16, kvHeads: 4, valueHeads: 32 },
};

export const shapeNames = Object.keys(dimensions) as readonly ShapeName[];

/** The model configuration of a released size, with an mlp compressor. */
export function shapeConfig(name: ShapeName): ModelConfig {
  const size = dimensions[name];
  return {
    family: "qwen3_5",
    vocabSize: qwenVocabulary.vocabSize,
    realVocabSize: qwenVocabulary.realVocabSize,
    hiddenSize: size.hiddenSize,
    intermediateSize: size.intermediateSize,
    layerTypes: Array.from({ length: size.layers }, (_, layer): LayerType =>
      (layer + 1) % 4 === 0 ? "full_attention" : "linear_attention",
    ),
    numAttentionHeads: size.heads,
    numKeyValueHeads: size.kvHeads,
    headDim: 256,
    normWeight: "zeroCentred",
    rmsNormEps: 1e-6,
    queryKeyNorm: true,
    outputGate: true,
    attentionBias: false,
    rotaryDim: 64,
    ropeTheta: 1e7,
    linearConvKernelDim: 4,
    linearKeyHeadDim: 128,
    linearValueHeadDim: 128,
    linearNumKeyHeads: 16,
    linearNumValueHeads: size.valueHeads,
    tieWordEmbeddings: true,
    maxPositions: 32_768,
    pipo: { compressor: "mlp", padTokenId: qwenVocabulary.padTokenId },
  };
}
