import { l10n, QuickPickItemKind, type QuickPickItem } from "vscode";
import type { ListedModel, ModelList } from "../../server/protocol/messages";
import { labelText } from "./plainText";

/** An entry of the model picker. Separators have no choice. */
export interface ModelItem extends QuickPickItem {
  readonly choice?: ModelChoice;
}

export type ModelChoice = { readonly kind: "model"; readonly model: ListedModel } | { readonly kind: "browse" };

/** Everything that can be chosen, in sections; `current` is the value of `pipo.model.path`. */
export function modelItems({ models, recommended }: ModelList, current: string): readonly ModelItem[] {
  const isRecommended = ({ group, setting }: ListedModel) => group === "catalogue" && setting === recommended;
  const inGroup = (group: ListedModel["group"]) => models.filter((model) => model.group === group && !isRecommended(model));
  const section = (label: string, members: readonly ListedModel[]): readonly ModelItem[] =>
    members.length === 0 ? [] : [separator(label), ...members.map((model) => itemOf(model, isCurrent(model, current)))];
  return [
    ...section(l10n.t("Recommended"), models.filter(isRecommended)),
    ...section(l10n.t("Other models"), inGroup("catalogue")),
    ...section(l10n.t("On this machine"), inGroup("found")),
    ...section(l10n.t("Comes with PIPO"), inGroup("bundled")),
    separator(""),
    { label: `$(folder-opened) ${l10n.t("Browse for a Folder or GGUF File…")}`, choice: { kind: "browse" } },
  ];
}

/** `491 MB`, `1.1 GB`. */
export function sizeInWords(bytes: number): string {
  return bytes < 999.5e6 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

function separator(label: string): ModelItem {
  return { label, kind: QuickPickItemKind.Separator };
}

function isCurrent({ setting, path }: ListedModel, current: string): boolean {
  return setting === current || (current !== "" && path === current);
}

function itemOf(model: ListedModel, isInUse: boolean): ModelItem {
  const { path } = model;
  const icon = isInUse ? "$(check)" : path === null ? "$(cloud-download)" : "$(chip)";
  return {
    label: `${icon} ${labelText(nameOf(model))}`,
    description: factsOf(model, isInUse).join(" · "),
    detail: detailOf(model),
    choice: { kind: "model", model },
  };
}

/** Of a file its own name; its folders stand in the line below. */
function nameOf({ group, title }: ListedModel): string {
  return group === "found" && title.endsWith(".gguf") ? title.slice(title.lastIndexOf("/") + 1) : title;
}

function factsOf({ bytes, licence, program, path, group }: ListedModel, isInUse: boolean): readonly string[] {
  return [
    ...(bytes === null ? [] : [sizeInWords(bytes)]),
    ...(licence === null ? [] : [labelText(licence)]),
    ...(program === null ? [] : [labelText(program)]),
    ...(isInUse ? [l10n.t("in use")] : group === "catalogue" && path !== null ? [l10n.t("downloaded")] : []),
  ];
}

/** What it is good for and how it would do here; of found models, where they lie. */
function detailOf({ group, abilities, fit, expected, path }: ListedModel): string {
  if (group === "bundled") return l10n.t("Small and calm: works at once, without a network");
  return [
    ...(abilities.length === 0 ? [] : [abilities.map(abilityInWords).join(l10n.t(" and "))]),
    ...(fit === null ? [] : [fit.words]),
    ...(expected === null ? [] : [l10n.t("about {0} tokens/s", Math.max(1, Math.round(expected.tokensPerSecond)))]),
    ...(group === "found" ? [labelText(path ?? "", 200)] : []),
  ].join(" · ");
}

function abilityInWords(ability: ListedModel["abilities"][number]): string {
  switch (ability) {
    case "completion":
      return l10n.t("completion");
    case "chat":
      return l10n.t("chat");
    case "thinking":
      return l10n.t("thinking");
  }
}
