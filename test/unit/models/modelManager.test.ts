import { describe, expect, it } from "vitest";
import { defaultSettings, parseSettings } from "../../../server/src/config/config.js";
import { silentLogger } from "../../../server/src/log.js";
import { ModelManager, type ModelState } from "../../../server/src/models/modelManager.js";
import { FakeModel } from "../../support/fakeEngine.js";

/** A manager whose every load opens another model. */
function managed() {
  const states: ModelState[] = [];
  const opened: FakeModel[] = [];
  const models = new ModelManager(
    async () => (opened.push(new FakeModel(() => "", { fimFormat: undefined })), opened.at(-1)!),
    silentLogger,
    (state) => states.push(state),
  );
  return { models, opened, states };
}

describe("the owner of the model", () => {
  it("loads a model whatever it is good for, once, and gives the same to every consumer", async () => {
    const { models, opened } = managed();
    void models.configure(defaultSettings);
    const [first, second] = await Promise.all([models.ready(), models.ready()]);
    expect(first).toBe(opened[0]);
    expect(second).toBe(first);
    expect(opened).toHaveLength(1);
  });

  it("lets every consumer close what it holds before the model is freed", async () => {
    const { models, opened } = managed();
    const heard: string[] = [];
    for (const consumer of ["completion", "chat"]) {
      models.onUnload(async (model) => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        heard.push(`${consumer} ${model === opened[0]} ${opened[0]!.closed}`);
      });
    }
    void models.configure(defaultSettings);
    await models.ready();
    await models.configure(parseSettings({ model: { path: "/other" } }).settings);
    expect(heard).toEqual(["completion true false", "chat true false"]);
    expect(opened[0]!.closed).toBe(true);
  });

  it("keeps the model when only the way of asking it changes", async () => {
    const { models, opened } = managed();
    void models.configure(defaultSettings);
    await models.ready();
    await models.configure(parseSettings({ model: { fimFormat: "qwen" }, completion: { maxLines: 3 } }).settings);
    expect(opened[0]!.closed).toBe(false);
  });

  it("loads nothing any more when it has ended", async () => {
    const { models, opened } = managed();
    void models.configure(defaultSettings);
    await models.ready();
    await models.end();
    expect(opened[0]!.closed).toBe(true);
    expect(await models.ready()).toBeUndefined();
    expect(opened).toHaveLength(1);
  });
});
