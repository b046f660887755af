// Workers that load, generate and end, or are terminated in the middle; the main thread uses the addon too.
const { Worker, isMainThread, parentPort, workerData } = require("node:worker_threads");
const { endless, open, request } = require("./common.cjs");

async function inWorker() {
  const engine = await open(workerData.argv);
  const session = engine.createSession({ maxPositions: 4096 });
  if (workerData.endless) {
    await session.generate(request(endless), () => parentPort.postMessage("step"));
  } else {
    const { tokens } = await session.generate(request(50));
    parentPort.postMessage(tokens.length);
  }
}

function start(argv, isEndless) {
  const worker = new Worker(__filename, { workerData: { argv, endless: isEndless } });
  const message = new Promise((resolve) => worker.once("message", resolve));
  const exit = new Promise((resolve, reject) => worker.once("exit", resolve).once("error", reject));
  return { worker, message, exit };
}

async function inMain(argv) {
  const engine = await open(argv);
  const running = engine.createSession({ maxPositions: 1024 }).generate(request(300));
  for (let round = 0; round < 3; round++) {
    const [ending, terminated] = [start(argv, false), start(argv, true)];
    await terminated.message;
    await terminated.worker.terminate();
    await Promise.all([terminated.exit, ending.exit]);
    process.stdout.write(`${await ending.message} `);
  }
  process.stdout.write(`${(await running).tokens.length}`);
  await engine.close();
}

void (isMainThread ? inMain(process.argv.slice(2)) : inWorker());
