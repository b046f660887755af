import { plainText } from "../plainText.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { controlTokens, type FimFamily, fimFamilies } from "./fimFamilies.js";

/** What a model says of itself. */
export interface FimHints {
  readonly name: string;
  /** Kind of model as its files name it, for example `qwen2`. */
  readonly family?: string | undefined;
  /** The row that the model's own card names. */
  readonly fimFormat?: string | undefined;
}

/**
 * The row of {@link fimFamilies} for a model, or in words why there is none. `wanted` is what the user set: a row's name, or
 * `auto` for what the card says, else for what the model's name and family say.
 */
export function chooseFim(hints: FimHints, tokenizer: Pick<Tokenizer, "idOf">, wanted: string): FimFamily | string {
  const model = plainText(hints.name);
  const named = wanted === "auto" ? hints.fimFormat : wanted;
  if (named !== undefined) return namedFamily(model, named, tokenizer);
  const trained = fimFamilies.filter(({ models }) => models?.test(hints.name) || models?.test(hints.family ?? ""));
  const [first] = trained;
  if (first === undefined) {
    return (
      `${model} is not known to be trained for fill-in-the-middle. ` +
      "Choose a model for code, or name its format in pipo.model.fimFormat."
    );
  }
  return trained.find((family) => missingToken(family, tokenizer) === undefined) ?? lacks(model, first, tokenizer);
}

function namedFamily(model: string, name: string, tokenizer: Pick<Tokenizer, "idOf">): FimFamily | string {
  const family = fimFamilies.find((candidate) => candidate.name === name);
  if (family === undefined) {
    const known = fimFamilies.map((candidate) => candidate.name).join(", ");
    return `${model} names the fill-in-the-middle format "${plainText(name)}". Known are ${known}: name one in pipo.model.fimFormat.`;
  }
  return missingToken(family, tokenizer) === undefined ? family : lacks(model, family, tokenizer);
}

function missingToken(family: FimFamily, tokenizer: Pick<Tokenizer, "idOf">): string | undefined {
  return controlTokens(family).find((token) => tokenizer.idOf(token) === undefined);
}

function lacks(model: string, family: FimFamily, tokenizer: Pick<Tokenizer, "idOf">): string {
  return (
    `The tokenizer of ${model} has no token ${missingToken(family, tokenizer)}, which prompts of the format ` +
    `"${family.name}" need. Choose a model that was trained for fill-in-the-middle, or another pipo.model.fimFormat.`
  );
}
