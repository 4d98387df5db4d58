/** Places that are looked at for a node's children before they are put behind all others. */
const MOST_TRIES = 1 << 12;

/**
 * A set of byte strings with a number each, for finding the longest one that begins at a place: a double-array trie. A node is a place in
 * two arrays; its child by byte b lies at `base[node] + b`, where `parent` says whose child is there. One look per byte, no objects.
 */
export class Trie {
  #base = new Int32Array(1 << 12);
  /** Of what lies there, plus 1; 0 where nothing does. */
  #parent = new Int32Array(1 << 12);
  /** The number of the string that ends there; -1 for none. */
  #value = new Int32Array(1 << 12).fill(-1);
  /** Below it no place is free. */
  #free = 1;
  /** Above it every place is. */
  #top = 0;
  /** Length of the longest string. */
  readonly longest: number;

  /** `strings` are different from each other and not empty; `values[i]` is the number of `strings[i]`, at least 0. */
  constructor(strings: readonly Uint8Array[], values: ArrayLike<number>) {
    const order = strings.map((_, i) => i).sort((a, b) => compare(strings[a]!, strings[b]!));
    this.longest = strings.reduce((most, { length }) => Math.max(most, length), 0);
    this.#parent[0] = 1; // the root, nobody's child
    // Nodes whose children are still to be placed: which strings pass through them, and how many bytes lead there.
    const open: [node: number, from: number, to: number, depth: number][] = [[0, 0, order.length, 0]];
    while (open.length > 0) {
      const [node, from, to, depth] = open.pop()!;
      let i = from;
      if (i < to && strings[order[i]!]!.length === depth) this.#value[node] = values[order[i++]!]!;
      const [children, ends]: [number[], number[]] = [[], []];
      for (; i < to; i++) {
        const byte = strings[order[i]!]![depth]!;
        if (children.at(-1) !== byte) {
          children.push(byte);
          ends.push(i);
        }
      }
      if (children.length === 0) continue;
      const base = (this.#base[node] = this.#place(children));
      children.forEach((byte) => (this.#parent[base + byte] = node + 1));
      this.#top = Math.max(this.#top, base + children.at(-1)!);
      children.forEach((byte, c) => open.push([base + byte, ends[c]!, ends[c + 1] ?? to, depth + 1]));
    }
    const used = this.#parent.findLastIndex((parent) => parent !== 0) + 257; // a look may go 255 beyond
    this.#base = this.#base.slice(0, used);
    this.#parent = this.#parent.slice(0, used);
    this.#value = this.#value.slice(0, used);
  }

  /** Gives the numbers of the longest strings that follow one another from `from` on, as long as they begin before `to`; the place after. */
  walk(bytes: Uint8Array, from: number, to: number, found: (value: number) => void): number {
    const [base, parents, values] = [this.#base, this.#parent, this.#value];
    const { length } = bytes;
    while (from < to) {
      let [node, value, end] = [0, -1, from];
      for (let i = from; i < length; ) {
        const next = base[node]! + bytes[i]!;
        if (parents[next] !== node + 1) break;
        node = next;
        i++;
        if (values[node]! >= 0) [value, end] = [values[node]!, i];
      }
      if (value < 0) return from; // no string begins with this byte
      found(value);
      from = end;
    }
    return from;
  }

  /** A base at which all children have a free place. Theirs are taken by the caller. */
  #place(children: readonly number[]): number {
    while (this.#parent[this.#free]) this.#free++;
    for (let at = this.#free, tried = 0; ; at++) {
      if (++tried > MOST_TRIES) at = Math.max(at, this.#top + 1);
      const base = at - children[0]!;
      if (base + 256 >= this.#parent.length) this.#grow();
      if (base < 1 || this.#parent[at]) continue; // base 0 is for nodes without children
      if (children.every((byte) => this.#parent[base + byte] === 0)) return base;
    }
  }

  #grow(): void {
    const { length } = this.#parent;
    const value = new Int32Array(2 * length).fill(-1);
    const [base, parent] = [new Int32Array(2 * length), new Int32Array(2 * length)];
    base.set(this.#base);
    parent.set(this.#parent);
    value.set(this.#value);
    [this.#base, this.#parent, this.#value] = [base, parent, value];
  }
}

function compare(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}
