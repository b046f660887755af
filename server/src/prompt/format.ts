/** One piece of a prompt: text of the document, or a control token by its name. */
export type PromptPart = { readonly text: string } | { readonly token: string };

export interface FimParts {
  readonly fileName: string;
  readonly prefix: string;
  readonly suffix: string;
}

/** How a family of models wants fill-in-the-middle laid out. */
export interface PromptFormat {
  readonly name: string;
  /** Everything of the prompt, in order. */
  layout(parts: FimParts): readonly PromptPart[];
  /** Control tokens that end a middle, beside the model's own stop tokens. */
  readonly stopTokens: readonly string[];
}
