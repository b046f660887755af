import { defineConfig } from "vitest/config";

/** The packaged extension in a real VS Code with the real model: one VS Code, one browser, one window after the other. */
export default defineConfig({
  cacheDir: "../../build/vite",
  test: {
    root: import.meta.dirname,
    include: ["*.test.ts"],
    globalSetup: ["setup.ts"],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
