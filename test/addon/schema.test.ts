import { describe, expect, it } from "vitest";
import type {
  CompressorType,
  DecodeMode,
  DiskDtype,
  DraftContext,
  EngineErrorCode,
  LayerType,
  LoadStage,
  ModelConfig,
  NormWeight,
  RopeScaling,
  RopeScalingType,
  StopReason,
  WeightDtype,
} from "../../server/src/engine/addon.js";
import { loadAddon } from "../../server/src/engine/load.js";

/** Every member of a union, checked by the compiler: one that is missing or too much does not compile. */
const members = <T extends string>(record: Record<T, true>): readonly string[] => Object.keys(record).sort();

const ropeScaling: Required<RopeScaling> = {
  type: "yarn",
  factor: 4,
  originalMaxPositions: 16,
  lowFrequencyFactor: 0,
  highFrequencyFactor: 0,
  betaFast: 32,
  betaSlow: 1,
  attentionFactor: 1.1,
};
const pipo: Required<NonNullable<ModelConfig["pipo"]>> = { compressor: "mlp", padTokenId: 0, preGate: true };
const config: Required<ModelConfig> = {
  family: "any",
  vocabSize: 320,
  realVocabSize: 300,
  hiddenSize: 64,
  intermediateSize: 96,
  layerTypes: ["full_attention", "linear_attention"],
  numAttentionHeads: 4,
  numKeyValueHeads: 2,
  headDim: 16,
  normWeight: "plain",
  rmsNormEps: 1e-6,
  queryKeyNorm: true,
  outputGate: true,
  attentionBias: true,
  rotaryDim: 16,
  ropeTheta: 1e6,
  ropeScaling,
  linearConvKernelDim: 4,
  linearKeyHeadDim: 16,
  linearValueHeadDim: 16,
  linearNumKeyHeads: 2,
  linearNumValueHeads: 4,
  tieWordEmbeddings: false,
  maxPositions: 64,
  pipo,
};

describe("the contract", () => {
  const schema = loadAddon().schema();

  it("has the fields of a config that the engine has", () => {
    const fields = Object.entries(config).flatMap(([name, value]: [string, unknown]) =>
      typeof value === "object" && !Array.isArray(value) ? Object.keys(value as object).map((inner) => `${name}.${inner}`) : [name],
    );
    expect([...schema.config].sort()).toEqual(fields.sort());
  });

  it("has the words that the engine has", () => {
    const words = (list: readonly string[]) => [...list].sort();
    expect(words(schema.layerTypes)).toEqual(members<LayerType>({ full_attention: true, linear_attention: true }));
    expect(words(schema.compressorTypes)).toEqual(members<CompressorType>({ linear: true, mlp: true }));
    expect(words(schema.normWeights)).toEqual(members<NormWeight>({ plain: true, zeroCentred: true }));
    expect(words(schema.ropeScalingTypes)).toEqual(members<RopeScalingType>({ linear: true, llama3: true, yarn: true }));
    expect(words(schema.diskDtypes)).toEqual(
      members<DiskDtype>({
        F32: true,
        BF16: true,
        F16: true,
        Q8_0: true,
        Q4_0: true,
        Q4_1: true,
        Q5_0: true,
        Q5_1: true,
        Q2_K: true,
        Q3_K: true,
        Q4_K: true,
        Q5_K: true,
        Q6_K: true,
        IQ4_NL: true,
      }),
    );
    expect(words(schema.weightDtypes)).toEqual(
      members<WeightDtype>({ f32: true, bf16: true, int8: true, int4: true, mix: true, stored: true }),
    );
    expect(words(schema.decodeModes)).toEqual(members<DecodeMode>({ pair: true, plain: true }));
    expect(words(schema.draftContexts)).toEqual(members<DraftContext>({ full: true, generated: true, self: true }));
    expect(words(schema.loadStages)).toEqual(
      members<LoadStage>({ checking: true, packing: true, mapping: true, uploading: true, ready: true }),
    );
    expect(words(schema.stopReasons)).toEqual(
      members<StopReason>({
        stopId: true,
        maxNewTokens: true,
        cancelled: true,
        contextFull: true,
        listenerStopped: true,
        engineClosed: true,
      }),
    );
    expect(words(schema.errorCodes)).toEqual(
      members<EngineErrorCode>({
        badFile: true,
        badConfig: true,
        missingTensor: true,
        badShape: true,
        notEnoughMemory: true,
        unsupported: true,
        badRequest: true,
        busy: true,
        closed: true,
        io: true,
        cancelled: true,
        internal: true,
      }),
    );
  });

  it("takes a config and names every tensor of it, biases, norms and pair modules among them", () => {
    const table = loadAddon().tensorTable(config);
    const shapes = new Map(table.map(({ name, shape }) => [name, shape]));
    expect(shapes.size).toBe(table.length);
    expect(shapes.get("model.layers.0.self_attn.q_proj.weight")).toEqual([128, 64]);
    expect(shapes.get("model.layers.0.self_attn.k_proj.bias")).toEqual([32]);
    expect(shapes.get("model.layers.1.linear_attn.A_log")).toEqual([4]);
    expect(shapes.get("mtp.layers.0.self_attn.q_norm.weight")).toEqual([16]);
    expect(shapes.get("pre_gate.bias")).toEqual([1]);
    const { pipo: _pipo, ...plain } = config;
    const dense = { ...plain, outputGate: false, queryKeyNorm: false, tieWordEmbeddings: true };
    const names = loadAddon().tensorTable(dense).map(({ name }) => name);
    expect(names.filter((name) => /norm\.weight$/.test(name) && name.includes("self_attn"))).toEqual([]);
    expect(names).not.toContain("lm_head.weight");
  });

  it("refuses a config that cannot run, naming the field", () => {
    const of = (change: Partial<ModelConfig>) => () => loadAddon().tensorTable({ ...config, ...change });
    expect(of({ numKeyValueHeads: 3 })).toThrow(/num_key_value_heads/);
    expect(of({ headDim: 4096 })).toThrow(/head_dim/);
    expect(of({ normWeight: "other" as never })).toThrow(/config\.normWeight must be one of "plain", "zeroCentred"/);
  });
});
