import { stat } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { ioError, isMissing, messageOf, parseJson, readJsonIfExists, readText } from "../files.js";
import { plainText } from "../plainText.js";
import { literalPattern, translatePattern } from "./splitPattern.js";
import { gpt2Pattern } from "./splits.js";
import {
  badTokenizer,
  checkVocabulary,
  isControlToken,
  maxTokens,
  type TokenizerSource,
  unsupportedTokenizer,
  type Vocabulary,
} from "./vocabulary.js";

const fileName = "tokenizer.json";
const configFileName = "tokenizer_config.json";

const documentSchema = z.looseObject({
  added_tokens: z
    .array(z.looseObject({ id: z.number().int().min(0), content: z.string(), special: z.boolean().default(false) }))
    .nullish(),
  normalizer: z.unknown(),
  pre_tokenizer: z.unknown(),
  post_processor: z.unknown(),
  decoder: z.unknown(),
  // The vocabulary and the merges are large: they are checked by hand, once.
  model: z.looseObject({
    type: z.string(),
    vocab: z.unknown(),
    merges: z.unknown(),
    ignore_merges: z.boolean().nullish(),
    byte_fallback: z.boolean().nullish(),
    continuing_subword_prefix: z.string().nullish(),
    end_of_word_suffix: z.string().nullish(),
  }),
});
type TokenizerDocument = z.infer<typeof documentSchema>;

const namedToken = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();
const configSchema = z.looseObject({
  eos_token: namedToken,
  bos_token: namedToken,
  add_bos_token: z.boolean().nullish(),
});
type TokenizerConfig = z.infer<typeof configSchema>;

/** The tokenizer of a directory in Hugging Face's layout; undefined where there is no `tokenizer.json`. */
export async function tokenizerSource(directory: string): Promise<TokenizerSource | undefined> {
  const file = path.join(directory, fileName);
  const facts = await factsOf(file);
  if (facts === undefined) return undefined;
  const configFacts = await factsOf(path.join(directory, configFileName));
  return {
    file,
    fingerprint: `${fileName} ${facts}, ${configFileName} ${configFacts ?? "missing"}`,
    vocabulary: () => vocabularyFromTokenizerJson(directory),
  };
}

async function factsOf(file: string): Promise<string | undefined> {
  try {
    const { size, mtimeNs } = await stat(file, { bigint: true });
    return `${size} ${mtimeNs}`;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw ioError(file, error);
  }
}

/** Reads `tokenizer.json` and `tokenizer_config.json`. Throws ModelError that names the file and the field. */
export async function vocabularyFromTokenizerJson(directory: string): Promise<Vocabulary> {
  const file = path.join(directory, fileName);
  const document = parseJson(file, await readText(file), documentSchema);
  const config = (await readJsonIfExists(path.join(directory, configFileName), configSchema)) ?? {};
  requireByteLevelBpe(document, file);
  const added = (document.added_tokens ?? []).map(({ id, content, special }) => ({
    id,
    content,
    special: isControlToken(content, special),
  }));
  const tokens = readTokens(document.model.vocab, file);
  for (const { id } of added) {
    if (id >= maxTokens) throw badTokenizer(file, `added_tokens has the id ${id}, more than ${maxTokens}`);
    if (id < tokens.length) tokens[id] = undefined;
  }
  const size = added.reduce((most, { id }) => Math.max(most, id + 1), tokens.length);
  const idOf = (name: string) => added.find(({ content }) => content === name)?.id ?? indexOf(tokens, name);
  return checkVocabulary({
    file,
    tokens,
    merges: readMerges(document.model.merges, file),
    added,
    size,
    split: readSplit(document.pre_tokenizer, file),
    nfc: readsNfc(document.normalizer, file),
    ignoreMerges: document.model.ignore_merges ?? false,
    bosId: readBos(document, config, idOf),
    eosId: config.eos_token == null ? undefined : idOf(contentOf(config.eos_token)),
  });
}

function requireByteLevelBpe({ model, decoder }: TokenizerDocument, file: string): void {
  const only = "only byte-level BPE is supported";
  if (model.type !== "BPE") throw unsupportedTokenizer(file, `it is a ${plainText(model.type)} tokenizer; ${only}`);
  if (model.byte_fallback === true || !JSON.stringify(decoder ?? null).includes('"ByteLevel"')) {
    throw unsupportedTokenizer(file, `it is a SentencePiece tokenizer; ${only}`);
  }
  if (model.continuing_subword_prefix || model.end_of_word_suffix) {
    throw unsupportedTokenizer(file, `its tokens are marked inside or at the end of words; ${only}`);
  }
}

function readTokens(vocab: unknown, file: string): (string | undefined)[] {
  if (typeof vocab !== "object" || vocab === null || Array.isArray(vocab)) {
    throw badTokenizer(file, "model.vocab is no object");
  }
  const tokens: (string | undefined)[] = [];
  for (const [token, id] of Object.entries(vocab)) {
    if (!Number.isInteger(id) || id < 0 || id >= maxTokens) {
      throw badTokenizer(file, `model.vocab gives the token ${plainText(token)} no id below ${maxTokens}`);
    }
    while (tokens.length <= id) tokens.push(undefined);
    if (tokens[id] !== undefined) throw badTokenizer(file, `model.vocab gives the id ${id} twice`);
    tokens[id] = token;
  }
  return tokens;
}

