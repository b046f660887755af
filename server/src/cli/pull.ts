import { Presets, SingleBar } from "cli-progress";
import { Command } from "commander";
import { describeMachine } from "../engine/machine.js";
import { defaultCacheDirectory, defaultModelsDirectory } from "../environment.js";
import { catalogue, catalogueEntry, type CatalogueEntry } from "../models/catalogue.js";
import type { DownloadProgress } from "../models/download/download.js";
import { gigabytes, recommended } from "../models/fit.js";
import { onInterrupt } from "./interrupt.js";
import { printLine, printNote, UsageError } from "./report.js";

interface PullFlags {
  readonly evenIfTooLarge?: boolean;
}

export function pullCommand(): Command {
  return new Command("pull")
    .description("Fetch a model into the folder that all windows share. Ctrl+C stops; the next pull goes on from there.")
    .argument("[name]", "name that pipo models lists (default: what suits this machine)")
    .option("--even-if-too-large", "also when this machine has too little memory to run it")
    .action(pull);
}

async function pull(name: string | undefined, { evenIfTooLarge = false }: PullFlags): Promise<void> {
  const entry = name === undefined ? await suitingEntry() : namedEntry(name);
  printNote(`${entry.title}, ${gigabytes(entry.bytes)}, ${entry.licence}`);
  // Loaded here, because no other command asks the network for anything.
  const { downloadModel } = await import("../models/download/download.js");
  const aborter = new AbortController();
  const stopListening = onInterrupt(() => aborter.abort());
  const bar = new DownloadBar();
  try {
    const onProgress = (progress: DownloadProgress) => bar.show(progress);
    const onSourceFailed = (words: string) => bar.note(words);
    const options = { folder: defaultModelsDirectory(), signal: aborter.signal, evenIfTooLarge, onProgress, onSourceFailed };
    printLine(await downloadModel(entry, options));
  } finally {
    bar.stop();
    stopListening();
  }
}

function namedEntry(name: string): CatalogueEntry {
  const entry = catalogueEntry(name);
  if (entry !== undefined) return entry;
  const known = catalogue.filter(({ isHidden }) => !isHidden).map((one) => one.name);
  throw new UsageError(`There is no model "${name}" in the catalogue. There are ${known.join(", ")}.`);
}

async function suitingEntry(): Promise<CatalogueEntry> {
  const entry = recommended(catalogue, await describeMachine(defaultCacheDirectory()));
  if (entry === undefined) throw new UsageError("No model of the catalogue fits this machine. pipo models says why.");
  return entry;
}

/** Without a terminal it prints a line per source and stage. */
class DownloadBar {
  private readonly bar = new SingleBar(
    { format: "{bar} {percentage}%  {done} of {all}  {rate}  {source}", clearOnComplete: true, hideCursor: true, stream: process.stderr },
    Presets.shades_classic,
  );
  private said = "";
  private begun: { readonly at: number; readonly bytes: number } | undefined;

  show(progress: DownloadProgress): void {
    const said = inWords(progress);
    if (said !== this.said) {
      if (progress.stage !== "downloading" || !process.stderr.isTTY) printNote(said);
      this.begun = { at: performance.now(), bytes: progress.receivedBytes };
    }
    this.said = said;
    if (progress.stage === "downloading" && process.stderr.isTTY) this.draw(progress);
    else this.stop();
  }

  note(words: string): void {
    this.stop();
    printNote(words);
  }

  stop(): void {
    if (this.bar.isActive) this.bar.stop();
  }

  private draw({ receivedBytes, totalBytes, source }: DownloadProgress): void {
    const { at, bytes } = this.begun!;
    const seconds = (performance.now() - at) / 1_000;
    const rate = seconds < 0.5 ? "" : `${gigabytes((receivedBytes - bytes) / seconds)}/s`;
    const payload = { done: gigabytes(receivedBytes), all: gigabytes(totalBytes), rate, source: `from ${source}` };
    if (this.bar.isActive) this.bar.update(receivedBytes, payload);
    else this.bar.start(totalBytes, receivedBytes, payload);
  }
}

function inWords({ stage, source }: DownloadProgress): string {
  switch (stage) {
    case "waiting":
      return "Another window or program is fetching it; waiting for that";
    case "downloading":
      return `Fetching from ${source}`;
    case "checking":
      return "Checking the checksum";
  }
}
