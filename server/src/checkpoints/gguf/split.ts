import path from "node:path";
import { badGguf } from "./cursor.js";

const partName = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i;
/** Beyond any model; a name must not make thousands of files be opened. */
const maxParts = 512;

/** The files of a model in parts `NAME-00001-of-0000N.gguf`, in order, from any of them; otherwise the file itself. */
export function splitParts(file: string): readonly string[] {
  const match = partName.exec(path.basename(file));
  const count = Number(match?.[3] ?? 1);
  if (!match || count === 1) return [file];
  if (count < 1 || count > maxParts)
    throw badGguf(file, `is by its name one of ${count} parts; at most ${maxParts} are read`);
  return Array.from({ length: count }, (_, i) =>
    path.join(path.dirname(file), `${match[1]}-${String(i + 1).padStart(5, "0")}-of-${match[3]}.gguf`),
  );
}

/** Of files in one folder those that a model begins with: later parts and projectors of images are left out. */
export function leadingFiles(names: readonly string[]): readonly string[] {
  return names.filter((name) => {
    if (!/\.gguf$/i.test(name) || /^mmproj/i.test(name)) return false;
    const part = partName.exec(name);
    return !part || Number(part[2]) === 1;
  });
}
