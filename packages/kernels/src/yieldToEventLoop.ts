/** Lets timers, signals and progress bars have their turn, also where a device computes on this very thread. */
export function yieldToEventLoop(): Promise<void> {
  return new Promise((proceed) => {
    if (typeof setImmediate === "function") {
      setImmediate(proceed);
      return;
    }
    // A message to oneself: browsers add 4 ms to timers that follow one another.
    const { port1, port2 } = new MessageChannel();
    const listen = port1 as unknown as EventTarget & { start(): void };
    listen.addEventListener("message", () => {
      port1.close();
      proceed();
    });
    listen.start();
    port2.postMessage(null);
  });
}
