import { expect, test } from "vitest";
import { RestartPolicy } from "../../../extension/src/restartPolicy";

test("pauses grow, and the fifth stop in a row is the last", () => {
  const policy = new RestartPolicy();
  const decisions = [1, 2, 3, 4, 5].map(() => {
    policy.started(0);
    return policy.stopped(1_000);
  });
  const pauses = decisions.map((decision) => (decision.kind === "restart" ? decision.afterMs : Number.POSITIVE_INFINITY));
  expect(pauses).toEqual([...pauses].sort((a, b) => a - b));
  expect(new Set(pauses).size).toBe(pauses.length);
  expect(decisions.at(-1)).toEqual({ kind: "giveUp", stops: 5 });
});

test("a server that ran well for a while starts with a clean record", () => {
  const policy = new RestartPolicy();
  for (let stop = 0; stop < 4; stop += 1) {
    policy.started(0);
    policy.stopped(10);
  }
  policy.started(0);
  expect(policy.stopped(10 * 60_000).kind).toBe("restart");
});

test("a restart that the user asked for gives all attempts back", () => {
  const policy = new RestartPolicy();
  for (let stop = 0; stop < 5; stop += 1) policy.stopped(0);
  policy.reset();
  expect(policy.stopped(0).kind).toBe("restart");
});
