/** What the page knows, and how each message of the worker changes it. No DOM here. */
import type { DeviceListing } from "@lenggen/kernels";
import type { DeviceChoice, FromWorker, LoadedView, PhaseRecord, PhaseView, ProjectView } from "../shared/messages";
import { lighter } from "../shared/records";
import { FAST_PLAN, type Method, MODELS, type Plan, SLOW_PLAN, withFamily } from "../shared/plan";

/** A text that was chosen and not yet trained on. */
export interface ChosenText {
  readonly name: string;
  /** Absent until it has been read. */
  readonly bytes: Blob;
}

export interface Problem {
  readonly during: Extract<FromWorker, { kind: "failed" }>["during"] | "worker" | "text";
  readonly code: string;
  readonly message: string;
}

export interface PageState {
  /** `measuring` is training that waits for a measurement of the loss by position. */
  readonly activity: "opening" | "idle" | "starting" | "training" | "measuring" | "stopping";
  readonly devices: readonly DeviceListing[];
  /** Undefined until there is a device to train on: by itself where there is a GPU, else when the person says so. */
  readonly device: DeviceChoice | undefined;
  /** What trains, in words; known once it has been opened. */
  readonly deviceName: string | undefined;
  readonly lasting: boolean;
  readonly elsewhere: boolean;
  readonly text: ChosenText | undefined;
  readonly plan: Plan;
  readonly method: Method;
  readonly project: ProjectView | undefined;
  readonly loaded: LoadedView | undefined;
  readonly problem: Problem | undefined;
  /** How far the measurement under way has come, 0 ... 1. */
  readonly measured: number;
  /** Whether the device has not trained a step yet. */
  readonly fresh: boolean;
}

export const FIRST_STATE: PageState = {
  activity: "opening", devices: [], device: undefined, deviceName: undefined, lasting: true, elsewhere: false, text: undefined,
  plan: FAST_PLAN, method: "zero", project: undefined, loaded: undefined, problem: undefined, fresh: true, measured: 0,
};

/** Wishes from the page's address: `?fallback` takes a software adapter, `?device=reference` goes without a GPU. */
export interface Wishes {
  readonly fallback: boolean;
  readonly reference: boolean;
}

/** The state after a message. */
export function received(state: PageState, message: FromWorker, wishes: Wishes): PageState {
  switch (message.kind) {
    case "ready": {
      const { devices, lasting, elsewhere } = message;
      const hasGpu = devices.some(({ name, available }) => name === "webgpu" && available);
      const device: DeviceChoice | undefined = wishes.reference
        ? { kind: "reference", fallback: false }
        : hasGpu ? { kind: "webgpu", fallback: wishes.fallback } : undefined;
      return withProject(withDevice({ ...state, activity: "idle", devices, lasting, elsewhere }, device), message.project);
    }
    case "project": {
      const next = withProject({ ...state, activity: "idle", problem: undefined, loaded: message.loaded ?? undefined }, message.project);
      return message.loaded?.context ? { ...next, plan: { ...next.plan, context: message.loaded.context } } : next;
    }
    case "started":
      return {
        ...withProject(state, message.project), activity: state.activity === "stopping" ? "stopping" : "training",
        deviceName: message.device, loaded: undefined, problem: undefined, method: message.phase.method,
      };
    case "event":
      return withEvent(state, message.event);
    case "measuring":
      return { ...state, measured: message.share, activity: state.activity === "training" ? "measuring" : state.activity };
    case "stopped":
      return { ...state, activity: "idle" };
    case "saved":
      return state;
    default: // failed
      return { ...state, fresh: state.fresh || message.code === "E_DEVICE_LOST",
        activity: message.during === "save" || message.during === "stop" ? state.activity : "idle", problem: message };
  }
}

