import { describe, expect, it } from "vitest";
import { endsInLoop, firstRound } from "../../../server/src/document/loop.js";
import { generate, wholeParts } from "../../../server/src/completion/generation.js";
import { LineConfidence } from "../../../server/src/completion/lineConfidence.js";
import { FakeModel } from "../../support/fakeEngine.js";

/** Steps with the probability of both their tokens; gives what `add` said of each. */
function judge(minConfidence: number, steps: readonly (readonly [text: string, probability: number])[]) {
  const lineConfidence = new LineConfidence(minConfidence);
  const ends = steps.map(([text, probability]) => lineConfidence.add(text, [Math.log(probability), Math.log(probability)]));
  return { lineConfidence, end: ends.find((end) => end !== undefined), last: lineConfidence.endOfSureText() };
}

describe("how sure the model is", () => {
  it("is the geometric mean of the first tokens' probabilities", () => {
    const lineConfidence = new LineConfidence(0);
    expect(lineConfidence.confidence).toBeNull();
    lineConfidence.add("ab", [Math.log(0.9), Math.log(0.4)]);
    expect(lineConfidence.confidence).toBeCloseTo(0.6);
  });

  it("is judged after eight tokens, or at the end", () => {
    const unsure = [["ab", 0.2], ["cd", 0.2], ["ef", 0.2]] as const;
    expect(judge(0.5, unsure)).toMatchObject({ end: undefined, last: 0 });
    expect(judge(0.5, [...unsure, ["gh", 0.2]]).end).toBe(0);
    expect(judge(0.1, [...unsure, ["gh", 0.2]])).toMatchObject({ end: undefined, last: undefined });
  });

  it("of later tokens of a line does not matter", () => {
    const sure = [["ab", 0.9], ["cd", 0.9], ["ef", 0.9], ["gh", 0.9]] as const;
    expect(judge(0.5, [...sure, ["ij", 0.01], ["kl", 0.01]])).toMatchObject({ end: undefined, last: undefined });
  });

  it("ends the text before the first line of which it is not", () => {
    const steps = [["a()", 0.9], [";\n", 0.9], ["  b", 0.2], ["()", 0.2]] as const;
    expect(judge(0.5, steps)).toMatchObject({ end: undefined, last: 4 });
    expect(judge(0.5, [...steps, [";\n", 0.9], ["c", 0.9]]).end).toBe(4);
  });

  it("counts blank lines at the beginning with the first line", () => {
    expect(judge(0.5, [["\n  ", 0.2], ["ab", 0.2]]).last).toBe(0);
    expect(judge(0.5, [["\n  ", 0.9], ["ab", 0.9], ["\n", 0.9], ["cd", 0.1]])).toMatchObject({ last: 5 });
  });
});

describe("a space that the prompt holds back", () => {
  const written = async (text: string, heldBack: string) => {
    const request = { promptIds: Int32Array.of(40), maxNewTokens: 30, mode: "pair", stopIds: [1] } as const;
    const rule = { extent: "line", maxLines: 1, linePrefix: "return ", nextLine: "", fenced: false } as const;
    const limits = { rule, heldBack, minConfidence: 0, timeLimitMs: 1_000, signal: new AbortController().signal };
    const { text: shown, end } = await generate(new FakeModel(() => text).createSession(), request, limits);
    return { shown, end };
  };

  it("is written by the model and taken off", async () => {
    expect(await written(" a + b", " ")).toEqual({ shown: "a + b", end: "model" });
    expect(await written("  a", " ")).toEqual({ shown: " a", end: "model" });
    expect(await written(" a", "")).toEqual({ shown: " a", end: "model" });
  });

  it("ends the suggestion where the model goes on with something else", async () => {
    expect(await written("ed a value", " ")).toEqual({ shown: "", end: "unsure" });
    expect(await written("", " ")).toEqual({ shown: "", end: "model" });
  });
});

it("keeps whole lines, or whole words of a single one", () => {
  expect(["a b\n  c d", "\n  ab", "first sec", "alone", "f(x, ", ""].map(wholeParts)).toEqual(["a b", "", "first", "", "f(x,", ""]);
});

it("sees a circle as soon as its third round is whole, wherever the round begins", () => {
  const round = "name: str, ";
  for (const start of ["", "(self)=", "a\n\t"]) {
    const text = start + round.repeat(5);
    const whole = start.length + 3 * round.length;
    const first = Array.from(text, (_, length) => length).find((length) => endsInLoop(text.slice(0, length)));
    expect(first).toBe(whole);
    for (let length = whole; length <= text.length; length++) expect(endsInLoop(text.slice(0, length))).toBe(true);
    expect(firstRound(text)).toEqual([start.length, start.length + round.length]);
  }
  expect(endsInLoop("[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]")).toBe(false);
  expect(endsInLoop("value_a: 1,\nvalue_a: 1,\nvalue_a: 1,\n")).toBe(false);
});
