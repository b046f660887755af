import { ConfigurationTarget, type TextDocument, type Uri, type WorkspaceConfiguration, workspace } from "vscode";
import { offeredSchemes, settingsSection } from "../../server/protocol/settings";

const enabledKey = "completion.enabled";
const modelPathKey = "model.path";

export function isOffered(document: TextDocument): boolean {
  return offeredSchemes.includes(document.uri.scheme);
}

/**
 * Patterns of files that are never read: the user's own list, or else the default one, and what workspace and folder add. A
 * folder that somebody else made cannot take a pattern away.
 */
export function excludePatterns(scope: TextDocument | Uri): readonly string[] {
  const found = workspace.getConfiguration(settingsSection, scope).inspect("completion.exclude");
  const lists = [found?.globalValue ?? found?.defaultValue, found?.workspaceValue, found?.workspaceFolderValue];
  return [...new Set(lists.flatMap((list) => (Array.isArray(list) ? (list as string[]) : [])))];
}

/** The switch as it applies to this document: language overrides count, excluded files are the server's business. */
export function isEnabledFor(document: TextDocument): boolean {
  return workspace.getConfiguration(settingsSection, document).get(enabledKey, true);
}

/** The switch without any language override. */
export function isEnabledGlobally(): boolean {
  return workspace.getConfiguration(settingsSection).get(enabledKey, true);
}

export async function setEnabledGlobally(enabled: boolean): Promise<void> {
  const configuration = workspace.getConfiguration(settingsSection);
  await configuration.update(enabledKey, enabled, targetInEffect(configuration, enabledKey));
}

/** Writes `"[language]": { "pipo.completion.enabled": … }`. */
export async function setEnabledForLanguage(document: TextDocument, enabled: boolean): Promise<void> {
  const configuration = workspace.getConfiguration(settingsSection, document);
  await configuration.update(enabledKey, enabled, ConfigurationTarget.Global, true);
}

/** The model that is set: a name, a file or a folder; empty for the bundled one. */
export function modelPath(): string {
  return workspace.getConfiguration(settingsSection).get(modelPathKey, "");
}

/** Kept with the machine, not synchronised: the model lies here. */
export async function setModelPath(path: string): Promise<void> {
  const configuration = workspace.getConfiguration(settingsSection);
  await configuration.update(modelPathKey, path, targetInEffect(configuration, modelPathKey));
}

/** A value in the workspace wins over the user's, so it is the one to change. */
function targetInEffect(configuration: WorkspaceConfiguration, key: string): ConfigurationTarget {
  const isInWorkspace = configuration.inspect(key)?.workspaceValue !== undefined;
  return isInWorkspace ? ConfigurationTarget.Workspace : ConfigurationTarget.Global;
}
