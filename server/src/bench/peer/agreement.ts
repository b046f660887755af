import type { EngineSession } from "../../engine/addon.js";
import { loadEngine } from "../../engine/engine.js";
import { openPeer, type Peer } from "./llamaCpp.js";

/**
 * How near our engine's distributions of the next token are to llama.cpp's, on the same file and the same ids. Both round
 * activations to eight bits, each in its own way, so that there is a distance even where weights are held exactly.
 */

export interface AgreementOptions {
  readonly file: string;
  readonly texts: readonly string[];
  /** Positions that are compared. */
  readonly tokens: number;
  readonly threads: number;
  readonly packedDirectory: string;
}

export interface Agreement {
  readonly positions: number;
  /** Mean of KL(peer ‖ ours), nats. */
  readonly meanKl: number;
  readonly p99Kl: number;
  /** Share of positions where both have the same best token. */
  readonly sameBest: number;
}

/** Ids that are read in one go: enough context, and few enough that every logit of it fits in memory. */
const windowTokens = 256;

export async function compareDistributions(options: AgreementOptions, log: (line: string) => void): Promise<Agreement> {
  const { file, threads, packedDirectory } = options;
  const engine = await loadEngine(file, { threads, packedDirectory, device: "cpu" });
  const peer = await openPeer(file, { threads, contextSize: windowTokens + 8 });
  const session = engine.native.createSession({ maxPositions: windowTokens });
  const sums = new Sums();
  try {
    for (const ids of windows(peer, options)) {
      await compareWindow(session, peer, ids, sums);
      log(`${sums.positions} of ${options.tokens} positions: mean KL ${sums.result().meanKl.toFixed(5)}`);
    }
    return sums.result();
  } finally {
    session.close();
    await engine.native.close();
    await peer.close();
  }
}

function* windows(peer: Peer, { texts, tokens }: AgreementOptions): Generator<Int32Array> {
  let left = tokens;
  for (const text of texts) {
    const ids = peer.tokenize(text);
    for (let at = 0; at + windowTokens <= ids.length && left > 0; at += windowTokens) {
      yield ids.subarray(at, at + windowTokens);
      left -= windowTokens;
    }
  }
}

async function compareWindow(session: EngineSession, peer: Peer, ids: Int32Array, sums: Sums): Promise<void> {
  const ours = await session.inspect(ids, "plain", 1, /*withLogits=*/ true);
  await peer.distributions(ids, (index, probabilities) => {
    const { logits } = ours[index]!;
    if (logits) sums.add(logits, probabilities);
  });
}

/** Gathers positions as they are compared. */
class Sums {
  private readonly divergences: number[] = [];
  private same = 0;

  get positions(): number {
    return this.divergences.length;
  }

  add(logits: Float32Array, theirs: ReadonlyMap<number, number>): void {
    let best = 0;
    for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
    let sum = 0;
    for (const logit of logits) sum += Math.exp(logit - logits[best]!);
    const normaliser = logits[best]! + Math.log(sum);
    let divergence = 0;
    let [theirBest, most] = [-1, 0];
    for (const [id, probability] of theirs) {
      if (probability > most) [theirBest, most] = [id, probability];
      const ours = logits[id];
      if (ours === undefined || probability <= 0) continue;
      divergence += probability * (Math.log(probability) - (ours - normaliser));
    }
    this.divergences.push(divergence);
    if (theirBest === best) this.same += 1;
  }

  result(): Agreement {
    const sorted = [...this.divergences].sort((a, b) => a - b);
    return {
      positions: sorted.length,
      meanKl: sorted.reduce((total, value) => total + value, 0) / Math.max(1, sorted.length),
      p99Kl: sorted[Math.floor(0.99 * sorted.length)] ?? 0,
      sameBest: this.same / Math.max(1, sorted.length),
    };
  }
}
