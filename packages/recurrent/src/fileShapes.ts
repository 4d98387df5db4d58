/** Configurations from the names and shapes of a file of weights, of which nothing is trusted but that they are names and shapes. */
import { check, quote, type Safetensors, type Shape, showShape } from "@lenggen/kernels";

/** The shapes of a file by its names, where `what` (the family) is looked for. */
export class FileShapes {
  readonly #tensors: Safetensors["tensors"];

  constructor(tensors: Safetensors["tensors"], readonly what: string) {
    this.#tensors = tensors;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#tensors, name);
  }

  /** The shape of a tensor, if there is one of that name. */
  find(name: string): Shape | undefined {
    return this.has(name) ? this.#tensors[name]!.shape : undefined;
  }

  /** The shape of a tensor with that many axes, none of them empty. Throws `E_WEIGHTS`. */
  shape<N extends number>(name: string, rank: N): Shape & { readonly length: N } {
    check(this.has(name), "E_WEIGHTS", () =>
      `weights: by its names the file is ${this.what}, but it holds no ${quote(name)}, which a size is read from`);
    const { shape } = this.#tensors[name]!;
    check(shape.length === rank && shape.every((size) => size > 0), "E_WEIGHTS", () =>
      `weights: by its names the file is ${this.what}, but its ${quote(name)} has the shape ${showShape(shape)}; it should have ${rank} `
        + `${rank === 1 ? "axis" : "axes"}, none of them empty`);
    return shape as Shape & { readonly length: N };
  }

  /** One axis of a tensor with that many. Throws `E_WEIGHTS`. */
  size(name: string, axis: number, rank: number): number {
    return this.shape(name, rank)[axis]!;
  }

  /** How many there are of `prefix.0.part`, `prefix.1.part`, ... */
  count(prefix: string, part: string): number {
    let count = 0;
    while (this.has(`${prefix}.${count}.${part}`)) count++;
    return count;
  }
}
