/**
 * The laws of {@link InitialStates}, for a model whose states have fixed shapes:
 *
 *   shapes   what a batch starts from is nothing, or a state of the model, one row per sequence
 *   keys     sources that saw the same give the same for one key, and neither asking twice nor the other micro-batches change it
 *   fresh    in contiguous order a sequence that has no past starts from zero, and says nothing about the others
 *   resume   after `save` and `restore`, the values through JSON, a source goes on with the same bits
 *   memory   when it is disposed, nothing is left on the device
 */
import {
  type Device, dispose, type DType, foldIn, keep, key, leaves, scope, type SequenceModel, tensor, tokenTensor, withoutGradient,
} from "@lenggen/kernels";
import { broken, expectSameBits, type Numbers, paired, readAll } from "@lenggen/kernels/laws";
import type { InitialStates, SavedStates, StateRequest } from "../initialStates";

/** What the laws are checked with. */
export interface InitialStatesSetup {
  /** Makes the source under test, the same each time. */
  readonly create: () => InitialStates;
  /** A small model: the states that the source sees are those of its passes. */
  readonly model: SequenceModel;
  readonly device: Device;
  /** f32 unless given. */
  readonly dtype?: DType;
  /** Sequences of a batch; 3 unless given. */
  readonly batch?: number;
  /** Steps before and after an interruption; 3 unless given. */
  readonly steps?: number;
  /** Micro-batches of a step; 2 unless given. */
  readonly microBatches?: number;
  /** Which laws are checked; all unless given. */
  readonly laws?: readonly InitialStatesLaw[];
}

type Ready = Required<Omit<InitialStatesSetup, "laws">>;

const LENGTH = 5;

function request({ batch, device, dtype }: Ready, step: number, microBatch: number, fresh?: readonly boolean[]): StateRequest {
  return { key: foldIn(foldIn(key(11), step), microBatch), step, microBatch, batch, device, dtype, ...(fresh && { fresh }) };
}

/** What a source gives, read back; undefined for zeros. */
async function given(source: InitialStates, about: StateRequest): Promise<Numbers[] | undefined> {
  // Reads see what was there when they were asked for: the source may free its state behind them.
  const { read } = scope(() => {
    const state = source.next(about);
    return { read: state === undefined ? undefined : readAll(state) };
  });
  return read;
}

/** Shows a source the state in which a batch of tokens ends that no other step has. */
function show(source: InitialStates, { model, device, dtype, batch }: Ready, about: StateRequest): void {
  scope(() => {
    const parameters = model.init(key(5), device, dtype);
    const ids = Array.from({ length: batch * LENGTH }, (_, i) => (i * 7919 + 31 * about.step + 17 * about.microBatch) % model.vocabulary);
    const { state } = withoutGradient(() => model.forward(parameters, tokenTensor(device, ids, [batch, LENGTH], model.vocabulary)));
    source.observe(state, about);
  });
}

/** Runs steps from one to another, and gives what each batch started from. */
async function run(source: InitialStates, setup: Ready, from: number, to: number): Promise<(Numbers[] | undefined)[]> {
  const starts: (Numbers[] | undefined)[] = [];
  for (let step = from; step < to; step++) {
    for (let microBatch = 0; microBatch < setup.microBatches; microBatch++) {
      const about = request(setup, step, microBatch);
      starts.push(await given(source, about));
      show(source, setup, about);
    }
  }
  return starts;
}

/** What each batch of a run started from. */
type Starts = readonly (Numbers[] | undefined)[];

/** Throws unless two runs started from the same. */
function expectSame(law: string, setup: Ready, actual: Starts, wanted: Starts): void {
  wanted.forEach((w, i) => {
    const a = actual[i];
    const where = `step ${Math.floor(i / setup.microBatches)}, micro-batch ${i % setup.microBatches}`;
    if ((a === undefined) !== (w === undefined)) broken(law, `${where}: one starts from zero, and the other from a state`);
    if (a && w) expectSameBits(`${law}: ${where}`, a, w);
  });
}

/** Runs a body with a source, which is disposed whatever happens. */
async function withSource<R>({ create }: Pick<Ready, "create">, body: (source: InitialStates) => Promise<R>): Promise<R> {
  const source = create();
  try {
    return await body(source);
  } finally {
    source.dispose();
  }
}

async function shapes(setup: Ready): Promise<void> {
  const { model, device, dtype, batch, steps } = setup;
  const zero = keep(scope(() => model.initialState(batch, device, dtype)));
  const wanted = leaves(zero).map(({ path, tensor: { shape } }) => ({ path, shape }));
  dispose(zero);
  await withSource(setup, async (source) => {
    for (const start of await run(source, setup, 0, steps)) {
      if (start) paired(`${source.name}: a batch starts from a state of the model`, start, wanted);
    }
  });
}

