// Engines and sessions that nobody holds any more, some of them still generating, are collected without harm. --expose-gc
const { open, request } = require("./common.cjs");

(async () => {
  const results = [];
  for (let i = 0; i < 10; i++) {
    const engine = await open(process.argv.slice(2));
    results.push(engine.createSession({ maxPositions: 1024 }).generate(request(100 + i)));
    engine.createSession({ maxPositions: 64 });
    global.gc();
  }
  await new Promise((resolve) => setImmediate(resolve));
  global.gc();
  const lengths = (await Promise.all(results)).map((r) => r.tokens.length);
  process.stdout.write(lengths.join(" "));
})();
