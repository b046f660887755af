import { decoderLayerTensors, type Family } from "./family.js";

/** Llama and what is built like it: Mistral, Codestral, DeepSeek-Coder, Seed-Coder, Mellum, SmolLM2, CodeLlama. */
export const llama: Family = {
  name: "llama",
  title: "Llama",
  normWeight: "plain",
  queryKeyNorm: false,
  outputGate: false,
  attentionBias: false,
  linearAttention: false,
  partialRotary: false,
  classes: [
    {
      modelTypes: ["llama"],
      prefix: "Llama",
      slidingWindow: "never",
      defaults: {
        vocabSize: 32000,
        hiddenSize: 4096,
        intermediateSize: 11008,
        layers: 32,
        heads: 32,
        keyValueHeads: undefined,
        headDim: undefined,
        maxPositions: 2048,
        rmsNormEps: 1e-6,
        ropeTheta: 10000,
        rotaryFactor: 1,
      },
    },
    {
      modelTypes: ["mistral"],
      prefix: "Mistral",
      slidingWindow: "always",
      defaults: {
        vocabSize: 32000,
        hiddenSize: 4096,
        intermediateSize: 14336,
        layers: 32,
        heads: 32,
        keyValueHeads: 8,
        headDim: undefined,
        maxPositions: 131072,
        rmsNormEps: 1e-6,
        ropeTheta: 10000,
        rotaryFactor: 1,
        slidingWindow: 4096,
      },
    },
  ],
  gguf: { architectures: ["llama"], interleavedRows: true, layerTensors: decoderLayerTensors },
};