async function keys(setup: Ready): Promise<void> {
  const first = await withSource(setup, (source) => run(source, setup, 0, setup.steps));
  await withSource(setup, async (source) => {
    const law = `${source.name}: what a source gives follows from what it saw and the key`;
    const again: (Numbers[] | undefined)[] = [];
    for (let step = 0; step < setup.steps; step++) {
      for (let microBatch = 0; microBatch < setup.microBatches; microBatch++) {
        const about = request(setup, step, microBatch);
        await given(source, about); // asked once in vain
        if (microBatch > 0) await given(source, request(setup, step, microBatch - 1));
        again.push(await given(source, about));
        show(source, setup, about);
      }
    }
    expectSame(law, setup, again, first);
  });
}

async function fresh(setup: Ready): Promise<void> {
  await withSource(setup, async (source) => {
    if (source.order !== "contiguous") return;
    const law = `${source.name}: a sequence without a past starts from zero, and the others as if nothing were`;
    await run(source, setup, 0, setup.steps);
    const about = (marks?: readonly boolean[]) => request(setup, setup.steps, 0, marks);
    const usual = await given(source, about());
    const marked = Array.from({ length: setup.batch }, (_, i) => i === 0);
    const start = await given(source, about(marked));
    if (start === undefined) return; // all from zero
    for (const { path, shape, values } of start) {
      const size = shape.slice(1).reduce((a, b) => a * b, 1);
      const before = usual?.find((leaf) => leaf.path === path)?.values;
      for (let i = 0; i < values.length; i++) {
        const wanted = i < size ? 0 : before?.[i] ?? 0;
        if (values[i] !== wanted) broken(law, `${path} of sequence ${Math.floor(i / size)} holds ${values[i]} and should hold ${wanted}`);
      }
    }
    if ((await given(source, about(marked.map(() => true))))?.some(({ values }) => Array.from(values).some((x) => x !== 0))) {
      broken(law, "all sequences were without a past, and not all started from zero");
    }
  });
}

/** What a checkpoint gives back: values through JSON, tensors from their numbers. */
async function reread({ values, tensors }: SavedStates, device: Device): Promise<SavedStates> {
  const read = await Promise.all(Object.entries(tensors).map(async ([name, t]) => [name, await t.read(), t.shape, t.dtype] as const));
  return {
    values: JSON.parse(JSON.stringify(values)) as SavedStates["values"],
    tensors: Object.fromEntries(read.map(([name, numbers, shape, dtype]) => [name, keep(tensor(device, numbers, shape, dtype))])),
  };
}

async function resume(setup: Ready): Promise<void> {
  const { steps, device } = setup;
  await withSource(setup, async (source) => {
    await run(source, setup, 0, steps);
    await withSource(setup, async (again) => {
      again.restore(await reread(source.save(), device));
      expectSame(`${source.name}: after save and restore it goes on with the same bits`, setup,
        await run(again, setup, steps, 2 * steps), await run(source, setup, steps, 2 * steps));
    });
  });
}

async function memory(setup: Ready): Promise<void> {
  const { device, steps } = setup;
  const held = async () => {
    await device.synchronize();
    return device.memory().used;
  };
  const used = await held();
  const name = await withSource(setup, async (source) => {
    await run(source, setup, 0, steps);
    return source.name;
  });
  const after = await held();
  if (after !== used) broken(`${name}: a source that is disposed holds nothing`, `${after - used} bytes are held that were not before`);
}

const LAWS = { shapes, keys, fresh, resume, memory };

/** The name of a law of {@link checkInitialStates}. */
export type InitialStatesLaw = keyof typeof LAWS;

/** All of them, for tests that show each by itself. */
export const INITIAL_STATES_LAWS: readonly InitialStatesLaw[] = Object.keys(LAWS) as InitialStatesLaw[];

/**
 * Checks that a source of initial states keeps the laws of its contract: shapes of the model's state, randomness from keys alone, sequences
 * without a past, saving and going on with the same bits, and nothing left behind. Throws `E_LAW` for the first that is broken.
 */
export async function checkInitialStates({ laws = INITIAL_STATES_LAWS, ...setup }: InitialStatesSetup): Promise<void> {
  const { dtype = "f32", batch = 3, steps = 3, microBatches = 2 } = setup;
  for (const law of laws) await LAWS[law]({ ...setup, dtype, batch, steps, microBatches });
}
