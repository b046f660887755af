import { ConfigurationTarget, type TextDocument, type WorkspaceConfiguration, workspace } from "vscode";
import { settingsSection } from "../../server/protocol/settings";

const enabledKey = "completion.enabled";

/** Kinds of documents in which suggestions are offered: files here or on a virtual file system, and new ones. */
export const offeredSchemes: readonly string[] = ["file", "untitled", "vscode-vfs", "vscode-test-web"];

export function isOffered(document: TextDocument): boolean {
  return offeredSchemes.includes(document.uri.scheme);
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
  await configuration.update(enabledKey, enabled, targetInEffect(configuration));
}

/** Writes `"[language]": { "pipo.completion.enabled": … }`. */
export async function setEnabledForLanguage(document: TextDocument, enabled: boolean): Promise<void> {
  const configuration = workspace.getConfiguration(settingsSection, document);
  await configuration.update(enabledKey, enabled, ConfigurationTarget.Global, true);
}

export async function setModelPath(path: string): Promise<void> {
  const configuration = workspace.getConfiguration(settingsSection);
  await configuration.update("model.path", path, ConfigurationTarget.Global);
}

/** A value in the workspace wins over the user's, so it is the one to change. */
function targetInEffect(configuration: WorkspaceConfiguration): ConfigurationTarget {
  const isInWorkspace = configuration.inspect(enabledKey)?.workspaceValue !== undefined;
  return isInWorkspace ? ConfigurationTarget.Workspace : ConfigurationTarget.Global;
}
