/** The records used last, in one piece of memory of fixed size. */
export class RecordCache {
  readonly #slab: Uint8Array;
  readonly #slots: number;
  /** Number of a record -> its slot, the longest unused first. */
  readonly #slotOf = new Map<number, number>();
  readonly #free: number[] = [];
  #used = 0;

  /** Holds as many records of `bytes` as fit into `capacity` bytes, possibly none. */
  constructor(capacity: number, readonly bytes: number) {
    this.#slots = Math.floor(capacity / bytes);
    this.#slab = new Uint8Array(this.#slots * bytes);
  }

  /** Bytes of the records that it holds. */
  get size(): number {
    return this.#slotOf.size * this.bytes;
  }

  /** The record, to be copied before the next {@link put}, or undefined. */
  get(number: number): Uint8Array | undefined {
    const slot = this.#slotOf.get(number);
    if (slot === undefined) return undefined;
    this.#slotOf.delete(number);
    this.#slotOf.set(number, slot);
    return this.#at(slot);
  }

  has(number: number): boolean {
    return this.#slotOf.has(number);
  }

  /** Keeps a copy, in the place of the record that has been unused for longest. */
  put(number: number, record: Uint8Array): void {
    if (this.#slots === 0) return;
    let slot = this.#slotOf.get(number) ?? this.#free.pop();
    if (slot === undefined && this.#used < this.#slots) slot = this.#used++;
    if (slot === undefined) {
      const [oldest, itsSlot] = this.#slotOf.entries().next().value!;
      this.#slotOf.delete(oldest);
      slot = itsSlot;
    }
    this.#slotOf.delete(number);
    this.#slotOf.set(number, slot);
    this.#at(slot).set(record);
  }

  /** Forgets the records from number `first` on. */
  cut(first: number): void {
    for (const [number, slot] of this.#slotOf) {
      if (number < first) continue;
      this.#slotOf.delete(number);
      this.#free.push(slot);
    }
  }

  #at(slot: number): Uint8Array {
    return this.#slab.subarray(slot * this.bytes, (slot + 1) * this.bytes);
  }
}
