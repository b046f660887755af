import type { ConfigClass, Family } from "./family.js";
import { llama } from "./llama.js";
import { qwen2 } from "./qwen2.js";
import { qwen3 } from "./qwen3.js";
import { qwen3_5 } from "./qwen3_5.js";

/** One line per family. */
export const families: readonly Family[] = [qwen2, qwen3, llama, qwen3_5];

/** A family and the configuration class that led to it. */
export interface FamilyClass {
  readonly family: Family;
  readonly configClass: ConfigClass;
}

const pipoHead = "ForCausalPIPO";

/** Whether the names of model classes declare a PIPO model. */
export function declaresPipo(architectures: readonly string[]): boolean {
  return architectures.some((name) => name.endsWith(pipoHead));
}

/** The family that `config.json` means; undefined where it is not among ours, or where type and classes disagree. */
export function familyOfConfig(
  modelType: string | undefined,
  architectures: readonly string[],
): FamilyClass | undefined {
  const all = families.flatMap((family) => family.classes.map((configClass) => ({ family, configClass })));
  return all.find(({ configClass }) => {
    if (modelType !== undefined && !configClass.modelTypes.includes(modelType)) return false;
    if (architectures.length === 0) return modelType !== undefined;
    const heads = ["ForCausalLM", pipoHead, ...(configClass.heads ?? [])];
    return architectures.some((name) => heads.some((head) => name === configClass.prefix + head));
  });
}

/** The family that GGUF's `general.architecture` means. */
export function familyOfGguf(architecture: string): Family | undefined {
  return families.find(({ gguf }) => gguf.architectures.includes(architecture));
}

/** For messages: every family that is run. */
export function knownFamilies(): string {
  const titles = families.map(({ title }) => title);
  return `${titles.slice(0, -1).join(", ")} and ${titles.at(-1)} models`;
}
