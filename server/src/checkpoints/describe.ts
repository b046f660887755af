import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import path from "node:path";
import type { ModelConfig, ModelDescription, TensorRef } from "../engine/addon.js";
import { ModelError } from "../modelError.js";
import { loadTokenizer, type Tokenizer } from "../tokenizer/tokenizer.js";
import { tokenizerSource } from "../tokenizer/tokenizerJson.js";
import type { TokenizerSource } from "../tokenizer/vocabulary.js";
import { adapterConfigName, applyAdapter, findBase, readAdapter, type Adapter } from "./adapters.js";
import { readCard, realVocabSize, requirePad, type ModelCard } from "./card.js";
import { checkTensors, decideLayout, type Layout, type TensorTable } from "./layout.js";
import { openCheckpoint } from "./place.js";
import type { CheckpointSource } from "./source.js";

/** A model, read and checked, ready for an engine. */
export interface DescribedModel {
  /** Where it lies: what was given. */
  readonly place: string;
  readonly format: CheckpointSource["format"];
  readonly description: ModelDescription;
  readonly card: ModelCard;
  /** Undefined where the model has none, or one that cannot be used: then ids go in and ids come out. */
  readonly tokenizer: Tokenizer | undefined;
  /** Why there is no tokenizer, and what to do; undefined where there is one. */
  readonly tokenizerProblem: ModelError | undefined;
}

export interface DescribeOptions {
  /** The engine's table of tensors. */
  readonly tensorTable: TensorTable;
  /** A PEFT adapter directory over the model. */
  readonly adapter?: string | undefined;
  /** Where the compact table of the tokenizer is kept between starts; absent: it is built each time. */
  readonly tokenTableFile?: string | undefined;
}

/**
 * Reads a checkpoint directory, a GGUF file or a directory with one, an adapter directory whose base is on this machine,
 * or a base with `adapter`. Throws ModelError with a message that names what is wrong.
 */
export async function describeModel(place: string, options: DescribeOptions): Promise<DescribedModel> {
  const { base, adapter } = await resolveParts(place, options.adapter);
  const source = await openCheckpoint(base);
  const { tokenizer, tokenizerProblem } = await openTokenizer(source, adapter, options.tokenTableFile);
  const tensors = adapter ? applyAdapter(source.tensors, adapter) : source.tensors;
  const input = { ...source, tensors };
  const layout = decideLayout(input);
  const realSize = realVocabSize(source, tokenizer);
  const card = await readCard(cardDirectory(base, source, adapter), source, tokenizer);
  const config = toModelConfig(source, layout, card, realSize);
  const names = checkTensors(input, config, options.tensorTable);
  const description: ModelDescription = {
    name: card.name,
    config,
    tensors: names.map((name) => ({ name, ...(tensors.get(name) as TensorRef) })),
    fingerprint: fingerprint(source, adapter),
  };
  return { place, format: source.format, description, card, tokenizer, tokenizerProblem };
}

async function resolveParts(
  place: string,
  adapterDirectory?: string,
): Promise<{ base: string; adapter?: Adapter }> {
  if (adapterDirectory !== undefined) return { base: place, adapter: await readAdapter(adapterDirectory) };
  const isAdapter = await isFile(path.join(place, adapterConfigName));
  if (!isAdapter || (await isFile(path.join(place, "config.json")))) return { base: place };
  const adapter = await readAdapter(place);
  return { base: await findBase(adapter), adapter };
}

async function isFile(file: string): Promise<boolean> {
  return (await stat(file).catch(() => undefined))?.isFile() ?? false;
}

/** A GGUF file given by itself has no card beside it; one that is alone in a directory may have. */
function cardDirectory(base: string, { place, format }: CheckpointSource, adapter?: Adapter): string | undefined {
  if (adapter) return adapter.directory;
  return format === "gguf" && path.resolve(place) === path.resolve(base) ? undefined : base;
}

type OpenedTokenizer = Pick<DescribedModel, "tokenizer" | "tokenizerProblem">;

/** An adapter may bring its own tokenizer. Of a kind that is not supported the model is still good for ids. */
async function openTokenizer(
  source: CheckpointSource,
  adapter: Adapter | undefined,
  tableFile: string | undefined,
): Promise<OpenedTokenizer> {
  const own: TokenizerSource | undefined = adapter && (await tokenizerSource(adapter.directory));
  const chosen = own ?? source.tokenizer;
  if (!chosen) return { tokenizer: undefined, tokenizerProblem: noTokenizer(source) };
  try {
    return { tokenizer: await loadTokenizer(chosen, tableFile), tokenizerProblem: undefined };
  } catch (error) {
    if (!(error instanceof ModelError) || error.code !== "unsupported") throw error;
    return { tokenizer: undefined, tokenizerProblem: error };
  }
}

function noTokenizer({ format, place }: CheckpointSource): ModelError {
  return format === "gguf"
    ? new ModelError("badFile", `${place} has no tokenizer. Choose another file of this model.`)
    : new ModelError(
        "io",
        `${path.join(place, "tokenizer.json")} does not exist. Copy the model's tokenizer files beside its weights.`,
      );
}

function toModelConfig(
  source: CheckpointSource,
  { compressor, preGate, tieWordEmbeddings }: Layout,
  card: ModelCard,
  realSize: number,
): ModelConfig {
  const { compressorType, declaresPipo, padTokenId, tieWordEmbeddings: declaredTie, ...architecture } = source.config;
  const pad = compressor && requirePad(card, architecture.vocabSize, source.place);
  return {
    ...architecture,
    realVocabSize: realSize,
    tieWordEmbeddings,
    ...(compressor && pad !== undefined && { pipo: { compressor, padTokenId: pad, ...(preGate && { preGate }) } }),
  };
}

/** Changes whenever a source file does; independent of the weight format and of where the model lies. */
function fingerprint({ configText, files }: CheckpointSource, adapter: Adapter | undefined): string {
  const hash = createHash("sha256");
  hash
    .update(configText)
    .update("\0")
    .update(adapter?.configText ?? "");
  for (const file of [...files, ...(adapter?.files ?? [])]) {
    hash.update(`\0${path.basename(file.file)}\0${file.size}\0${file.mtimeNs}`);
  }
  return hash.digest("hex");
}
