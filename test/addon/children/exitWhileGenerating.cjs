// process.exit() from a step's listener, while the engine computes the next step.
const { endless, open, request } = require("./common.cjs");

(async () => {
  const engine = await open(process.argv.slice(2));
  let steps = 0;
  const sessions = [1, 2, 3].map(() => engine.createSession({ maxPositions: 4096 }));
  for (const session of sessions)
    void session.generate(request(endless), () => void (++steps === 20 && process.exit(0)));
})();
