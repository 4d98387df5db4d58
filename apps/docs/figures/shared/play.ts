/** Recorded numbers as a film. */

const FRAME_MS = 220;

/** Shows one frame after another; readers who want less motion see the last one at once. Ends early where the signal says so. */
export async function play<Frame>(frames: readonly Frame[], signal: AbortSignal,
  show: (frame: Frame, index: number) => void, frameMs = FRAME_MS): Promise<void> {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  for (const [i, frame] of frames.entries()) {
    if (signal.aborted) return;
    if (still && i < frames.length - 1) continue;
    show(frame, i);
    await new Promise((resolve) => setTimeout(resolve, frameMs));
  }
}
