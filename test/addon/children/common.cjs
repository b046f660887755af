// Started by the tests as `node child.cjs ADDON MODEL`: a process or a worker of its own, without any of the server's code.
const { readFileSync } = require("node:fs");

const greedy = { temperature: 0, topK: 0, topP: 1, minP: 0, presencePenalty: 0, repetitionPenalty: 1, seed: 0 };

exports.open = ([addonFile, modelFile]) => {
  const addon = require(addonFile);
  const model = JSON.parse(readFileSync(modelFile, "utf8"));
  return addon.load(model, { dtype: "int8", groupSize: 32, threads: 2 });
};

exports.request = (maxNewTokens) => ({
  mode: "pair",
  promptIds: Int32Array.of(5, 9, 13, 21),
  maxNewTokens,
  threshold: 0,
  sampling: greedy,
  stopIds: [],
});

/** More tokens than a test waits for. */
exports.endless = 8000;
