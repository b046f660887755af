/** One piece of a fill-in-the-middle prompt: a part of the document, or a control token by its name. */
export type FimPiece = "fileName" | "prefix" | "suffix" | { readonly token: string };

/** How a family of models was trained to fill in the middle. */
export interface FimFamily {
  readonly name: string;
  /** Names of models and families that were trained so; none where only a model's own card can say it. */
  readonly models?: RegExp;
  /** Everything of the prompt, in order. What the model writes behind it is the middle. */
  readonly pieces: readonly FimPiece[];
  /** Control tokens that end a middle, where the vocabulary has them, beside the model's own stop tokens. */
  readonly stopTokens: readonly string[];
  /**
   * Whether a single space before the cursor is left out for the model to write itself. Most tokens of words begin with
   * their space: a model that was never trained on cuts at any character expects behind a lone space the few that do not.
   */
  readonly holdsBackSpace: boolean;
  /** Tokens after the cursor that are worth their time at every keystroke, where the model's card says nothing. */
  readonly suffixTokens: number;
}

const token = (name: string): FimPiece => ({ token: name });

/** Tokens that no middle holds, whatever the family: the end of a document or turn, and what opens a thought or a call. */
const endsEverywhere = [
  "<|endoftext|>",
  "<|end_of_text|>",
  "<|im_start|>",
  "<|im_end|>",
  "<think>",
  "</think>",
  "<tool_call>",
  "</tool_call>",
];

const qwenTokens = ["prefix", "suffix", "middle", "pad"].map((part) => `<|fim_${part}|>`);
const qwenEnds = [...qwenTokens, "<|repo_name|>", "<|file_sep|>", "<|file_separator|>", ...endsEverywhere];
const starCoderTokens = ["prefix", "suffix", "middle", "pad"].map((part) => `<fim_${part}>`);
const starCoderEnds = [...starCoderTokens, "<file_sep>", "<repo_name>", "<filename>", "<reponame>", ...endsEverywhere];
const deepSeekTokens = ["begin", "hole", "end"].map((part) => `<｜fim▁${part}｜>`);

/**
 * What 128 characters of text have. On 120 cursors more text behind the cursor made no more suggestions right; where it
 * stands behind the text before the cursor, it is computed again at each keystroke.
 */
const shortSuffix = 40;
/** Suffix first: computed once, and then it stays. */
const longSuffix = 256;

/**
 * Every way in which we ask models to fill in the middle, one row each. A row is taken for the models that were trained so;
 * that its tokens are in a vocabulary is checked, and proves no training.
 *
 * The typed part of the line always stands before the cursor's token: behind the token that announces the middle, the same
 * model got 7 % of the lines exactly right where it got 26 % in plain order.
 */
export const fimFamilies: readonly FimFamily[] = [
  {
    // Our own: the middle continues the prefix with no token between them, so prompts differ at their end only.
    name: "joined",
    pieces: [token("<|fim_suffix|>"), "suffix", token("<|fim_prefix|>"), token("<|file_sep|>"), "fileName", "prefix"],
    stopTokens: qwenEnds,
    holdsBackSpace: true,
    suffixTokens: longSuffix,
  },
  {
    name: "spm",
    pieces: [
      token("<|fim_suffix|>"),
      "suffix",
      token("<|fim_prefix|>"),
      token("<|file_sep|>"),
      "fileName",
      "prefix",
      token("<|fim_middle|>"),
    ],
    stopTokens: qwenEnds,
    holdsBackSpace: false,
    suffixTokens: longSuffix,
  },
  {
    // For Qwen3.5 the training is not published; PIPO's own checkpoints are made of it and are asked in this way.
    name: "qwen",
    models: /qwen[\d.]*[-_ ]?coder|code-?qwen|qwen[-_ ]?3[._]?[56]|code-?gemma|granite[-_ ]?4/i,
    pieces: [token("<|fim_prefix|>"), "prefix", token("<|fim_suffix|>"), "suffix", token("<|fim_middle|>")],
    stopTokens: qwenEnds,
    holdsBackSpace: false,
    suffixTokens: shortSuffix,
  },
  {
    name: "starcoder",
    models: /star-?coder|stable-?code|refact|granite/i,
    pieces: [token("<fim_prefix>"), "prefix", token("<fim_suffix>"), "suffix", token("<fim_middle>")],
    stopTokens: starCoderEnds,
    holdsBackSpace: false,
    suffixTokens: shortSuffix,
  },
  {
    name: "deepseek",
    models: /deepseek[-_ ]?coder/i,
    pieces: [token("<｜fim▁begin｜>"), "prefix", token("<｜fim▁hole｜>"), "suffix", token("<｜fim▁end｜>")],
    stopTokens: [...deepSeekTokens, "<｜end▁of▁sentence｜>", "<|EOT|>", ...endsEverywhere],
    holdsBackSpace: false,
    suffixTokens: shortSuffix,
  },
  {
    name: "mellum",
    models: /mellum/i,
    pieces: [
      token("<filename>"),
      "fileName",
      token("<fim_suffix>"),
      "suffix",
      token("<fim_prefix>"),
      "prefix",
      token("<fim_middle>"),
    ],
    stopTokens: starCoderEnds,
    holdsBackSpace: false,
    suffixTokens: longSuffix,
  },
  {
    name: "seed",
    models: /seed[-_ ]?coder|zeta[-_ ]?2/i,
    pieces: [token("<[fim-suffix]>"), "suffix", token("<[fim-prefix]>"), "prefix", token("<[fim-middle]>")],
    stopTokens: ["<[fim-suffix]>", "<[fim-prefix]>", "<[fim-middle]>", "<[end▁of▁sentence]>", ...endsEverywhere],
    holdsBackSpace: false,
    suffixTokens: longSuffix,
  },
  {
    name: "codellama",
    models: /code-?llama/i,
    pieces: [token("▁<PRE>"), "prefix", token("▁<SUF>"), "suffix", token("▁<MID>")],
    stopTokens: ["▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>", "</s>", ...endsEverywhere],
    holdsBackSpace: false,
    suffixTokens: shortSuffix,
  },
  {
    name: "codestral",
    models: /codestral/i,
    pieces: [token("[SUFFIX]"), "suffix", token("[PREFIX]"), "prefix"],
    stopTokens: ["[SUFFIX]", "[PREFIX]", "[MIDDLE]", "</s>", ...endsEverywhere],
    holdsBackSpace: false,
    suffixTokens: longSuffix,
  },
];

/** Control tokens of a family's prompt, in order. */
export function controlTokens({ pieces }: FimFamily): readonly string[] {
  return pieces.flatMap((piece) => (typeof piece === "string" ? [] : [piece.token]));
}
