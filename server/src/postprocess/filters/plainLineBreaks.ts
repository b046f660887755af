import { toPlainLineBreaks } from "../../completion/documentContext.js";
import type { Filter } from "../filter.js";

/** Line breaks are `\n` until the text meets the document again. */
export const plainLineBreaks: Filter = { name: "plainLineBreaks", apply: toPlainLineBreaks };
