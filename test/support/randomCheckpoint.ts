import { randomFillSync } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { configSchema, readConfig } from "../../server/src/checkpoints/config.js";
import { loadAddon } from "../../server/src/engine/load.js";
import { writeSafetensors, type Header } from "./modelFiles.js";

/** Small enough to write in a moment, large enough that loading and generating take visible time. */
const mediumConfig = {
  architectures: ["Qwen3_5ForCausalPIPO"],
  model_type: "qwen3_5_text",
  vocab_size: 16384,
  hidden_size: 512,
  intermediate_size: 1536,
  num_hidden_layers: 12,
  num_attention_heads: 8,
  num_key_value_heads: 2,
  head_dim: 64,
  linear_key_head_dim: 64,
  linear_value_head_dim: 64,
  linear_num_key_heads: 8,
  linear_num_value_heads: 8,
  max_position_embeddings: 32768,
  tie_word_embeddings: true,
  compressor_type: "mlp",
  pad_token_id: 0,
};

/** Writes a checkpoint with random bf16 weights of magnitude 2⁻⁷…2⁻⁵ into `directory`. */
export function writeRandomCheckpoint(directory: string): void {
  mkdirSync(directory, { recursive: true });
  const config = readConfig(configSchema.parse(mediumConfig), "config.json");
  const table = loadAddon().tensorTable({
    ...config,
    realVocabSize: config.vocabSize,
    tieWordEmbeddings: true,
    pipo: { compressor: "mlp", padTokenId: mediumConfig.pad_token_id },
  });
  const header: Header = {};
  let end = 0;
  for (const { name, shape } of table) {
    const bytes = 2 * shape.reduce((product, dim) => product * dim, 1);
    header[name] = { dtype: "BF16", shape: [...shape], data_offsets: [end, (end += bytes)] };
  }
  writeFileSync(path.join(directory, "config.json"), JSON.stringify(mediumConfig));
  writeSafetensors(path.join(directory, "model.safetensors"), header, randomBf16(end));
}

/** One random block repeated: quick to make, and random enough for timing. */
function randomBf16(bytes: number): Buffer {
  const block = randomFillSync(new Uint16Array(1 << 20)).map((bits) => (bits & 0x81ff) | 0x3c00);
  return Buffer.alloc(bytes, Buffer.from(block.buffer));
}
