import { tick } from 'svelte';
import { toast } from 'svelte-sonner';
import { explain, violationsOf, type Violations } from './errors';

/** Something that a reader does: runs once at a time and says how it ended. */
export class Action {
  isRunning = $state(false);
  violations = $state.raw<Violations>({});

  /** True if `work` was accepted. `done`: what to say then; empty says nothing. */
  async run(work: () => Promise<unknown>, done = ''): Promise<boolean> {
    if (this.isRunning) return false;
    this.isRunning = true;
    this.violations = {};
    try {
      await work();
      if (done) toast.success(done);
      return true;
    } catch (error) {
      this.violations = violationsOf(error);
      if (Object.keys(this.violations).length > 0) void showFirst();
      const { text, words } = explain(error);
      toast.error(text, words === undefined ? {} : { description: words });
      return false;
    } finally {
      this.isRunning = false;
    }
  }

  /** What is wrong with a field, or with anything below it. */
  wrong(field: string): string | undefined {
    const found = Object.entries(this.violations).filter(([name]) => name === field || name.endsWith(`.${field}`) || name.startsWith(`${field}[`) || name.startsWith(`${field}.`) || name.includes(`.${field}[`) || name.includes(`.${field}.`));
    return found.length === 0 ? undefined : found.map(([, text]) => text).join('; ');
  }
}

/** Brings the first marked field into view, which may be far from the button that was pressed. */
async function showFirst(): Promise<void> {
  await tick();
  document.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
}
