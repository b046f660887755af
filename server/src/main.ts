import { createConnection } from "vscode-languageserver/node";
import type { OpenModel } from "./models/modelManager.js";
import { loadModel } from "./engine/engine.js";
import { describeMachine } from "./engine/machine.js";
import { defaultCacheDirectory, defaultModelsDirectory } from "./environment.js";
import { messageOf } from "./files.js";
import { findModel } from "./models/findModel.js";
import { packageVersion } from "./packageRoot.js";
import { realPathOf } from "./realPath.js";
import { PipoServer, type ServerHost } from "./server.js";

/** The language server program: `node server.js --stdio`, or started with node IPC by an editor. */

const host: ServerHost = {
  version: packageVersion(),
  resolveLink: realPathOf,
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
process.on("unhandledRejection", (error) => connection.console.error(`Unexpected: ${messageOf(error)}`));
PipoServer.listen(connection, host);
