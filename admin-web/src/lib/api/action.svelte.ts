import { tick } from 'svelte';
import { toast } from 'svelte-sonner';
import { explain, violationsOf, type Violations } from './errors';

/** How something ended that can end badly without being refused, as a test of a provider can. */
export interface Ending {
  isGood: boolean;
  text: string;
}

/** Something that a reader does: runs once at a time and says how it ended. */
export class Action {
  isRunning = $state(false);
  violations = $state.raw<Violations>({});
  /** Why it was refused the last time. */
  error = $state.raw<unknown>();

  /** True if `work` was accepted; then it says `done`, and otherwise why not. */
  async run<T>(work: () => Promise<T>, done: string | ((answer: T) => Ending)): Promise<boolean> {
    if (this.isRunning) return false;
    this.isRunning = true;
    this.violations = {};
    this.error = undefined;
    try {
      const answer = await work();
      const { isGood, text } = typeof done === 'string' ? { isGood: true, text: done } : done(answer);
      if (isGood) toast.success(text);
      else toast.error(text);
      return true;
    } catch (error) {
      this.error = error;
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
