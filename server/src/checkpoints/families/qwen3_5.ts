import type { Family } from "./family.js";

/** Qwen3.5: three layers of gated delta rule to one of gated full attention; norms multiply by one plus their weight. */
export const qwen3_5: Family = {
  name: "qwen3_5",
  title: "Qwen3.5",
  normWeight: "zeroCentred",
  queryKeyNorm: true,
  outputGate: true,
  attentionBias: false,
  linearAttention: true,
  partialRotary: true,
  classes: [
    {
      modelTypes: ["qwen3_5", "qwen3_5_text"],
      prefix: "Qwen3_5",
      heads: ["ForConditionalGeneration"],
      slidingWindow: "never",
      defaults: {
        vocabSize: 248320,
        hiddenSize: 4096,
        intermediateSize: 12288,
        layers: 32,
        heads: 16,
        keyValueHeads: 4,
        headDim: 256,
        maxPositions: 32768,
        rmsNormEps: 1e-6,
        ropeTheta: 1e7,
        rotaryFactor: 0.25,
      },
    },
  ],
  gguf: {
    architectures: ["qwen35"],
    refused:
      "whose recurrent layers GGUF keeps transformed: decay as a power, value heads in another order. " +
      "Load the safetensors files of this model",
  },
};
