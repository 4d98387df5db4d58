/**
 * The queue of a WebGPU device. Launches are recorded, and encoded when the running JavaScript task ends or a batch is
 * full, so that a training step takes a few submissions. A batch whose pipelines still compile waits for them, and all
 * later ones behind it: order is kept, and nothing blocks but reading back.
 */
import { check, LenggenError } from "../../errors";
import type { Pipeline, Pipelines } from "./pipelines";
import type { WebGpuBuffer } from "./pool";
import { Profiler } from "./profiler";
import { Staging } from "./staging";

/** A range of a buffer, in bytes. */
export interface BufferRange {
  readonly buffer: WebGpuBuffer;
  readonly offset: number;
  readonly size: number;
}

/** One kernel launch. `params` has the bytes of the shader's `Params`. */
export interface Dispatch {
  readonly pipeline: Pipeline;
  readonly ranges: readonly BufferRange[];
  readonly params: Uint8Array;
  readonly groups: readonly [number, number];
}

interface Copy {
  readonly source: GPUBuffer;
  readonly sourceOffset: number;
  readonly target: GPUBuffer;
  readonly targetOffset: number;
  readonly size: number;
}

type Command =
  | ({ readonly kind: "dispatch" } & Dispatch)
  | ({ readonly kind: "copy" } & Copy)
  | { readonly kind: "write"; readonly target: GPUBuffer; readonly offset: number; readonly bytes: Uint8Array };

/** Commands that are encoded together; what they upload lies in one piece. */
interface Batch {
  readonly commands: Command[];
  /** Bytes of the dispatches' params and of small writes, for the staging buffers. */
  params: number;
  uploads: number;
  readonly encoded: Promise<void>;
  readonly markEncoded: () => void;
}

/** What the queue has done, for benchmarks and tests. */
export interface QueueCounts {
  dispatches: number;
  copies: number;
  submissions: number;
}

const LARGEST_BATCH = 256;
/** Writes up to this size travel with their batch; larger ones cut it. */
const SMALL_WRITE = 1 << 16;
const MOST_UPLOADS = 1 << 20;
/** Bind groups are remembered by what they bind; beyond so many all are forgotten. */
const MOST_BIND_GROUPS = 8192;

export class Queue {
  readonly counts: QueueCounts = { dispatches: 0, copies: 0, submissions: 0 };
  readonly #gpu: GPUDevice;
  readonly #staging: Staging;
  readonly #profiler: Profiler | undefined;
  readonly #bindGroups = new Map<string, GPUBindGroup>();
  readonly #waiting: Batch[] = [];
  #recording: Batch = emptyBatch();
  #retired: GPUBuffer[] = [];
  #stalled = false;
  #failure: LenggenError | undefined;
  #checked: Promise<unknown> = Promise.resolve();

  constructor(gpu: GPUDevice, pipelines: Pipelines, profiled: boolean) {
    this.#gpu = gpu;
    this.#staging = new Staging(gpu, pipelines.paramsLayout);
    this.#profiler = profiled ? new Profiler(gpu) : undefined;
  }

  get profiler(): Profiler | undefined {
    return this.#profiler;
  }

