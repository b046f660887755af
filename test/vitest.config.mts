import { defineConfig } from "vitest/config";

/** Everything that runs in Node alone. The tests in a real VS Code have their own configuration in `e2e/`. */
export default defineConfig({
  cacheDir: "../build/vite",
  test: {
    root: import.meta.dirname,
    include: ["**/*.test.ts"],
    exclude: ["e2e/**"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