/** Merges are written as `"a b"`, or as `["a", "b"]` by newer versions of the library. */
function readMerges(merges: unknown, file: string): readonly string[] {
  if (!Array.isArray(merges)) throw badTokenizer(file, "model.merges is no list");
  return merges.map((merge: unknown, rank) => {
    if (typeof merge === "string") return merge;
    const isPair = Array.isArray(merge) && merge.length === 2 && merge.every((part) => typeof part === "string");
    if (isPair) return merge.join(" ");
    throw badTokenizer(file, `model.merges has an entry ${rank} that is no pair of tokens`);
  });
}

const stepSchema = z.looseObject({
  type: z.string(),
  pattern: z.union([z.object({ Regex: z.string() }), z.object({ String: z.string().min(1) })]).optional(),
  behavior: z.string().optional(),
  invert: z.boolean().optional(),
  individual_digits: z.boolean().optional(),
  add_prefix_space: z.boolean().optional(),
  use_regex: z.boolean().optional(),
});
type Step = z.infer<typeof stepSchema>;
const steps = z.array(stepSchema).max(16).optional();
const sequenceSchema = stepSchema.extend({ pretokenizers: steps, normalizers: steps });

function readSplit(preTokenizer: unknown, file: string): readonly string[] {
  const steps = stepsOf(preTokenizer, "pre_tokenizer", file);
  if (steps.at(-1)?.type !== "ByteLevel") {
    throw unsupportedTokenizer(file, "pre_tokenizer does not end with ByteLevel; only byte-level BPE is supported");
  }
  return steps.flatMap((step) => patternOf(step, file));
}

/** The steps of a pipeline: one, or those of a sequence. */
function stepsOf(pipeline: unknown, field: "pre_tokenizer" | "normalizer", file: string): readonly Step[] {
  if (pipeline === null || pipeline === undefined) return [];
  const parsed = sequenceSchema.safeParse(pipeline);
  if (!parsed.success) throw badTokenizer(file, `${field} has an unexpected form`);
  const { type, pretokenizers, normalizers } = parsed.data;
  return type === "Sequence" ? (pretokenizers ?? normalizers ?? []) : [parsed.data];
}

function patternOf(step: Step, file: string): readonly string[] {
  const translated = (source: string): readonly string[] => {
    try {
      return [translatePattern(source)];
    } catch (error) {
      const why = plainText(messageOf(error), 200);
      throw unsupportedTokenizer(file, `the pattern of pre_tokenizer cannot be used: ${why}`);
    }
  };
  switch (step.type) {
    case "Split":
      if (step.behavior !== "Isolated" || step.invert === true || step.pattern === undefined) break;
      return translated("Regex" in step.pattern ? step.pattern.Regex : literalPattern(step.pattern.String));
    case "Digits":
      return translated(step.individual_digits === true ? String.raw`\p{N}` : String.raw`\p{N}+`);
    case "ByteLevel":
      if (step.add_prefix_space === true) break;
      return step.use_regex === false ? [] : translated(gpt2Pattern);
  }
  throw unsupportedTokenizer(file, `pre_tokenizer has a step ${plainText(step.type)} of a form that is not supported`);
}

function readsNfc(normalizer: unknown, file: string): boolean {
  const steps = stepsOf(normalizer, "normalizer", file);
  const other = steps.find(({ type }) => type !== "NFC");
  if (other) throw unsupportedTokenizer(file, `normalizer is ${plainText(other.type)}; only NFC is supported`);
  return steps.length > 0;
}

/** A template that begins with a token, or the word of the config. */
function readBos(
  { post_processor }: TokenizerDocument,
  config: TokenizerConfig,
  idOf: (name: string) => number | undefined,
): number | undefined {
  const parsed = processorSchema.safeParse(post_processor);
  const processors = parsed.success ? [parsed.data, ...(parsed.data.processors ?? [])] : [];
  const first = processors.find(({ type }) => type === "TemplateProcessing")?.single?.[0]?.SpecialToken?.id;
  if (first !== undefined) return idOf(first);
  return config.add_bos_token === true && config.bos_token != null ? idOf(contentOf(config.bos_token)) : undefined;
}

const templateSchema = z.looseObject({
  type: z.string(),
  single: z.array(z.looseObject({ SpecialToken: z.looseObject({ id: z.string() }).optional() })).optional(),
});
const processorSchema = templateSchema.extend({ processors: z.array(templateSchema).optional() });

function contentOf(token: NonNullable<z.infer<typeof namedToken>>): string {
  return typeof token === "string" ? token : token.content;
}

function indexOf(tokens: readonly (string | undefined)[], name: string): number | undefined {
  const id = tokens.indexOf(name);
  return id < 0 ? undefined : id;
}