/** Settings fit the device until someone changes them; the family is the person's choice in any case. */
export function withDevice(state: PageState, device: DeviceChoice | undefined): PageState {
  const software = device?.kind === "reference" || state.devices.some(({ name, available }) => name === device?.kind && !available);
  const [fitting, other] = software ? [SLOW_PLAN, FAST_PLAN] : [FAST_PLAN, SLOW_PLAN];
  const { family } = MODELS[state.plan.model];
  const untouched = (Object.keys(other) as (keyof Plan)[]).every((name) => withFamily(other, family)[name] === state.plan[name]);
  return { ...state, device, plan: untouched ? withFamily(fitting, family) : state.plan };
}

function withProject(state: PageState, project: ProjectView | null): PageState {
  if (project === null) return { ...state, project: undefined };
  const last = project.phases.at(-1);
  return { ...state, project, plan: project.plan, text: undefined,
    method: last && last.folder !== "0-loaded" ? last.method : state.method };
}

function withEvent(state: PageState, event: Extract<FromWorker, { kind: "event" }>["event"]): PageState {
  const { project } = state;
  const phase = project?.phases.at(-1);
  if (!project || !phase) return state;
  switch (event.kind) {
    case "waiting":
    case "skipped":
      return state;
    case "resumed":
      // Lines after the checkpoint will come again.
      return withPhase(state, { ...phase, saved: event.step, records: phase.records.filter(({ step }) => step <= event.step) });
    case "checkpoint":
      return withPhase(state, { ...phase, saved: event.step });
    case "evaluation":
      return { ...withRecord(state, project, event), activity: state.activity === "measuring" ? "training" : state.activity };
    default: // step
      return { ...withRecord(state, project, event), fresh: false };
  }
}

/** Adds a line to the phase under way; the measurement at step 0 is that of loaded weights. */
function withRecord(state: PageState, project: ProjectView, record: PhaseRecord): PageState {
  const phases = project.phases.slice();
  const at = record.step === 0 ? 0 : phases.length - 1;
  phases[at] = { ...phases[at]!, records: lighter([...phases[at]!.records, record]) };
  return { ...state, project: { ...project, phases } };
}

function withPhase(state: PageState, phase: PhaseView): PageState {
  return { ...state, project: { ...state.project!, phases: [...state.project!.phases.slice(0, -1), phase] } };
}

/** Bytes per second at each step of a phase, as far as it was reported. */
export function ratesOf(phase: PhaseView | undefined): number[] {
  return (phase?.records ?? []).flatMap((record) => (record.kind === "step" ? [record.tokensPerSecond] : []));
}

/** Steps done in a phase, as far as they were reported. */
export function stepsDone(phase: PhaseView): number {
  const last = phase.records.findLast(({ kind }) => kind === "step");
  return Math.max(last?.step ?? 0, phase.saved ?? 0);
}

/** The phase that goes on, or would. */
export function currentPhase({ project }: PageState): PhaseView | undefined {
  return project?.phases.at(-1);
}

/** What the main button does now. */
export type MainAction =
  | { readonly kind: "stop" }
  | { readonly kind: "begin" | "continue"; readonly label: string }
  | { readonly kind: "none"; readonly label: string; readonly why: string };

export function mainAction(state: PageState): MainAction {
  const { activity, device, elsewhere, project, text, method, loaded } = state;
  if (activity === "training" || activity === "measuring") return { kind: "stop" };
  const phase = currentPhase(state);
  const label = activity === "stopping" ? "Stopping" : activity === "starting" ? "Starting"
    : labelOf(phase, method, loaded !== undefined && !project);
  if (activity !== "idle") return { kind: "none", label, why: "" };
  if (elsewhere) return { kind: "none", label, why: "This page is open in another tab, which has the run." };
  if (device === undefined) return { kind: "none", label, why: "Choose above how to go on without a GPU." };
  if (project) return { kind: "continue", label };
  if (text === undefined) return { kind: "none", label, why: "Choose a text first." };
  return { kind: "begin", label };
}

function labelOf(phase: PhaseView | undefined, method: Method, fromLoaded: boolean): string {
  if (!phase) return fromLoaded ? "Train on" : "Train";
  const goesOn = phase.method === method && stepsDone(phase) < phase.steps;
  if (goesOn) return phase.saved === null ? "Train" : "Resume";
  return method === "zero" ? "Train on from zero states" : "Train on with state passing";
}
