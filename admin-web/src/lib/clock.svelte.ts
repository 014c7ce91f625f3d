const TICK_MS = 10_000;

class Clock {
  nowMs = $state(Date.now());

  constructor() {
    setInterval(() => (this.nowMs = Date.now()), TICK_MS);
  }
}

/** The time as pages show it: close enough for "3 minutes ago". */
export const clock = new Clock();
