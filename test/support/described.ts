import type { DescribedModel } from "../../server/src/checkpoints/describe.js";
import { describe } from "../../server/src/engine/engine.js";

/** A model's files, read and checked against the engine's own table of tensors. */
export function describeModel(place: string, adapter?: string): Promise<DescribedModel> {
  return describe(place, adapter === undefined ? {} : { adapter });
}
