/** How the arguments of a kernel are passed to native code, as its declaration has them: build/signatures has the other side. */
import type { Device } from "../../device";
import { LenggenError } from "../../errors";
import { isList, type NumberKind, type Signature, sizeFrom, tensorForm, type TensorForm } from "../../signature";
import { Tensor } from "../../tensor";
import { type NativeDevice, translated } from "./addon";

/** A CPU device's buffer: the addon's id of it. */
export interface CpuBuffer {
  readonly id: number;
}

type Arguments = Readonly<Record<string, unknown>> & { readonly saved?: Readonly<Record<string, unknown>>; readonly recording?: boolean };

interface Slot extends TensorForm {
  readonly name: string;
  readonly part: "reads" | "saved" | "writes" | "saves";
}

/** The order of BufferType in native/cpu/kernel.h. */
const TYPE_CODES: Readonly<Record<string, number>> = { f32: 0, i32: 1, f16: 2 };
const VALUES_PER_BUFFER = 4;

/** Launches that go to one device, through one array that is used again and again: a training step makes some hundred. */
export class Packer {
  readonly #native: NativeDevice;
  readonly #device: Device;
  #values = new Float64Array(256);
  #at = 0;

  constructor(native: NativeDevice, device: Device) {
    this.#native = native;
    this.#device = device;
  }

  /** The function that launches a kernel of the addon's table. */
  kernel(name: string, signature: Signature, index: number): (args: Arguments) => Readonly<Record<string, Tensor>> | undefined {
    const slots = slotsOf(signature);
    const single = slots.filter(({ list }) => !list);
    const lists = slots.filter(({ list }) => list);
    const numbers = Object.entries(signature.numbers).map(([key, kind]) => ({ key, kind }));
    const saves = single.filter(({ part }) => part === "saves");
    const fixed = VALUES_PER_BUFFER * single.length + numbers.length;
    return (args) => {
      const saved = saves.length > 0 && args.recording ? this.#allocate(saves, args) : undefined;
      this.#at = 0;
      this.#room(fixed);
      let buffers = single.length;
      for (const slot of single) {
        const from = slot.part === "saves" ? saved : slot.part === "saved" ? args.saved : args;
        this.#tensor(name, slot, (from?.[slot.name] ?? null) as Tensor | null);
      }
      for (const slot of lists) {
        const items = args[slot.name] as readonly (Tensor | null)[];
        buffers += items.length;
        this.#room(VALUES_PER_BUFFER * items.length + fixed);
        for (const t of items) this.#tensor(name, slot, t);
      }
      const start = this.#at;
      for (const { key, kind } of numbers) this.#number(kind, args[key]);
      try {
        this.#native.launch(index, this.#values, buffers, this.#at - start);
      } catch (error) {
        throw translated(error);
      }
      return saved;
    };
  }

  #allocate(saves: readonly Slot[], args: Arguments): Record<string, Tensor> {
    return Object.fromEntries(saves.map(({ name, sizes }) =>
      [name, Tensor.empty(this.#device, sizes!.map((size) => sizeFrom(size, args)))]));
  }

  #room(count: number): void {
    if (this.#at + count <= this.#values.length) return;
    const longer = new Float64Array(2 * (this.#at + count));
    longer.set(this.#values);
    this.#values = longer;
  }

  #tensor(kernel: string, { name, type }: Slot, t: Tensor | null): void {
    const values = this.#values;
    const at = this.#at;
    this.#at += VALUES_PER_BUFFER;
    if (t === null) {
      values[at] = -1;
      return;
    }
    const { dtype } = t;
    const fits = dtype === "f32" ? type !== "i32" : dtype === "i32" ? type === "i32" || type === "any" : dtype === "f16"
      && type === "weight";
    if (t.device !== this.#device || !fits) refuse(kernel, name, t, fits);
    values[at] = (t.buffer as CpuBuffer).id;
    values[at + 1] = t.byteOffset;
    values[at + 2] = t.byteLength;
    values[at + 3] = TYPE_CODES[dtype]!;
  }

  /** There is room for one number. */
  #number(kind: NumberKind, value: unknown): void {
    if (typeof value === "number") this.#values[this.#at++] = value;
    else if (typeof value === "boolean") this.#values[this.#at++] = value ? 1 : 0;
    else if (kind === "nest") {
      const { sizes, strides } = value as { sizes: readonly number[]; strides: readonly (readonly number[])[] };
      this.#push(sizes.length);
      for (const list of [sizes, ...strides]) for (const number of list) this.#push(number);
    } else if (isList(kind)) for (const number of (value as readonly number[] | null) ?? []) this.#push(number);
    else this.#push((kind as readonly string[]).indexOf(value as string));
  }

  #push(value: number): void {
    this.#room(1);
    this.#values[this.#at++] = value;
  }
}

function refuse(kernel: string, name: string, t: Tensor, fits: boolean): never {
  const given = `cpu: kernel ${kernel} was given ${String(t)}`;
  if (fits) throw new LenggenError("E_DEVICE", `${given} of another device as ${name}`);
  throw new LenggenError("E_DTYPE", `${given} as ${name}, which it does not read`);
}

function slotsOf(signature: Signature): Slot[] {
  return (["reads", "saved", "writes", "saves"] as const).flatMap((part) =>
    Object.entries(signature[part] ?? {}).map(([name, text]) => ({ name, part, ...tensorForm(text) })));
}
