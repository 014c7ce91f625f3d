/** Reads sentences out of Rust sources, for the test that none is missing. */

/** What is written for logs, for the compiler, or for whoever reads a panic. */
const SKIPPED = /^(?:tracing::\w+!|#!?\[\w+|(?:debug_)?assert(?:_eq|_ne)?!|unreachable!)\s*[([]?/;
const TESTS = /^#\[cfg\((?:test|all\(test)/;
const RAW = /^r(#*)"/;
const CHARACTER = /^'(?:\\.[^']*|[^'\\])'/;
/** The longest of the above. */
const LOOK_AHEAD = 64;
/** At least two words, one after the other. */
const SENTENCE = /[A-Za-z]{2,} [a-z{`0-9*]/;

/** Each with `{}` where something is put in. */
export function sentencesIn(source: string): string[] {
  return textsIn(source)
    .filter((it) => SENTENCE.test(it))
    .map(asSentence);
}

/** `{{` and `}}` are braces, everything else in braces is put in. */
function asSentence(text: string): string {
  return text.replace(/\{\{|\}\}|\{[^{}]*\}/g, (it) => (it === '{{' ? '{' : it === '}}' ? '}' : '{}'));
}

function textsIn(source: string): string[] {
  const found: string[] = [];
  /** How many brackets are open of what is skipped; an attribute of an error is not. */
  let skipped = 0;
  let at = 0;
  while (at < source.length) {
    const next = source.slice(at, at + LOOK_AHEAD);
    const raw = RAW.exec(next);
    const character = CHARACTER.exec(next);
    const macro = SKIPPED.exec(next);
    if (next.startsWith('//')) {
      at = after(source, '\n', at);
    } else if (TESTS.test(next)) {
      at = afterItem(source, at);
    } else if (character !== null) {
      at += character[0].length;
    } else if (raw !== null && !/\w/.test(source[at - 1] ?? '')) {
      const end = `"${raw[1] ?? ''}`;
      const start = at + raw[0].length;
      at = after(source, end, start);
      if (skipped === 0) found.push(source.slice(start, at - end.length));
    } else if (next.startsWith('"')) {
      const end = endOf(source, at + 1);
      if (skipped === 0) found.push(unescaped(source.slice(at + 1, end)));
      at = end + 1;
    } else if (skipped === 0 && macro !== null && !macro[0].startsWith('#[error')) {
      skipped = macro[0].split(/[([]/).length - 1;
      at += macro[0].length;
    } else {
      if (skipped > 0 && '([{'.includes(source[at] ?? '')) skipped += 1;
      if (skipped > 0 && ')]}'.includes(source[at] ?? '')) skipped -= 1;
      at += 1;
    }
  }
  return found;
}

function after(source: string, end: string, from: number): number {
  const found = source.indexOf(end, from);
  return found < 0 ? source.length : found + end.length;
}

/** Of an item with attributes: past its last brace, or its semicolon. */
function afterItem(source: string, from: number): number {
  const [, body = ''] = /^(?:#\[[^\n]*\]\s*)+([^;{]*.)/.exec(source.slice(from)) ?? [];
  let at = source.indexOf(body, from) + body.length;
  if (!body.endsWith('{')) return at;
  // The formatter puts the brace that ends it where the item began.
  const margin = /[ \t]*$/.exec(source.slice(0, from))?.[0] ?? '';
  at = source.indexOf(`\n${margin}}`, at);
  return at < 0 ? source.length : at + margin.length + 2;
}

/** Of a text that began before `from`: where its quote is. */
function endOf(source: string, from: number): number {
  let at = from;
  while (at < source.length && source[at] !== '"') at += source[at] === '\\' ? 2 : 1;
  return at;
}

/** A backslash at the end of a line takes the blanks of the next one along. */
function unescaped(text: string): string {
  return text.replace(/\\\n\s*/g, '').replace(/\\(.)/g, '$1');
}
