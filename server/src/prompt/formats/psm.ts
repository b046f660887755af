import type { PromptFormat } from "../format.js";

/** Prefix first, as the Qwen coder models were trained. Each typed letter moves the suffix, which is then computed again. */
export const psm: PromptFormat = {
  name: "psm",
  layout: ({ prefix, suffix }) => [
    { token: "<|fim_prefix|>" },
    { text: prefix },
    { token: "<|fim_suffix|>" },
    { text: suffix },
    { token: "<|fim_middle|>" },
  ],
  stopTokens: [
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
    "<|fim_pad|>",
    "<|file_sep|>",
    "<|repo_name|>",
  ],
};
