import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import path from "node:path";
import type { ModelConfig, ModelDescription } from "../engine/addon.js";
import { adapterConfigName, applyAdapter, findBase, readAdapter, type Adapter } from "./adapters.js";
import { readCard, realVocabSize, requirePad, type ModelCard } from "./card.js";
import { readCheckpoint, type Checkpoint } from "./checkpoint.js";
import { checkLayout, type Layout } from "./tensorLayout.js";
import { loadTokenizer, type Tokenizer } from "../tokenizer/tokenizer.js";
import { tokenizerSource } from "../tokenizer/tokenizerJson.js";

/** A model directory, read and checked, ready for an engine. */
export interface DescribedModel {
  readonly directory: string;
  readonly description: ModelDescription;
  readonly card: ModelCard;
  /** Undefined where the directory has no `tokenizer.json`: then ids go in and ids come out. */
  readonly tokenizer: Tokenizer | undefined;
}

/**
 * Reads a checkpoint directory, or an adapter directory whose base is on this machine, or a base with
 * `adapter`. Throws ModelError with a message that names what is wrong.
 */
export async function describeModel(directory: string, adapterDirectory?: string): Promise<DescribedModel> {
  const { base, adapter } = await resolveParts(directory, adapterDirectory);
  const [checkpoint, tokenizer] = await Promise.all([readCheckpoint(base), readTokenizer(base, adapter)]);
  const tensors = adapter ? applyAdapter(checkpoint.tensors, adapter) : checkpoint.tensors;
  const { config, configFile } = checkpoint;
  const layout = checkLayout({ config, configFile, tensors });
  const card = await readCard(adapter?.directory ?? base, config, tokenizer);
  const description: ModelDescription = {
    name: card.name,
    config: toModelConfig(checkpoint, layout, card, tokenizer),
    tensors: layout.names.map((name) => ({ name, ...tensors.get(name)! })),
    fingerprint: fingerprint(checkpoint, adapter),
  };
  return { directory, description, card, tokenizer };
}

async function resolveParts(
  directory: string,
  adapterDirectory?: string,
): Promise<{ base: string; adapter?: Adapter }> {
  if (adapterDirectory !== undefined) return { base: directory, adapter: await readAdapter(adapterDirectory) };
  const isAdapter = await isFile(path.join(directory, adapterConfigName));
  if (!isAdapter || (await isFile(path.join(directory, "config.json")))) return { base: directory };
  const adapter = await readAdapter(directory);
  return { base: await findBase(adapter), adapter };
}

async function isFile(file: string): Promise<boolean> {
  return (await stat(file).catch(() => undefined))?.isFile() ?? false;
}

/** An adapter may bring its own tokenizer. */
async function readTokenizer(base: string, adapter: Adapter | undefined): Promise<Tokenizer | undefined> {
  const source = (adapter && (await tokenizerSource(adapter.directory))) ?? (await tokenizerSource(base));
  return source && loadTokenizer(source);
}

function toModelConfig(
  checkpoint: Checkpoint,
  layout: Layout,
  card: ModelCard,
  tokenizer: Tokenizer | undefined,
): ModelConfig {
  const { config, directory } = checkpoint;
  const { compressor, preGate } = layout;
  return {
    family: "qwen3_5",
    vocabSize: config.vocabSize,
    realVocabSize: realVocabSize(config, tokenizer, directory),
    hiddenSize: config.hiddenSize,
    intermediateSize: config.intermediateSize,
    layerTypes: config.layerTypes,
    numAttentionHeads: config.numAttentionHeads,
    numKeyValueHeads: config.numKeyValueHeads,
    headDim: config.headDim,
    normWeight: "zeroCentred",
    rmsNormEps: config.rmsNormEps,
    queryKeyNorm: true,
    outputGate: true,
    attentionBias: false,
    rotaryDim: config.rotaryDim,
    ropeTheta: config.ropeTheta,
    linearConvKernelDim: config.linearConvKernelDim,
    linearKeyHeadDim: config.linearKeyHeadDim,
    linearValueHeadDim: config.linearValueHeadDim,
    linearNumKeyHeads: config.linearNumKeyHeads,
    linearNumValueHeads: config.linearNumValueHeads,
    tieWordEmbeddings: layout.tieWordEmbeddings,
    maxPositions: config.maxPositions,
    ...(compressor && { pipo: { compressor, padTokenId: requirePad(card, config.vocabSize, directory), preGate } }),
  };
}

/** Changes whenever a source file does; independent of the weight format and of where the directory lies. */
function fingerprint(checkpoint: Checkpoint, adapter: Adapter | undefined): string {
  const hash = createHash("sha256");
  hash
    .update(checkpoint.configText)
    .update("\0")
    .update(adapter?.configText ?? "");
  for (const file of [...checkpoint.files, ...(adapter?.files ?? [])]) {
    hash.update(`\0${path.basename(file.file)}\0${file.size}\0${file.mtimeNs}`);
  }
  return hash.digest("hex");
}
