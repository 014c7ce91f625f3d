/** Reads out of the sources who calls the control plane, for the test that each action says how it ended. */
import { parse } from 'svelte/compiler';

export interface Call {
  /** As in `users.createUser`. */
  name: string;
  /** It asks what would be, and changes nothing. */
  isDry: boolean;
  /** What is said when it is done, as it is written; nothing where no `Action` runs it. */
  done: string | undefined;
}

interface Node {
  type: string;
  start: number;
  end: number;
  [part: string]: unknown;
}

/** Who has clients: `api.users`, `door.auth`, `this.#auth`. */
const CLIENT = /^(?:(?:api|door)\.|this\.#(?=auth\.))(\w+\.\w+)$/;
const RUN = /^(\w+)\.run$/;
const ACTION = /(\w+)(?:: Action\b| = new Action\()/g;

/** `source` is a component, or a module of TypeScript. */
export function callsIn(source: string, isComponent: boolean): Call[] {
  const text = isComponent ? source : `<script lang="ts">${source}</script>`;
  const actions = new Set([...text.matchAll(ACTION)].map(([, name]) => name));
  const nodes = [...within(parse(text, { modern: true }))];
  const written = (node: unknown) => (isNode(node) ? text.slice(node.start, node.end).replace(/\s+/g, '') : '');
  const calls = nodes.filter(({ type }) => type === 'CallExpression').sort((a, b) => a.start - b.start);
  const runs = calls
    .filter((it) => actions.has(RUN.exec(written(it['callee']))?.[1]))
    .map((it) => {
      const [work, done] = it['arguments'] as Node[];
      // A work that has a name is a function that was given it.
      const named = nodes.find(({ type, id, init }) => type === 'VariableDeclarator' && isNode(init) && written(id) === written(work));
      return { work: (named?.['init'] as Node | undefined) ?? work, done: written(done) };
    });
  return calls.flatMap((call) => {
    const name = CLIENT.exec(written(call['callee']))?.[1];
    if (name === undefined) return [];
    const run = runs.find(({ work }) => work !== undefined && work.start <= call.start && call.end <= work.end);
    return [{ name, isDry: written(call).includes('dryRun:true'), done: run?.done }];
  });
}

function* within(part: unknown): Generator<Node> {
  if (typeof part !== 'object' || part === null) return;
  if (isNode(part)) yield part;
  for (const below of Object.values(part)) yield* within(below);
}

function isNode(it: unknown): it is Node {
  return typeof it === 'object' && it !== null && 'type' in it && 'start' in it;
}
