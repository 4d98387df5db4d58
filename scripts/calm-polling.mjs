/**
 * For tests in Node. While anything is awaited of WebGPU, Dawn polls from one `setImmediate` to the next, which keeps a core busy that
 * software adapters compile and compute on. Here it looks once a millisecond, and tests on SwiftShader take two thirds of the time.
 * Dawn takes `setImmediate` from the global object each time, with a native function.
 */
const { setImmediate: immediately } = globalThis;
const isNative = (callback) => typeof callback === "function" && Function.prototype.toString.call(callback).includes("[native code]");

globalThis.setImmediate = Object.assign(
  (callback, ...given) => (isNative(callback) ? setTimeout(() => callback(...given), 1) : immediately(callback, ...given)),
  immediately, // what util.promisify looks for
);
