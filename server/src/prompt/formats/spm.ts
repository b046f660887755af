import type { PromptFormat } from "../format.js";
import { joined } from "./joined.js";

/** As {@link joined}, with the token that announces the middle behind the text before the cursor. */
export const spm: PromptFormat = {
  name: "spm",
  layout: (parts) => [...joined.layout(parts), { token: "<|fim_middle|>" }],
  stopTokens: joined.stopTokens,
};
