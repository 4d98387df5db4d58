/** Tensors, gradients and fast kernels for recurrent sequence models. */

// Devices
export { open, devices } from "./open";
export type { Ceiling, Device, DeviceBuffer, DeviceKind, DeviceListing, KernelTime, LaunchCounts, MemoryUse, OpenOptions,
  WebGpuOptions } from "./device";
export { measureCeiling } from "./ceiling";

// Tensors, trees, gradients
export { dispose, disposeExcept, keep, leakedTensors, scope, Tensor, tensor, tensorsIn } from "./tensor";
export { full, zeros } from "./ops/memory";
export type { DType, TypedArray } from "./dtype";
export type { Shape } from "./shape";
export { countElements, leaves, mapTree, zipLeaves } from "./tree";
export type { Tree, TreeLike } from "./tree";
export { detach, isRecorded, scopeUnlessRecording, valueAndGradient, vjp, withoutGradient } from "./tape";
export type { Vjp } from "./tape";

// Errors
export { check, ERROR_CODES, LenggenError } from "./errors";
export type { ErrorCode } from "./errors";
export { entryNamed, nearest } from "./nearest";
export { yieldToEventLoop } from "./yieldToEventLoop";

// Settings that describe themselves
export { choiceSetting, countSetting, flagSetting, numberSetting, resolveSettings } from "./settings";
export type { Setting, Settings, SettingsTable } from "./settings";

// Models
export { advance, deviceOf, parameterCount } from "./model";
export type {
  CheckpointForm, ForwardOptions, ForwardResult, Parameters, Prefill, Rearranged, SequenceModel, StateFiles, StateLeaf,
} from "./model";

export { modelFamilies } from "./modelFamilies";
export type { LoadedCheckpoint, LoadedModel, MakeOptions, ModelFamilies, ModelFamily, ModelInFile, ReadFromShapes } from "./modelFamilies";
export { inLayout } from "./inLayout";
export { loadParameters, type LoadParametersOptions, parametersIn, type ParametersInFile, saveModel } from "./checkpoint";

// Tokens and training batches
export type { Batch, BatchSource, TokenOrder } from "./batch";
export { cutTokens, joinTokens, lastAtMost, partOf, readTokens, wholeOf } from "./tokens";
export type { Tokens, TokenSource } from "./tokens";

export { digestOf } from "./digest";
export { isSavedState, loadState, saveState } from "./stateFile";
export type { LoadedState, LoadStateOptions, StreamPlace } from "./stateFile";

// Random keys
export { foldIn, hostRandom, key, randomBits, split } from "./random";
export type { HostRandom, Key } from "./random";

// Files
export { encodeSafetensors, openSafetensors } from "./safetensors";
export { allBy } from "./tensorFile";
export type { TensorFile } from "./tensorFile";
export { rewriteSafetensors } from "./rewrite";
export type { FloatFileDType, RewriteOptions, Rewritten } from "./rewrite";
export type { FileTensor, Safetensors, WriteDType } from "./safetensors";
export { openWeights, openWeightsFile, SAFETENSORS, WEIGHTS_FILE, WEIGHTS_INDEX } from "./weights";
export type { Weights, WeightsFormat } from "./weights";
export { decode as decodeNumbers, encode as encodeNumbers } from "./fileDtype";
export type { FileDType, WritableDType } from "./fileDtype";
export { memorySource } from "./source";
export type { ByteSource } from "./source";
export { parseConfig, taggedNumbers } from "./configJson";
export { isJsonObject, parseJson, parseJsonBytes, quote } from "./strictJson";
export type { Json, JsonLimits, JsonObject } from "./strictJson";

// Ops of one's own
export { apply } from "./op";
export type { Field, Fields } from "./fields";
export type { Op, OpContext, OpRecord, OutputSpec, Saved } from "./op";
export { DTYPES } from "./dtype";
export { checkRoom } from "./room";
export { broadcastShapes, checkShape, normalizeAxis, sameShape, showShape, sizeOf } from "./shape";
export { kernelsOf } from "./kernels";
export type { Family, KernelsOf, Signature } from "./signature";

// Op families
export { alibiSlopes, attention, attentionOperations } from "./ops/attention";
export { chunkAttention, chunkAttentionOperations } from "./ops/chunkAttention";
export { causalConv } from "./ops/conv";
export { crossEntropy, logits } from "./ops/crossEntropy";
export { cumulativeSum } from "./ops/cumulativeSum";
export { deltaRule, deltaRuleOperations } from "./ops/deltaRule";
export { add, addScalar, div, equal, exp, less, log, mul, neg, relu, scale, sigmoid, silu, softplus, sqrt, square, sub,
  tanh } from "./ops/elementwise";
export { embedding, tokenTensor } from "./ops/embedding";
export { clamp, maximum, minimum } from "./ops/extrema";
export { gatedDeltaRule, gatedDeltaRuleOperations } from "./ops/gatedDeltaRule";
export { gatedLinearAttention, gatedLinearAttentionOperations } from "./ops/gatedLinearAttention";
export { gather } from "./ops/gather";
export { ssmGates } from "./ops/gates";
export { groupNorm } from "./ops/groupNorm";
export { layerNorm } from "./ops/layerNorm";
export { lerp } from "./ops/lerp";
export { linear, linearSplit, matmul } from "./ops/matmul";
export { addInto } from "./ops/addInto";
export { addRmsNorm, gatedRmsNorm, rmsNorm } from "./ops/norm";
export { adamW, adamWMoments, clipFactor, countNonFinite, globalNorm, unlessCounted } from "./ops/optimizer";
export type { AdamWMoments, AdamWOptions } from "./ops/optimizer";
export { normal, uniform } from "./ops/random";
export { argmax, logSoftmax, max, mean, softmax, sum } from "./ops/reduce";
export type { ReduceOptions } from "./ops/reduce";
export { MOST_RETRIEVED, retrieve, retrieveOperations } from "./ops/retrieve";
export { rope } from "./ops/rope";
export { slidingWindowAttention } from "./ops/slidingWindow";
export type { WindowState } from "./ops/slidingWindow";
export { scanOverTime } from "./ops/scanOverTime";
export type { ScanStep } from "./ops/scanOverTime";
export { selectiveScan, selectiveScanOperations } from "./ops/selectiveScan";
export { ssd, ssdOperations } from "./ops/ssd";
export { turn } from "./ops/turn";
export { assignSlice, broadcastTo, concat, extended, firstRows, reshape, slice, transpose } from "./ops/view";
export { where } from "./ops/where";

// Generation
export { generate } from "./generate";
export type { GenerateOptions } from "./generate";
export { sample } from "./sample";
export type { Sampling } from "./sample";
export { StopTexts } from "./stopTexts";
