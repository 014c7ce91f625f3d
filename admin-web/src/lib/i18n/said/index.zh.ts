/**
 * What the control plane says, in Chinese.
 *
 * Its sentences are the keys, with `{}` for what it puts in: there is no second name for each of them
 * that could go astray, and a test reads them out of its sources.
 */
import { calls } from './calls.zh';
import { refusals, words } from './refusals.zh';
import { violations } from './violations.zh';

interface Sentence {
  pattern: RegExp;
  ours: string;
}

export const sentences: Readonly<Record<string, string>> = { ...violations, ...refusals, ...calls };

const exact: Readonly<Record<string, string>> = { ...sentences, ...words };

/** The more a sentence says itself, the earlier it is tried: `{} {} does not exist` fits many. */
const patterns: readonly Sentence[] = Object.entries(sentences)
  .filter(([theirs]) => theirs.includes('{}'))
  .sort(([a], [b]) => literal(b).length - literal(a).length)
  .map(([theirs, ours]) => ({ pattern: new RegExp(`^${theirs.split('{}').map(escaped).join('([^]+?)')}$`), ours }));

/** Undefined for a sentence that is not known: a newer control plane, or somebody else's words. */
export function said(text: string): string | undefined {
  const whole = Object.hasOwn(exact, text) ? exact[text] : undefined;
  if (whole !== undefined) return whole;
  for (const { pattern, ours } of patterns) {
    const values = pattern.exec(text)?.slice(1);
    if (values !== undefined) return ours.replace(/\{(\d)\}/g, (_, index: string) => valueOf(values[Number(index)] ?? ''));
  }
  return undefined;
}

/** A word within a sentence; names stay as they are. */
function valueOf(text: string): string {
  return Object.hasOwn(exact, text) ? (exact[text] ?? text) : text;
}

function literal(theirs: string): string {
  return theirs.replaceAll('{}', '');
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
