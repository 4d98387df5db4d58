/** The contract of what `lenggen convert` can write. */
import type { TokenizerFiles } from "@lenggen/data/node";
import type { Weights } from "@lenggen/kernels";

/** A checkpoint that is to be written in another form. */
export interface Conversion {
  /** Where it lies: a folder or a file, as `findCheckpoint` gives it. */
  readonly checkpoint: string;
  readonly weights: Weights;
  /** Its `config.json`, if it has one. */
  readonly config: string | undefined;
  /** The text of a `config.json` in its place, where the weights are given in another layout than the checkpoint's. */
  readonly configText: string | undefined;
  /** What is to be written. */
  readonly to: string;
  /** Whether what is there may be replaced. */
  readonly overwrite: boolean;
  /** The type that was asked for, if one was: one of the target's. */
  readonly dtype: string | undefined;
  /** The tokenizer that was named, if one was: for targets that have one in them. */
  readonly tokenizer: TokenizerFiles | undefined;
  /** Passes chunks on, for the progress bar; throws what the signal says when the work is to stop. */
  counted(chunks: AsyncIterable<Uint8Array>, size: number): AsyncIterable<Uint8Array>;
  /** Says something to whoever watches. */
  note(line: string): void;
}

/** What was written. */
export interface Written {
  readonly files: readonly string[];
  /** Of the weights. */
  readonly bytes: number;
  /** How many tensors there are of each type. */
  readonly types: Readonly<Record<string, number>>;
}

/** A form that checkpoints can be written in. */
export interface Target {
  /** How the name of what is written ends; nothing for a folder. */
  readonly extension: string;
  /** In words, for help. */
  readonly meaning: string;
  /** What `--dtype` may be. */
  readonly dtypes: readonly string[];
  /** Whether it is of one layout, whatever that of the checkpoint. */
  readonly ownLayout?: true;
  /** Whether it holds a tokenizer. */
  readonly takesTokenizer?: true;
  write(conversion: Conversion): Promise<Written>;
}
