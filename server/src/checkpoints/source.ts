import type { TensorRef } from "../engine/addon.js";
import type { FileFacts } from "../files.js";
import type { TokenizerSource } from "../tokenizer/vocabulary.js";
import type { CheckpointConfig } from "./config.js";
import type { FieldNames } from "./layout.js";

/** A checkpoint as it lies on disk, whatever its format: what it says of itself, and where each tensor is. */
export interface CheckpointSource {
  readonly format: "safetensors" | "gguf";
  /** The directory, or the (first) GGUF file. */
  readonly place: string;
  /** The file that messages about the config name. */
  readonly configFile: string;
  /** Part of the fingerprint beside the files. */
  readonly configText: string;
  readonly config: CheckpointConfig;
  /** How the file calls the fields that an error may name. */
  readonly fieldNames: FieldNames;
  /** By canonical name: `model.` for the backbone, `mtp.`, `compressor.`, `confidence_head.`, `lm_head.` at top level. */
  readonly tensors: ReadonlyMap<string, TensorRef>;
  /** Files that hold tensors. */
  readonly files: readonly FileFacts[];
  readonly about: AboutModel;
  /** Undefined where there is none: then ids go in and ids come out. */
  readonly tokenizer: TokenizerSource | undefined;
}

/** What a model says about itself beside its numbers; undefined where it says nothing. */
export interface AboutModel {
  readonly name: string;
  readonly license: string | undefined;
  /** A Jinja template for chats. */
  readonly chatTemplate: string | undefined;
  /** Tokens that end a text, beside what the tokenizer says. */
  readonly endIds: readonly number[];
}
