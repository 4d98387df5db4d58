/** A run's store in memory, for tests that also run where there are no files. `copy` gives another with the same run. */
import { memorySource } from "@lenggen/kernels";
import type { FileContent, RunStore } from "../src/runStore";

export interface MemoryStore extends RunStore {
  copy(): MemoryStore;
}

export function memoryStore(texts = new Map<string, string>(), saved = new Map<number, ReadonlyMap<string, Uint8Array>>()): MemoryStore {
  const bytesOf = async (content: FileContent): Promise<Uint8Array> => {
    if (typeof content === "string") return new TextEncoder().encode(content);
    const bytes: number[] = [];
    for await (const chunk of content) bytes.push(...chunk);
    return Uint8Array.from(bytes);
  };
  const checkpointPath = (step: number): string => `memory/step-${step}`;
  return {
    location: "memory",
    checkpointPath,
    prepare: async () => {},
    entries: async () => [...texts.keys(), ...(saved.size > 0 ? ["checkpoints"] : [])],
    readText: async (name) => texts.get(name),
    write: async (name, content) => void texts.set(name, new TextDecoder().decode(await bytesOf(content))),
    append: async (name, text) => void texts.set(name, (texts.get(name) ?? "") + text),
    checkpoints: async () => [...saved.keys()].sort((a, b) => a - b),
    openCheckpoint: async (step, file) => memorySource(saved.get(step)!.get(file)!, `${checkpointPath(step)}/${file}`),
    async writeCheckpoint(step, files) {
      const whole = new Map<string, Uint8Array>();
      for (const [name, content] of Object.entries(files)) whole.set(name, await bytesOf(content));
      saved.set(step, whole);
    },
    removeCheckpoint: async (step) => void saved.delete(step),
    copy: () => memoryStore(new Map(texts), new Map(saved)),
  };
}
