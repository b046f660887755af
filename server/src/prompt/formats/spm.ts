import type { PromptFormat } from "../format.js";

/**
 * Suffix first. The text before the cursor comes last, so while somebody types, consecutive prompts are
 * equal up to the place where the last one ended, and only the typed text is computed.
 */
export const spm: PromptFormat = {
  name: "spm",
  layout: ({ fileName, prefix, suffix }) => [
    { token: "<|fim_suffix|>" },
    { text: suffix },
    { token: "<|fim_prefix|>" },
    { token: "<|file_sep|>" },
    // Tokenized apart, as in training: the line break must not join the prefix's indentation.
    { text: `${fileName}\n` },
    { text: prefix },
    { token: "<|fim_middle|>" },
  ],
  stopTokens: ["<|im_end|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>", "<|repo_name|>"],
};
