import type { Family } from "../families/family.js";

/** Turns the names of GGUF's tensors into those of the engine. */
export interface TensorNames {
  /** The engine's name; a name that is not known stays as it is, and the tensor is refused later. */
  canonical(stored: string): string;
}

const topLevel: Readonly<Record<string, string>> = {
  "token_embd.weight": "model.embed_tokens.weight",
  "output_norm.weight": "model.norm.weight",
  "output.weight": "lm_head.weight",
};

export function tensorNames(family: Family): TensorNames {
  const layerTensors = new Map(Object.entries("layerTensors" in family.gguf ? family.gguf.layerTensors : {}));
  return {
    canonical(stored) {
      const match = /^blk\.(\d{1,9})\.([a-z_]+)\.(weight|bias)$/.exec(stored);
      const name = match && layerTensors.get(match[2]!);
      if (match && name) return `model.layers.${match[1]}.${name}.${match[3]}`;
      return Object.hasOwn(topLevel, stored) ? topLevel[stored]! : stored;
    },
  };
}

/** How many heads lie in the rows of a tensor that a rotation of neighbours turns; undefined for other tensors. */
export function rotatedHeads(
  canonical: string,
  { numAttentionHeads, numKeyValueHeads }: { readonly numAttentionHeads: number; readonly numKeyValueHeads: number },
): number | undefined {
  if (/\.self_attn\.q_proj\.(weight|bias)$/.test(canonical)) return numAttentionHeads;
  return /\.self_attn\.k_proj\.(weight|bias)$/.test(canonical) ? numKeyValueHeads : undefined;
}
