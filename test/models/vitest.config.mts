import { defineConfig } from "vitest/config";

/** Real model files, named by PIPO_TEST_MODELS; `npm test -- --only models` fetches them. */
export default defineConfig({
  cacheDir: "../../build/vite",
  test: {
    root: import.meta.dirname,
    include: ["**/*.test.ts", "../unit/tokenizer/llamaCpp.test.ts", "../unit/checkpoints/ggufSource.test.ts"],
    env: { PIPO_KERNELS: "cpu" },
    testTimeout: 300_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
});
