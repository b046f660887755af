import path from "node:path";
import { z } from "zod";
import { parseJson, readJsonIfExists, readTextIfExists } from "../files.js";
import { ModelError } from "../modelError.js";

/** `tokenizer.json` and `tokenizer_config.json` as data: names, ids and the bytes that they stand for. */
export interface TokenTable {
  readonly file: string;
  /** The parsed `tokenizer.json`, for the library that tokenizes. */
  readonly document: TokenizerDocument;
  readonly config: TokenizerConfig;
  /** Highest id + 1, added tokens included. */
  readonly size: number;
  readonly addedTokens: readonly AddedToken[];
  readonly eosToken: string | undefined;
  idOf(token: string): number | undefined;
}

const addedTokenSchema = z.object({
  id: z.number().int().min(0),
  content: z.string().min(1),
  special: z.boolean().default(false),
});
export type AddedToken = z.infer<typeof addedTokenSchema>;

const documentSchema = z.looseObject({
  added_tokens: z.array(addedTokenSchema.loose()).default([]),
  normalizer: z.unknown(),
  pre_tokenizer: z.unknown(),
  post_processor: z.unknown(),
  decoder: z.unknown(),
  model: z.looseObject({
    type: z.string(),
    vocab: z.record(z.string(), z.number().int().min(0)),
    merges: z.array(z.unknown()),
  }),
});
export type TokenizerDocument = z.infer<typeof documentSchema>;

const configSchema = z.looseObject({
  eos_token: z.union([z.string(), z.looseObject({ content: z.string() })]).nullish(),
});
export type TokenizerConfig = z.infer<typeof configSchema>;

/** Reads the tokenizer files of a directory; undefined where there is no `tokenizer.json`. */
export async function readTokenTable(directory: string): Promise<TokenTable | undefined> {
  const file = path.join(directory, "tokenizer.json");
  const text = await readTextIfExists(file);
  if (text === undefined) return undefined;
  const document = parseJson(file, text, documentSchema);
  requireByteLevelBpe(document, file);
  const config = (await readJsonIfExists(path.join(directory, "tokenizer_config.json"), configSchema)) ?? {};
  const vocab = new Map(Object.entries(document.model.vocab));
  for (const token of document.added_tokens) vocab.set(token.content, token.id);
  let size = 0;
  for (const id of vocab.values()) size = Math.max(size, id + 1);
  const eos = config.eos_token;
  return {
    file,
    document,
    config,
    size,
    addedTokens: document.added_tokens,
    eosToken: typeof eos === "string" ? eos : eos?.content,
    idOf: (token) => vocab.get(token),
  };
}

/** Byte-level BPE is what Qwen uses; its decoder maps each token to exact bytes, which others do not. */
function requireByteLevelBpe(document: TokenizerDocument, file: string): void {
  const decoder = JSON.stringify(document.decoder ?? null);
  if (document.model.type === "BPE" && decoder.includes('"ByteLevel"')) return;
  throw new ModelError(
    "unsupported",
    `${file} is a ${document.model.type} tokenizer; only byte-level BPE is supported.`,
  );
}
