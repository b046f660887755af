import { defineConfig } from "vitest/config";

/** Everything that runs in Node alone. The tests in a real VS Code and those of real
 * model files have their own configurations in `e2e/` and `models/`. */
export default defineConfig({
  cacheDir: "../build/vite",
  test: {
    root: import.meta.dirname,
    include: ["**/*.test.ts"],
    exclude: ["e2e/**", "models/**"],
    // The processor's engine, also on a machine with a GPU: these tests compare numbers.
    env: { PIPO_KERNELS: "cpu" },
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
