import path from "node:path";

/** Language ids, as editors name them, of extensions whose id is another word. */
const languages: Readonly<Record<string, string>> = {
  cc: "cpp",
  cjs: "javascript",
  cs: "csharp",
  cts: "typescript",
  cxx: "cpp",
  h: "c",
  hpp: "cpp",
  js: "javascript",
  jsx: "javascriptreact",
  kt: "kotlin",
  md: "markdown",
  mjs: "javascript",
  mts: "typescript",
  py: "python",
  rb: "ruby",
  rs: "rust",
  sh: "shellscript",
  ts: "typescript",
  tsx: "typescriptreact",
  txt: "plaintext",
  yml: "yaml",
};

export function languageOf(file: string): string {
  const extension = path.extname(file).slice(1).toLowerCase();
  return languages[extension] ?? (extension || "plaintext");
}
