import path from "node:path";
import { z } from "zod";
import type { CheckpointConfig } from "./config.js";
import { readJsonIfExists } from "../files.js";
import { ModelError } from "../modelError.js";
import type { TokenTable } from "../tokenizer/tokenTable.js";

/** What a model says about itself for completion: `pipo.json` in its directory, or defaults from the other files. */
export interface ModelCard {
  readonly name: string;
  readonly version: string;
  /** Row of the table of fill-in-the-middle formats that the model names itself; undefined where its name has to do. */
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
  readonly license: string;
}

export const cardFileName = "pipo.json";

const id = z.number().int().min(0);
const cardSchema = z.object({
  name: z.string().min(1),
  version: z.string().nullish(),
  fimFormat: z.string().min(1).max(40).nullish(),
  defaultThreshold: z.number().nullish(),
  preGateThreshold: z.number().nullish(),
  padTokenId: id.nullish(),
  stopTokenIds: z.array(id).nullish(),
  contextPairs: z.number().int().positive().nullish(),
  maxSuffixTokens: z.number().int().min(0).nullish(),
  minConfidence: z.number().min(0).max(1).nullish(),
  license: z.string().nullish(),
});
type CardFile = z.infer<typeof cardSchema>;

/** The card file of a directory as it stands there; undefined where there is none. */
export function readCardFile(directory: string): Promise<CardFile | undefined> {
  return readJsonIfExists(path.join(directory, cardFileName), cardSchema);
}

const generationSchema = z.object({ eos_token_id: z.union([id, z.array(id)]).nullish() });

const qwenVocabSize = 248320;
const qwenRealVocabSize = 248077;
const qwenPadTokenId = 248044;
/** The gate that the paper evaluates with. */
const paperThreshold = 0.95;
/** Enough for a completion prompt; a chat asks for more itself. */
const defaultContextPairs = 4096;

/** Fills in what `pipo.json` leaves open. `tokens` is undefined where the directory has no tokenizer. */
export async function readCard(
  directory: string,
  config: CheckpointConfig,
  tokens: TokenTable | undefined,
): Promise<ModelCard> {
  const file = await readCardFile(directory);
  return {
    name: file?.name ?? path.basename(path.resolve(directory)),
    version: file?.version ?? "unknown",
    fimFormat: file?.fimFormat ?? undefined,
    defaultThreshold: file?.defaultThreshold ?? paperThreshold,
    preGateThreshold: file?.preGateThreshold ?? 0,
    padTokenId: file?.padTokenId ?? defaultPad(config, tokens),
    stopTokenIds: file?.stopTokenIds ?? (await defaultStopIds(directory, tokens)),
    contextPairs: Math.min(file?.contextPairs ?? defaultContextPairs, config.maxPositions),
    maxSuffixTokens: file?.maxSuffixTokens ?? undefined,
    minConfidence: file?.minConfidence ?? undefined,
    license: file?.license ?? "unknown",
  };
}

/** PAD of a model that decodes in pairs; `badConfig` where no file gives it or it is no row of the vocabulary. */
export function requirePad(card: ModelCard, vocabSize: number, directory: string): number {
  const pad = card.padTokenId;
  if (pad !== undefined && pad < vocabSize) return pad;
  const why = pad === undefined ? "is given by no file" : `is ${pad}, beyond vocab_size ${vocabSize}`;
  throw new ModelError(
    "badConfig",
    `${directory}: the id of PAD ${why}. Add padTokenId to ${cardFileName} or pad_token_id to config.json.`,
  );
}

/** Repacked Qwen checkpoints name other pads than the one that PIPO was trained with, so the id is pinned there. */
function defaultPad(config: CheckpointConfig, tokens: TokenTable | undefined): number | undefined {
  if (config.vocabSize === qwenVocabSize) return qwenPadTokenId;
  return config.padTokenId ?? tokens?.idOf("<|endoftext|>");
}

async function defaultStopIds(directory: string, tokens: TokenTable | undefined): Promise<readonly number[]> {
  const generation = await readJsonIfExists(path.join(directory, "generation_config.json"), generationSchema);
  const eos = generation?.eos_token_id;
  const named = [tokens?.eosToken, "<|im_end|>"].map((name) => (name ? tokens?.idOf(name) : undefined));
  const ids = [...(eos == null ? [] : [eos].flat()), ...named];
  return [...new Set(ids.filter((value) => value !== undefined))];
}

/** Ids from here on are padding rows of the output matrix. */
export function realVocabSize(config: CheckpointConfig, tokens: TokenTable | undefined, directory: string): number {
  if (tokens && tokens.size > config.vocabSize) {
    throw new ModelError(
      "badConfig",
      `${directory}: the tokenizer has ids up to ${tokens.size - 1}, but config.json says vocab_size ${config.vocabSize}. Use the tokenizer of this model.`,
    );
  }
  const qwen = config.vocabSize === qwenVocabSize ? qwenRealVocabSize : undefined;
  return config.realVocabSize ?? tokens?.size ?? qwen ?? config.vocabSize;
}
