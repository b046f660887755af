import type { PromptFormat } from "../format.js";

/**
 * Suffix first, then the text before the cursor, which the middle continues with no token between them.
 * While somebody types, consecutive prompts differ only at their end, by what was typed.
 */
export const joined: PromptFormat = {
  name: "joined",
  layout: ({ fileName, prefix, suffix }) => [
    { token: "<|fim_suffix|>" },
    { text: suffix },
    { token: "<|fim_prefix|>" },
    { token: "<|file_sep|>" },
    // Tokenized apart, as in training: the line break must not join the prefix's indentation.
    { text: `${fileName}\n` },
    { text: prefix },
  ],
  stopTokens: ["<|im_end|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>", "<|repo_name|>"],
};