  dispatch(dispatch: Dispatch): void {
    this.#record({ kind: "dispatch", ...dispatch });
    this.#recording.params += this.#staging.paramsStride(dispatch.params.length);
    if (this.#recording.commands.length >= LARGEST_BATCH) this.flush();
  }

  copy(source: BufferRange, target: BufferRange): void {
    this.#copy({ source: source.buffer.gpu, sourceOffset: source.offset, target: target.buffer.gpu, targetOffset: target.offset,
      size: source.size });
  }

  /** `bytes` must be the queue's own: they are kept until the batch is encoded. */
  write(buffer: WebGpuBuffer, offset: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#record({ kind: "write", target: buffer.gpu, offset, bytes });
    if (bytes.length <= SMALL_WRITE) this.#recording.uploads += bytes.length;
    if (this.#recording.uploads >= MOST_UPLOADS) this.flush();
  }

  /** The bytes of a range once all that was recorded before has run. Rejects with the first failure until then. */
  async read(range: BufferRange, into?: Uint8Array): Promise<Uint8Array> {
    const staged = this.#staging.takeReadback(Math.max(4, range.size));
    if (range.size > 0) {
      this.#copy({ source: range.buffer.gpu, sourceOffset: range.offset, target: staged, targetOffset: 0, size: range.size });
    }
    await this.#encodedNow();
    await staged.mapAsync(1 /* GPUMapMode.READ */, 0, Math.max(4, range.size));
    const bytes = into ?? new Uint8Array(range.size);
    const there = bytes.length === range.size;
    if (there) bytes.set(new Uint8Array(staged.getMappedRange(0, Math.max(4, range.size)), 0, range.size));
    staged.unmap();
    this.#staging.giveReadback(staged);
    await this.#settle();
    check(there, "E_ARGUMENT", () => "into was transferred or resized while it was read into");
    return bytes;
  }

  /** Resolves when all that was recorded before has run. */
  async synchronize(): Promise<void> {
    await this.#encodedNow();
    await this.#gpu.queue.onSubmittedWorkDone();
    await this.#settle();
  }

  /** Ends the batch; it is encoded as soon as its pipelines are there. */
  flush(): void {
    if (this.#recording.commands.length === 0) return;
    this.#waiting.push(this.#recording);
    this.#recording = emptyBatch();
    this.#drain();
  }

  /** Destroys a buffer when nothing recorded needs it any more. */
  retire(buffer: GPUBuffer): void {
    this.#retired.push(buffer);
    if (this.#waiting.length === 0 && this.#recording.commands.length === 0) this.#destroyRetired();
  }

  /** The first failure is kept until a read or a synchronisation reports it. */
  fail(failure: LenggenError): void {
    this.#failure ??= failure;
  }

  #copy(copy: Copy): void {
    this.counts.copies++;
    this.#record({ kind: "copy", ...copy });
  }

  #record(command: Command): void {
    if (this.#recording.commands.length === 0) queueMicrotask(() => this.flush());
    this.#recording.commands.push(command);
  }

  #encodedNow(): Promise<void> {
    this.flush();
    return this.#waiting.at(-1)?.encoded ?? Promise.resolve();
  }

  async #settle(): Promise<void> {
    await this.#checked;
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure) throw failure;
  }

  #drain(): void {
    if (this.#stalled) return;
    for (let batch = this.#waiting[0]; batch; batch = this.#waiting[0]) {
      const compiling = batch.commands.flatMap((command) =>
        command.kind === "dispatch" && !command.pipeline.compiled && !command.pipeline.failure ? [command.pipeline.done] : []);
      if (compiling.length > 0) {
        void this.#drainAfter(compiling);
        return;
      }
      this.#waiting.shift();
      this.#encode(batch);
      batch.markEncoded();
    }
    if (this.#recording.commands.length === 0) this.#destroyRetired();
  }

  async #drainAfter(compiling: readonly Promise<void>[]): Promise<void> {
    this.#stalled = true;
    await Promise.all(compiling);
    this.#stalled = false;
    this.#drain();
  }

  #destroyRetired(): void {
    if (this.#retired.length === 0) return;
    for (const buffer of this.#retired) buffer.destroy();
    this.#retired = [];
    // Some of them name a buffer that is gone.
    this.#bindGroups.clear();
  }

  #encode(batch: Batch): void {
    const scopes = ["validation", "out-of-memory", "internal"] as const;
    for (const scope of scopes) this.#gpu.pushErrorScope(scope);
    const { queue } = this.#gpu;
    this.#staging.begin(batch.params, batch.uploads);
    let encoder: GPUCommandEncoder | undefined;
    let pass: GPUComputePassEncoder | undefined;
    // Params and uploads are written before the submission that reads them, whatever was encoded in between.
    const pending: GPUCommandBuffer[] = [];
    const endPass = (): void => {
      pass?.end();
      pass = undefined;
    };
    const finish = (): void => {
      endPass();
      if (encoder) pending.push(encoder.finish());
      encoder = undefined;
    };
    const submit = (): void => {
      finish();
      if (pending.length === 0) return;
      this.#staging.upload();
      queue.submit(pending.splice(0));
      this.counts.submissions++;
    };
    for (const command of batch.commands) {
      if (command.kind === "write" && command.bytes.length > SMALL_WRITE) {
        submit();
        queue.writeBuffer(command.target, command.offset, command.bytes);
        continue;
      }
      encoder ??= this.#gpu.createCommandEncoder();
      if (command.kind === "dispatch") {
        const { pipeline, groups } = command;
        if (!pipeline.compiled) {
          this.fail(pipeline.failure!);
          continue;
        }
        if (this.#profiler) endPass();
        pass ??= encoder.beginComputePass(this.#profiler?.describe(pipeline.program.name));
        pass.setPipeline(pipeline.compiled);
        pass.setBindGroup(0, this.#bindGroup(command));
        pass.setBindGroup(1, this.#staging.paramsGroup, [this.#staging.addParams(command.params)]);
        pass.dispatchWorkgroups(groups[0], groups[1]);
        this.counts.dispatches++;
      } else {
        endPass();
        if (command.kind === "copy")
          encoder.copyBufferToBuffer(command.source, command.sourceOffset, command.target, command.targetOffset, command.size);
        else this.#staging.addUpload(encoder, command.target, command.offset, command.bytes);
      }
    }
    endPass();
    if (this.#profiler) this.#profiler.resolve((encoder ??= this.#gpu.createCommandEncoder()));
    submit();
    this.#profiler?.collect();
    this.#watch(batch, scopes.map(() => this.#gpu.popErrorScope()));
  }

  #bindGroup({ pipeline, ranges }: Dispatch): GPUBindGroup {
    let name = pipeline.layout.label;
    for (const { buffer, offset, size } of ranges) name += `,${buffer.id}:${offset}:${size}`;
    let group = this.#bindGroups.get(name);
    if (!group) {
      group = this.#gpu.createBindGroup({
        label: pipeline.program.name,
        layout: pipeline.layout,
        entries: ranges.map(({ buffer, offset, size }, binding) => ({ binding, resource: { buffer: buffer.gpu, offset, size } })),
      });
      if (this.#bindGroups.size >= MOST_BIND_GROUPS) this.#bindGroups.clear();
      this.#bindGroups.set(name, group);
    }
    return group;
  }

  /** Turns what the device says of a batch, later, into a failure that names the kernel. */
  #watch(batch: Batch, scopes: readonly Promise<GPUError | null>[]): void {
    const check = async (): Promise<void> => {
      const errors = await Promise.all(scopes.map((scope) => scope.catch(() => null)));
      const error = errors.find((e) => e !== null);
      if (!error) return;
      const code = errors[1] === error ? "E_MEMORY" : "E_DEVICE";
      // One at once beats one after another: each is encoded by itself, and none is submitted.
      const culprits = await Promise.all(batch.commands.map((command) =>
        (command.kind === "dispatch" ? this.#isRefused(command) : Promise.resolve(false))));
      const names = [...new Set(batch.commands.flatMap((command, i) =>
        (culprits[i] && command.kind === "dispatch" ? [command.pipeline.program.name] : [])))];
      this.fail(new LenggenError(code, `webgpu: ${names.length > 0 ? `kernel ${names.join(", ")}` : "the queue"}: ${error.message.trim()}`,
        { cause: error }));
    };
    this.#checked = Promise.all([this.#checked, check()]);
  }

  async #isRefused({ pipeline, ranges, groups, params }: Dispatch): Promise<boolean> {
    if (!pipeline.compiled) return true;
    this.#gpu.pushErrorScope("validation");
    const encoder = this.#gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline.compiled);
    pass.setBindGroup(0, this.#bindGroup({ pipeline, ranges, groups, params }));
    pass.setBindGroup(1, this.#staging.paramsGroup, [0]);
    pass.dispatchWorkgroups(groups[0], groups[1]);
    pass.end();
    encoder.finish();
    return (await this.#gpu.popErrorScope().catch(() => null)) !== null;
  }
}

function emptyBatch(): Batch {
  let markEncoded!: () => void;
  const encoded = new Promise<void>((resolve) => (markEncoded = resolve));
  return { commands: [], params: 0, uploads: 0, encoded, markEncoded };
}
