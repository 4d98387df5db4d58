/** The worker's state: the device while it is open, the project, weights that wait for a text, and the training under way. */
import { check, dispose, type Device, devices, LenggenError, open } from "@lenggen/kernels";
import type { TrainEvent } from "@lenggen/interventions";
import { noteFor } from "../shared/commands";
import type { DeviceChoice, FromWorker, LoadedView, PhaseRecord, ToWorker } from "../shared/messages";
import { FAMILIES } from "../shared/families";
import { type Method } from "../shared/plan";
import { splitText } from "../shared/text";
import { LOSS_BY_POSITION, measure, trainPhase } from "../shared/training";
import { identify, pack, unpack } from "./archive";
import { type Files, memoryFiles } from "./files";
import { openFiles } from "./opfs";
import { type LoadedWeights, Project } from "./project";

const TELL_MS = 250;

export class Session {
  readonly #tell: (message: FromWorker) => void;
  #files: Files = memoryFiles();
  #project: Project | undefined;
  #loaded: { weights: LoadedWeights; view: LoadedView } | undefined;
  #device: { choice: DeviceChoice; device: Device } | undefined;
  #training: AbortController | undefined;

  constructor(tell: (message: FromWorker) => void) {
    this.#tell = tell;
  }

  /** Does what the page asks for; what goes wrong is reported, not thrown. */
  async handle(message: ToWorker): Promise<void> {
    try {
      await this.#do(message);
    } catch (error) {
      if (error instanceof LenggenError && error.code === "E_DEVICE_LOST") this.#closeDevice();
      const [code, text] = error instanceof LenggenError ? [error.code, error.message] as const : ["E_UNKNOWN", String(error)] as const;
      this.#tell({ kind: "failed", during: message.kind, code, message: text });
    }
  }

  async #do(message: ToWorker): Promise<void> {
    const replaces = message.kind === "begin" || message.kind === "load" || message.kind === "discard";
    check(!replaces || !this.#training, "E_ARGUMENT", () => "training is under way; stop it first");
    switch (message.kind) {
      case "open":
        return this.#open(message.fallback);
      case "begin": {
        const text = splitText(message.text.name, new Uint8Array(message.text.bytes), message.plan.context);
        this.#project = await Project.create(this.#files, text, message.plan, this.#loaded?.weights);
        this.#loaded = undefined;
        return this.#train(message.method, message.device);
      }
      case "continue":
        return this.#train(message.method, message.device);
      case "stop":
        this.#training?.abort();
        return;
      case "save":
        return this.#save();
      case "load": {
        const found = await identify(message.files);
        if (found.kind === "project") {
          await Project.discard(this.#files);
          await unpack(this.#files, found.files);
          this.#project = await Project.open(this.#files);
          this.#loaded = undefined;
        } else {
          this.#loaded = { weights: found.weights, view: { about: found.weights.about, context: found.context } };
        }
        return this.#tellProject();
      }
      case "discard":
        await Project.discard(this.#files);
        this.#project = undefined;
        this.#loaded = undefined;
        return this.#tellProject();
    }
  }

  async #open(fallback: boolean): Promise<void> {
    const holdsStorage = await holdStorage();
    if (holdsStorage) this.#files = await openFiles();
    const listings = await devices({ fallback });
    let damage: unknown;
    if (holdsStorage) this.#project = await Project.open(this.#files).catch((error: unknown) => void (damage = error));
    this.#tell({
      kind: "ready", lasting: this.#files.lasting, elsewhere: !holdsStorage, project: (await this.#project?.view()) ?? null,
      devices: listings.filter(({ name }) => name !== "cpu"),
    });
    if (damage !== undefined) throw damage;
  }

  async #train(method: Method, choice: DeviceChoice): Promise<void> {
    const project = this.#project;
    if (!project || this.#training) return;
    const training = new AbortController();
    this.#training = training;
    try {
      const device = await this.#deviceFor(choice);
      const phase = await project.nextPhase(method);
      const weights = project.weightsOf(phase);
      const config = await project.configOf(phase);
      this.#tell({ kind: "started", device: device.description, phase: await project.viewOf(phase), project: await project.view() });
      if (weights && (await project.wantsFirstMeasurement())) {
        const parameters = await weights(device);
        try {
          const results = await measure(FAMILIES.make(config, { unknownFields: "report" }), parameters, project.text, project.plan.context,
            this.#tellMeasuring, training.signal);
          const record: PhaseRecord = { kind: "evaluation", step: 0, name: LOSS_BY_POSITION, results };
          await project.keepFirstMeasurement(record);
          this.#tellEvent(record);
        } finally {
          dispose(parameters);
        }
      }
      const result = await trainPhase({
        device, plan: project.plan, phase, config, text: project.text, store: project.store(phase), signal: training.signal,
        parameters: weights && (() => weights(device)),
        onEvent: (event) => this.#tellEvent(event),
        onMeasuring: this.#tellMeasuring,
      });
      dispose(result.parameters);
      this.#tell({ kind: "stopped", status: result.status, step: result.step });
    } catch (error) {
      // The measurement before the first step was stopped: nothing is lost.
      if (!(error instanceof LenggenError && error.code === "E_INTERRUPTED")) throw error;
      this.#tell({ kind: "stopped", status: "interrupted", step: 0 });
    } finally {
      this.#training = undefined;
    }
  }

  #lastProgress = 0;
  readonly #tellMeasuring = (share: number): void => {
    const now = performance.now();
    if (share > 0 && now < this.#lastProgress + TELL_MS) return;
    this.#lastProgress = now;
    this.#tell({ kind: "measuring", share });
  };

  #tellEvent(event: TrainEvent): void {
    this.#tell({ kind: "event", event });
  }

  async #deviceFor(choice: DeviceChoice): Promise<Device> {
    if (this.#device?.choice.kind === choice.kind) {
      try {
        await this.#device.device.synchronize();
        return this.#device.device;
      } catch {
        // It was lost while nothing ran: a fresh one is as good.
      }
    }
    this.#closeDevice();
    const device = await open(choice.kind, { fallback: choice.fallback });
    this.#device = { choice, device };
    return device;
  }

  #closeDevice(): void {
    this.#device?.device.close();
    this.#device = undefined;
  }

  async #save(): Promise<void> {
    const project = this.#project;
    if (!project) return;
    const archive = await pack(this.#files, noteFor(project.plan, await project.savedPhases(), project.text));
    this.#tell({ kind: "saved", archive, name: `${project.text.trainName.replace(".train.txt", "")}.tar` });
  }

  async #tellProject(): Promise<void> {
    this.#tell({ kind: "project", project: (await this.#project?.view()) ?? null, loaded: this.#loaded?.view ?? null });
  }
}

/** Takes the storage for this tab for as long as it lives; false when another tab has it. */
function holdStorage(): Promise<boolean> {
  if (navigator.locks === undefined) return Promise.resolve(true);
  return new Promise((resolve) => {
    void navigator.locks.request("train-in-a-tab", { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock === null ? undefined : new Promise<never>(() => {});
    });
  });
}
