/**
 * Instruction sets, narrowest first. The order matters when linking: inline functions of the standard library
 * end up in several objects, the linker keeps the first copy, and that one must run on every processor.
 */
export const ISAS = {
  x64: {
    baseline: [],
    avx2: ["-mavx2", "-mfma", "-mf16c"],
    avx512: ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"],
  },
  arm64: { neon: [] },
};
