import { readFileSync } from "node:fs";
import path from "node:path";
import { createConnection } from "vscode-languageserver/node";
import type { OpenModel } from "./models/modelManager.js";
import { loadModel } from "./engine/engine.js";
import { describeMachine } from "./engine/machine.js";
import { defaultCacheDirectory, defaultModelsDirectory } from "./environment.js";
import { describeError } from "./log.js";
import { findModel } from "./models/findModel.js";
import { packageRoot } from "./packageRoot.js";
import { PipoServer, type ServerHost } from "./server.js";

/** The language server program: `node server.js --stdio`, or started with node IPC by an editor. */

const host: ServerHost = {
  version: packageVersion(),
  modelsDirectory: defaultModelsDirectory(),
  describeMachine: ({ cacheDir }, threads) => describeMachine(cacheDir ?? defaultCacheDirectory(), threads),
  openModel: (options): OpenModel => async ({ model, engine }, onProgress) =>
    loadModel(
      model.path === "" && options.bundledModelPath ? options.bundledModelPath : await findModel(model.path),
      {
        packedDirectory: options.cacheDir ?? defaultCacheDirectory(),
        threads: engine.threads,
        device: engine.device,
        ...(engine.dtype !== "auto" && { dtype: engine.dtype }),
      },
      ({ fraction }) => onProgress(fraction),
    ),
};

const connection = createConnection();
// One failed request must not end the server; the editor's log says what happened.
process.on("unhandledRejection", (error) => connection.console.error(`Unexpected: ${describeError(error)}`));
PipoServer.listen(connection, host);

function packageVersion(): string {
  const file = path.join(packageRoot(), "package.json");
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
