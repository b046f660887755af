import path from "node:path";
import { z } from "zod";
import { readJsonIfExists } from "../files.js";
import { ModelError } from "../modelError.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import type { CheckpointConfig } from "./config.js";
import type { CheckpointSource } from "./source.js";

/** What a model says about itself: `pipo.json` in its directory, or defaults from its other files. */
export interface ModelCard {
  readonly name: string;
  readonly version: string;
  /** `family` of the model's config. */
  readonly family: string;
  /** Name of a fill-in-the-middle format; undefined where no file names one, so that family and vocabulary decide. */
  readonly fimFormat: string | undefined;
  /** Gate threshold that the model was tuned for. */
  readonly defaultThreshold: number;
  /** Threshold of the pre-gate; 0: off. */
  readonly preGateThreshold: number;
  /** Undefined only for plain checkpoints that name none. */
  readonly padTokenId: number | undefined;
  readonly stopTokenIds: readonly number[];
  /** Positions that a session should hold: pairs in pair mode, tokens in plain mode. */
  readonly contextPairs: number;
  /** Most tokens after the cursor that the model was trained with; undefined where nothing is said. */
  readonly maxSuffixTokens: number | undefined;
  /** Lines of which the model is less sure, 0 to 1, are better not shown; undefined where nothing was measured. */
  readonly minConfidence?: number | undefined;
  /** A Jinja template for chats; undefined where the model has none. */
  readonly chatTemplate: string | undefined;
  readonly license: string;
}

export const cardFileName = "pipo.json";

const id = z.number().int().min(0);
/** Fewer positions hold no prompt with room for an answer. */
const leastContextPairs = 16;
const cardSchema = z.object({
  name: z.string().min(1),
  version: z.string().nullish(),
  fimFormat: z.string().min(1).max(40).nullish(),
  defaultThreshold: z.number().nullish(),
  preGateThreshold: z.number().nullish(),
  padTokenId: id.nullish(),
  stopTokenIds: z.array(id).max(64).nullish(),
  contextPairs: z.number().int().min(leastContextPairs).nullish(),
  maxSuffixTokens: z.number().int().min(0).nullish(),
  minConfidence: z.number().min(0).max(1).nullish(),
  license: z.string().nullish(),
});
type CardFile = z.infer<typeof cardSchema>;

/** The card file of a directory as it stands there; undefined where there is none. */
export function readCardFile(directory: string): Promise<CardFile | undefined> {
  return readJsonIfExists(path.join(directory, cardFileName), cardSchema);
}

const qwenVocabSize = 248320;
const qwenRealVocabSize = 248077;
const qwenPadTokenId = 248044;
/** The gate that the paper evaluates with. */
const paperThreshold = 0.95;
/** Enough for a completion prompt; a chat asks for more itself. */
const defaultContextPairs = 4096;

/**
 * Tokens after which nothing of a text comes, by their names: its end, the end of a turn, and what begins another file.
 * They count where the vocabulary has them as control tokens.
 */
const endOfGeneration: readonly string[] = [
  "<|im_end|>",
  "<|endoftext|>",
  "<|end_of_text|>",
  "<|eot_id|>",
  "<|eom_id|>",
  "<|end|>",
  "</s>",
  "<EOT>",
  "<｜end▁of▁sentence｜>",
  "<[end▁of▁sentence]>",
  "<|fim_pad|>",
  "<|repo_name|>",
  "<|file_sep|>",
  "<fim_pad>",
  "<repo_name>",
  "<reponame>",
  "<file_sep>",
  "<[fim-pad]>",
];

/** Fills in what `pipo.json` in `directory` leaves open. `tokenizer` is undefined where the model has none. */
export async function readCard(
  directory: string | undefined,
  { config, about, place }: Pick<CheckpointSource, "config" | "about" | "place">,
  tokenizer: Tokenizer | undefined,
): Promise<ModelCard> {
  const file = directory === undefined ? undefined : await readCardFile(directory);
  return {
    name: file?.name ?? about.name,
    version: file?.version ?? "unknown",
    family: config.family,
    fimFormat: file?.fimFormat ?? undefined,
    defaultThreshold: file?.defaultThreshold ?? paperThreshold,
    preGateThreshold: file?.preGateThreshold ?? 0,
    padTokenId: file?.padTokenId ?? defaultPad(config, tokenizer),
    stopTokenIds: checkedStopIds(file?.stopTokenIds ?? defaultStopIds(about.endIds, tokenizer), config, place),
    contextPairs: Math.min(file?.contextPairs ?? defaultContextPairs, config.maxPositions),
    maxSuffixTokens: file?.maxSuffixTokens ?? undefined,
    minConfidence: file?.minConfidence ?? undefined,
    chatTemplate: about.chatTemplate,
    license: file?.license ?? about.license ?? "unknown",
  };
}

/** PAD of a model that decodes in pairs; `badConfig` where no file gives it or it is no row of the vocabulary. */
export function requirePad(card: ModelCard, vocabSize: number, place: string): number {
  const pad = card.padTokenId;
  if (pad !== undefined && pad < vocabSize) return pad;
  const why = pad === undefined ? "is given by no file" : `is ${pad}, beyond vocab_size ${vocabSize}`;
  throw new ModelError(
    "badConfig",
    `${place}: the id of PAD ${why}. Add padTokenId to ${cardFileName} or pad_token_id to config.json.`,
  );
}

/** Repacked Qwen checkpoints name other pads than the one that PIPO was trained with, so the id is pinned there. */
function defaultPad(config: CheckpointConfig, tokenizer: Tokenizer | undefined): number | undefined {
  if (config.vocabSize === qwenVocabSize) return qwenPadTokenId;
  return config.padTokenId ?? tokenizer?.idOf("<|endoftext|>");
}

function defaultStopIds(endIds: readonly number[], tokenizer: Tokenizer | undefined): readonly number[] {
  const named = endOfGeneration.map((name) => tokenizer?.idOf(name)).filter((stop) => stop !== undefined);
  const control = named.filter((stop) => tokenizer?.isSpecial(stop));
  const ends = [...endIds, tokenizer?.eosId, ...control];
  return [...new Set(ends.filter((stop) => stop !== undefined))];
}

/** An id without a row would make every request fail. */
function checkedStopIds(
  ids: readonly number[],
  { vocabSize }: CheckpointConfig,
  place: string,
): readonly number[] {
  const beyond = ids.find((stop) => stop >= vocabSize);
  if (beyond === undefined) return ids;
  throw new ModelError(
    "badConfig",
    `${place}: the token ${beyond} is to end a text, but the vocabulary has ${vocabSize}. Correct ${cardFileName} or generation_config.json, or fetch the model again.`,
  );
}

/** Ids from here on are padding rows of the output matrix. */
export function realVocabSize(
  { config, configFile, fieldNames }: Pick<CheckpointSource, "config" | "configFile" | "fieldNames">,
  tokenizer: Tokenizer | undefined,
): number {
  if (tokenizer && tokenizer.vocabSize > config.vocabSize) {
    throw new ModelError(
      "badConfig",
      `${path.dirname(configFile)}: the tokenizer has ids up to ${tokenizer.vocabSize - 1}, but ${path.basename(configFile)} says ${fieldNames.vocabSize} ${config.vocabSize}. Use the tokenizer of this model.`,
    );
  }
  const qwen = config.vocabSize === qwenVocabSize ? qwenRealVocabSize : undefined;
  return config.realVocabSize ?? tokenizer?.vocabSize ?? qwen ?? config.vocabSize;
}
