import type { Token } from "node-llama-cpp" with { "resolution-mode": "import" };

/** llama.cpp as an author of extensions gets it: the prebuilt CPU libraries of the npm package node-llama-cpp. */
export interface Peer {
  readonly version: string;
  /** Milliseconds to process `ids` from an empty context. */
  prefill(ids: Int32Array): Promise<number>;
  /** Milliseconds per token, greedy, one token at a time, after `ids`. */
  decode(ids: Int32Array, tokens: number): Promise<number>;
  /** Calls back with the distribution of the token after each of `ids`, in order, from an empty context. */
  distributions(ids: Int32Array, onPosition: (index: number, probabilities: ReadonlyMap<number, number>) => void): Promise<void>;
  /** Greedy continuation of `ids`, at most `most` tokens, until `isEnough` says so of what there is. */
  continue(ids: Int32Array, most: number, isEnough: (produced: readonly number[]) => boolean): Promise<readonly number[]>;
  /** Ids of a text as the peer's own tokenizer gives them, names of special tokens being text. */
  tokenize(text: string): Int32Array;
  close(): Promise<void>;
}

export interface PeerOptions {
  readonly threads: number;
  readonly contextSize: number;
}

/** Loads a GGUF file. Throws with what to install when the package or its prebuilt library is missing. */
export async function openPeer(path: string, options: PeerOptions): Promise<Peer> {
  const library = await import("node-llama-cpp").catch((cause: unknown) => {
    throw new Error("node-llama-cpp is not installed: run `npm ci` in a checkout of this project.", { cause });
  });
  const llama = await library.getLlama({
    gpu: false,
    build: "never",
    maxThreads: options.threads,
    logLevel: library.LlamaLogLevel.error,
  });
  const model = await llama.loadModel({ modelPath: path });
  const context = await model.createContext({
    contextSize: options.contextSize,
    batchSize: 512,
    threads: options.threads,
    flashAttention: true,
  });
  const sequence = context.getSequence();
  const tokensOf = (ids: Int32Array) => Array.from(ids) as Token[];

  return {
    version: `llama.cpp ${llama.llamaCppRelease.release}`,
    async prefill(ids) {
      await sequence.clearHistory();
      const start = performance.now();
      await sequence.evaluateWithoutGeneratingNewTokens(tokensOf(ids));
      return performance.now() - start;
    },
    async decode(ids, tokens) {
      await sequence.clearHistory();
      let first = 0;
      let count = 0;
      for await (const _token of sequence.evaluate(tokensOf(ids), { temperature: 0, yieldEogToken: true })) {
        if (count === 0) first = performance.now();
        if (++count > tokens) break;
      }
      return (performance.now() - first) / (count - 1);
    },
    async distributions(ids, onPosition) {
      await sequence.clearHistory();
      const generateNext = { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } } as const;
      await sequence.controlledEvaluate(
        tokensOf(ids).map((token) => [token, { generateNext }]),
        {
          onTokenResult: (index, { next }) => {
            if (next.probabilities) onPosition(index, next.probabilities);
          },
        },
      );
    },
    async continue(ids, most, isEnough) {
      await sequence.clearHistory();
      const produced: number[] = [];
      for await (const token of sequence.evaluate(tokensOf(ids), { temperature: 0, yieldEogToken: true })) {
        produced.push(token);
        if (produced.length >= most || isEnough(produced)) break;
      }
      return produced;
    },
    tokenize: (text) => Int32Array.from(model.tokenize(text, false, "trimLeadingSpace")),
    async close() {
      await context.dispose();
      await model.dispose();
      await llama.dispose();
    },
  };
}
