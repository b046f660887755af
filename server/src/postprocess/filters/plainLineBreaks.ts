import { toPlainLineBreaks } from "../../document/documentContext.js";
import type { Filter } from "../filter.js";

/** Lines end with `\n`, in suggestions as in prompts. */
export const plainLineBreaks: Filter = { name: "plainLineBreaks", apply: toPlainLineBreaks };
