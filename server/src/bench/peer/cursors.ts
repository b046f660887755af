import { loadModel, type LoadedModel, type TextSession } from "../../engine/engine.js";
import { PromptBuilder, type PromptBudget } from "../../prompt/build.js";
import { chooseFim } from "../../prompt/chooseFim.js";
import { openPeer, type Peer } from "./llamaCpp.js";

/**
 * How often each engine writes the rest of a line exactly as it stands in held-out code: at random cursors, greedily, from
 * the very same ids. One token per step on both sides.
 */

export interface CursorsOptions {
  readonly file: string;
  readonly texts: readonly HeldOutText[];
  readonly cursors: number;
  readonly threads: number;
  readonly packedDirectory: string;
}

export interface HeldOutText {
  readonly path: string;
  readonly text: string;
}

export interface CursorsResult {
  readonly cursors: number;
  /** Shares of cursors whose line came out exactly. */
  readonly ours: number;
  readonly peer: number;
  /** Share of cursors where both wrote the same line, right or wrong. */
  readonly same: number;
}

const budget: PromptBudget = { prefixTokens: 512, suffixTokens: 40 };
const mostTokens = 48;
const contextSize = budget.prefixTokens + budget.suffixTokens + mostTokens + 64;

interface Cursor {
  readonly path: string;
  readonly text: string;
  readonly at: number;
}

export async function compareCursors(options: CursorsOptions, log: (line: string) => void): Promise<CursorsResult> {
  const { file, threads, packedDirectory } = options;
  const model = await loadModel(file, { threads, packedDirectory, device: "cpu" });
  const peer = await openPeer(file, { threads, contextSize });
  const session = model.createSession(contextSize);
  const writers = new Writers(model, session, peer);
  const counts = { ours: 0, peer: 0, same: 0, done: 0 };
  try {
    for (const cursor of randomCursors(options.texts, options.cursors)) {
      const wanted = restOfLine(cursor);
      const [ours, theirs] = await writers.write(cursor);
      counts.done += 1;
      if (ours === wanted) counts.ours += 1;
      if (theirs === wanted) counts.peer += 1;
      if (ours === theirs) counts.same += 1;
      if (counts.done % 25 === 0) log(`${counts.done} cursors: ours ${counts.ours}, peer ${counts.peer}, same line ${counts.same}`);
    }
    const share = (count: number) => count / Math.max(1, counts.done);
    return { cursors: counts.done, ours: share(counts.ours), peer: share(counts.peer), same: share(counts.same) };
  } finally {
    session.close();
    await model.close();
    await peer.close();
  }
}

/** Both engines, asked alike. */
class Writers {
  private readonly prompts: PromptBuilder;
  private readonly stopIds: readonly number[];

  constructor(
    private readonly model: LoadedModel,
    private readonly session: TextSession,
    private readonly peer: Peer,
  ) {
    const { card, tokenizer } = model;
    const family = chooseFim(card, tokenizer, "auto");
    if (typeof family === "string") throw new Error(family);
    this.prompts = new PromptBuilder(tokenizer, family);
    const ends = family.stopTokens.map((token) => tokenizer.idOf(token)).filter((id) => id !== undefined);
    this.stopIds = [...new Set([...card.stopTokenIds, ...ends])];
  }

  async write(cursor: Cursor): Promise<[ours: string, peer: string]> {
    const ids = this.promptIds(cursor);
    this.session.reset();
    const { tokens } = await this.session.generate(
      { promptIds: ids, maxNewTokens: mostTokens, stopIds: this.stopIds, mode: "plain" },
      ({ text }) => !text.includes("\n"),
    );
    const isEnough = (produced: readonly number[]) =>
      this.stopIds.includes(produced.at(-1)!) || this.textOf(produced.slice(-1)).includes("\n");
    const theirs = await this.peer.continue(ids, mostTokens, isEnough);
    return [this.lineOf([...tokens]), this.lineOf(theirs)];
  }

  private promptIds({ path, text, at }: Cursor): Int32Array {
    const prompt = { uri: `${path}:${at}`, fileName: path, prefix: text.slice(0, at), prefixStart: 0 };
    const suffix = text.slice(at);
    return this.prompts.build({ ...prompt, suffix, documentLength: text.length }, budget).ids;
  }

  private lineOf(ids: readonly number[]): string {
    const end = ids.findIndex((id) => this.stopIds.includes(id));
    return firstLine(this.textOf(end < 0 ? ids : ids.slice(0, end)));
  }

  private textOf(ids: readonly number[]): string {
    return this.model.tokenizer.detokenize(ids);
  }
}

/** Places inside lines with something behind them, the same in every run. */
function* randomCursors(texts: readonly HeldOutText[], count: number): Generator<Cursor> {
  let state = 20_261_130;
  const random = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  for (let found = 0; found < count; ) {
    const { path, text } = texts[random(texts.length)]!;
    const cursor = { path, text, at: random(text.length) };
    if (restOfLine(cursor) === "" || /[\uDC00-\uDFFF]/.test(text[cursor.at] ?? "")) continue;
    found += 1;
    yield cursor;
  }
}

function restOfLine({ text, at }: Cursor): string {
  return firstLine(text.slice(at));
}

function firstLine(text: string): string {
  const end = text.indexOf("\n");
  return (end < 0 ? text : text.slice(0, end)).trimEnd();
}
