import type { CanaryStatus, Node } from '$gen/bridge/admin/v1/fleet_pb';
import { api } from '$lib/api';
import { isUnimplemented } from '$lib/api/errors';

/** Before the stream is opened again, at first and at most. */
const RETRY_MS = 1000;
const RETRY_MAX_MS = 15_000;

/**
 * The fleet as it is now.
 *
 * A browser has six connections to one origin, and this holds one of them: it lets go of it while the
 * page is hidden.
 */
export class LiveFleet {
  nodes = $state.raw<readonly Node[]>();
  published = $state(0n);
  connected = $state(0);
  current = $state(0);
  canary = $state.raw<CanaryStatus>();
  error = $state.raw<unknown>();
  isLive = $state(false);

  /** Must be made while a component is set up; ends with it. */
  constructor() {
    $effect(() => {
      let stop = this.#follow();
      const changed = () => {
        stop();
        stop = document.hidden ? () => undefined : this.#follow();
      };
      document.addEventListener('visibilitychange', changed);
      return () => {
        document.removeEventListener('visibilitychange', changed);
        stop();
      };
    });
  }

  #follow(): () => void {
    const ending = new AbortController();
    void this.#run(ending.signal);
    return () => ending.abort();
  }

  async #run(signal: AbortSignal): Promise<void> {
    let pauseMs = RETRY_MS;
    while (!signal.aborted) {
      try {
        await this.#watch(signal, () => (pauseMs = RETRY_MS));
      } catch (error) {
        if (signal.aborted) break;
        this.error = error;
        if (isUnimplemented(error)) break;
      }
      this.isLive = false;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      pauseMs = Math.min(pauseMs * 2, RETRY_MAX_MS);
    }
    this.isLive = false;
  }

  async #watch(signal: AbortSignal, heard: () => void): Promise<void> {
    let known = new Map<string, Node>();
    for await (const it of api.fleet.watchFleet({}, { signal })) {
      heard();
      for (const node of it.nodes) known.set(node.id, node);
      for (const id of it.removedNodeIds) known.delete(id);
      known = new Map(known);
      this.nodes = [...known.values()].sort((a, b) => a.id.localeCompare(b.id));
      this.published = it.publishedRevision;
      this.connected = it.connected;
      this.current = it.current;
      this.canary = it.canary;
      this.error = undefined;
      this.isLive = true;
    }
  }
}
