import { decoderLayerTensors, type Family } from "./family.js";

/** Qwen3: queries and keys are normed per head, no biases. */
export const qwen3: Family = {
  name: "qwen3",
  title: "Qwen3",
  normWeight: "plain",
  queryKeyNorm: true,
  outputGate: false,
  attentionBias: false,
  linearAttention: false,
  partialRotary: false,
  classes: [
    {
      modelTypes: ["qwen3"],
      prefix: "Qwen3",
      slidingWindow: "switched",
      defaults: {
        vocabSize: 151936,
        hiddenSize: 4096,
        intermediateSize: 22016,
        layers: 32,
        heads: 32,
        keyValueHeads: 32,
        headDim: 128,
        maxPositions: 32768,
        rmsNormEps: 1e-6,
        ropeTheta: 10000,
        rotaryFactor: 1,
        slidingWindow: 4096,
      },
    },
  ],
  gguf: { architectures: ["qwen3"], interleavedRows: false, layerTensors: decoderLayerTensors },
};
