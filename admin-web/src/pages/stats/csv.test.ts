import { expect, it } from 'vitest';
import { toCsv } from './csv';

it('quotes what needs it, and defuses formulas', () => {
  expect(toCsv([['a', 'b "c"', 'd,e'], ['=1+1', '-x', -5], [undefined, 7n, '']])).toBe('a,"b ""c""","d,e"\r\n\'=1+1,\'-x,-5\r\n,7,\r\n');
});
