/** The worker: training happens here, with a device of its own, so that the page stays responsive. */
import type { ToWorker } from "../shared/messages";
import { Session } from "./session";

declare const self: DedicatedWorkerGlobalScope;

const session = new Session((message) => self.postMessage(message, []));
self.addEventListener("message", (event: MessageEvent<ToWorker>) => void session.handle(event.data));
