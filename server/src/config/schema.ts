import { z } from "zod";
import type { PipoSettings } from "../../protocol/settings.js";

/**
 * Files that are never read: those that hold nothing but keys, passwords and tokens. Narrow on purpose: a pattern that hides
 * ordinary source files is worse than none.
 */
export const defaultExclude: readonly string[] = [
  "**/.env",
  "**/.env.*",
  "**/*.env",
  "**/.envrc",
  "**/.flaskenv",
  "**/.Renviron",
  "**/*.pem",
  "**/*.key",
  "**/*.p8",
  "**/*.p12",
  "**/*.pfx",
  "**/*.ppk",
  "**/*.kdbx",
  "**/*.keystore",
  "**/*.jks",
  "**/id_rsa*",
  "**/id_dsa*",
  "**/id_ecdsa*",
  "**/id_ed25519*",
  "**/.ssh/**",
  "**/.gnupg/**",
  "**/.password-store/**",
  "**/.aws/{config,credentials}",
  "**/.azure/**",
  "**/gcloud/**/*credentials*",
  "**/.docker/config.json",
  "**/.dockercfg",
  "**/.kube/config",
  "**/kubeconfig",
  "**/.netrc",
  "**/_netrc",
  "**/.npmrc",
  "**/.pypirc",
  "**/.gem/credentials",
  "**/.cargo/credentials*",
  "**/.git-credentials",
  "**/.pgpass",
  "**/pgpass.conf",
  "**/.my.cnf",
  "**/.htpasswd",
  "**/.vault-token",
  "**/.s3cfg",
  "**/.terraformrc",
  "**/*.tfvars",
  "**/*.tfvars.json",
  "**/secrets.*",
  "**/credentials.json",
  "**/service-account*.json",
];

/** One line per setting: constraint and default. The manifest repeats them, kept equal by a test. */
export const settingsSchema = z.object({
  completion: z
    .object({
      enabled: z.boolean().default(true),
      minConfidence: z.number().min(0).max(1).nullable().default(null),
      multiline: z.enum(["auto", "never"]).default("auto"),
      maxLines: z.number().int().min(1).max(50).default(8),
      timeLimitMs: z.number().int().min(50).max(60_000).nullable().default(null),
      exclude: z.array(z.string()).default([...defaultExclude]),
    })
    .prefault({}),
  model: z
    .object({
      path: z.string().default(""),
      fimFormat: z
        .enum(["auto", "joined", "spm", "qwen", "starcoder", "deepseek", "mellum", "seed", "codellama", "codestral"])
        .default("auto"),
    })
    .prefault({}),
  engine: z
    .object({
      start: z.enum(["background", "firstRequest"]).default("background"),
      device: z.enum(["auto", "cpu", "cuda"]).default("auto"),
      dtype: z.enum(["auto", "f32", "bf16", "int8", "int4", "mix"]).default("auto"),
      threads: z.number().int().min(0).max(256).default(0),
      mode: z.enum(["auto", "pair", "plain"]).default("auto"),
      threshold: z.number().min(0).max(1).nullable().default(null),
    })
    .prefault({}),
}) satisfies z.ZodType<PipoSettings, unknown>;
