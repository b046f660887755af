import type { NormWeight } from "../../engine/addon.js";

/**
 * What distinguishes one family of models from another, as data. The readers of `config.json` and of GGUF metadata turn
 * it and a file's own fields into the engine's ModelConfig; nothing else knows families.
 */
export interface Family {
  /** `family` of ModelConfig. */
  readonly name: string;
  /** For messages: what people call these models. */
  readonly title: string;
  readonly normWeight: NormWeight;
  readonly queryKeyNorm: boolean;
  readonly outputGate: boolean;
  /** Whether q_proj, k_proj and v_proj have biases. */
  readonly attentionBias: boolean;
  /** Whether some layers keep a recurrent state instead of keys and values. */
  readonly linearAttention: boolean;
  /** Whether heads may be rotated in part. */
  readonly partialRotary: boolean;
  /** Configuration classes of Hugging Face that describe such models. */
  readonly classes: readonly ConfigClass[];
  readonly gguf: GgufFamily;
}

/** A configuration class of Hugging Face. */
export interface ConfigClass {
  readonly modelTypes: readonly string[];
  /** Begins the names of its model classes: `Qwen2` for `Qwen2ForCausalLM` and `Qwen2ForCausalPIPO`. */
  readonly prefix: string;
  /** Other heads than `ForCausalLM` and `ForCausalPIPO` whose text part is run. */
  readonly heads?: readonly string[];
  /** Whether a window limits attention: by the switch `use_sliding_window`, by `sliding_window` alone, or never. */
  readonly slidingWindow: "switched" | "always" | "never";
  readonly defaults: ConfigDefaults;
}

/** What a field means that `config.json` leaves out. */
export interface ConfigDefaults {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  /** Undefined: as many as heads. */
  readonly keyValueHeads: number | undefined;
  /** Undefined: hidden size divided by heads. */
  readonly headDim: number | undefined;
  readonly maxPositions: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly rotaryFactor: number;
  readonly slidingWindow?: number;
}

/** How GGUF files hold a family. */
export type GgufFamily =
  | {
      /** `general.architecture`. */
      readonly architectures: readonly string[];
      /** Rows of Q and K lie as a rotation of neighbours wants them. */
      readonly interleavedRows: boolean;
      /** Tensors of one layer: names in `blk.N.` and in `model.layers.N.`, without `.weight` and `.bias`. */
      readonly layerTensors: Readonly<Record<string, string>>;
    }
  | {
      readonly architectures: readonly string[];
      /** Why such a file is not read, and what to do. */
      readonly refused: string;
    };

/** Names of a decoder layer of full attention and a gated MLP, the same in all architectures of GGUF. */
export const decoderLayerTensors: Readonly<Record<string, string>> = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  attn_q_norm: "self_attn.q_norm",
  attn_k_norm: "self_attn.k_norm",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};
