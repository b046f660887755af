import { defineConfig } from "vitest/config";

/** Everything that runs in Node alone. The tests in a real VS Code have their own configuration in `e2e/`. */
export default defineConfig({
  cacheDir: "../build/vite",
  test: {
    root: import.meta.dirname,
    include: ["**/*.test.ts"],
    exclude: ["e2e/**"],
    // The processor's engine, also on a machine with a GPU: these tests compare numbers.
    env: { PIPO_KERNELS: "cpu" },
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
