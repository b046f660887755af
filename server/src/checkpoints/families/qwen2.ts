import { decoderLayerTensors, type Family } from "./family.js";

/** Qwen2 and Qwen2.5, Coder among them: biases on queries, keys and values. */
export const qwen2: Family = {
  name: "qwen2",
  title: "Qwen2",
  normWeight: "plain",
  queryKeyNorm: false,
  outputGate: false,
  attentionBias: true,
  linearAttention: false,
  partialRotary: false,
  classes: [
    {
      modelTypes: ["qwen2"],
      prefix: "Qwen2",
      slidingWindow: "switched",
      defaults: {
        vocabSize: 151936,
        hiddenSize: 4096,
        intermediateSize: 22016,
        layers: 32,
        heads: 32,
        keyValueHeads: 32,
        headDim: undefined,
        maxPositions: 32768,
        rmsNormEps: 1e-6,
        ropeTheta: 10000,
        rotaryFactor: 1,
        slidingWindow: 4096,
      },
    },
  ],
  gguf: { architectures: ["qwen2"], interleavedRows: false, layerTensors: decoderLayerTensors },
};
