// Nothing is closed: when nothing runs any more, the process ends by itself, and not before.
const { open, request } = require("./common.cjs");

(async () => {
  const engine = await open(process.argv.slice(2));
  const session = engine.createSession({ maxPositions: 1024 });
  const { tokens } = await session.generate(request(200));
  process.stdout.write(`${tokens.length}`);
})();
