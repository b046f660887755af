import type { ModelCard } from "../checkpoints/card.js";
import type { PromptFormat } from "./format.js";
import { joined } from "./formats/joined.js";
import { psm } from "./formats/psm.js";
import { spm } from "./formats/spm.js";

/** One line per format; the model's card names one. */
export const promptFormats: Readonly<Record<ModelCard["fimFormat"], PromptFormat>> = { joined, spm, psm };
