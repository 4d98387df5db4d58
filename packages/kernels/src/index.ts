/** Tensors, gradients and fast kernels for recurrent sequence models. */

// Devices
export { open, devices } from "./device";
export type { Device, DeviceBuffer, DeviceKind, DeviceListing, MemoryUse, OpenOptions } from "./device";
export { measureCeiling } from "./backends/cpu/ceiling";
export type { Ceiling } from "./backends/cpu/addon";

// Tensors, trees, gradients
export { dispose, full, keep, leakedTensors, scope, Tensor, tensor, tensorsIn, zeros } from "./tensor";
export type { DType, TypedArray } from "./dtype";
export type { Shape } from "./shape";
export { countElements, leaves, mapTree, zipLeaves } from "./tree";
export type { Tree, TreeLike } from "./tree";
export { detach, valueAndGradient, vjp, withoutGradient } from "./tape";
export type { Vjp } from "./tape";

// Errors
export { check, ERROR_CODES, LenggenError } from "./errors";
export type { ErrorCode } from "./errors";
export { nearest } from "./nearest";

// Models
export type { ForwardResult, Parameters, SequenceModel, StateLeaf } from "./model";

// Ops of one's own
export { apply } from "./op";
export type { Op, OpContext, OpInput, OpRecord, OutputSpec } from "./op";
export { DTYPES } from "./dtype";
export { broadcastShapes, checkShape, normalizeAxis, sameShape, showShape, sizeOf } from "./shape";
export type { Kernels } from "./kernels";

// Op families
