// Holds the Chinese sentences against the sources of the control plane: none is missing, and none is left over.
import { describe, expect, it } from 'vitest';
import { said, sentences } from './index.zh';
import { sentencesIn } from './rust';

const FOLDER = /^.*?\/(?:control-plane\/src\/|(?=data-plane\/))/;
const SOURCES = import.meta.glob<string>(['../../../../../control-plane/src/**/*.rs', '../../../../../data-plane/src/upstream/outcome.rs'], { query: '?raw', import: 'default', eager: true });
/** Where what people are told is written. Starting, importing a file and the listener of data planes have other readers. */
const TOLD = /^(auth\/(password|session|throttle)|configuration\/|domain\/|explain|grpc\/|peers|data-plane\/|playground|probe|snapshot\/(nodes\/record|rollout)|store\/(audit_chain|breaker_overrides|error|fleet_nodes|join_tokens|owned_keys|service_tokens))/;
const NOT_TOLD = /(^|\/)(tests?|fuzz)(\.rs$|\/)|^grpc\/(enrolment|watch|usage|interceptor)|^grpc\/health\/passive/;
/** The rest of a file that is about something else. */
const REST = /^\/\/\/ Why the store does not open[^]*/m;
/** In places that people are told from, but for data planes, logs and records. */
const FOR_OTHERS = new Set([
  'a letter cannot be sealed',
  'a read of the store was interrupted',
  'a record in {} has version {}, this build reads up to {}',
  'a key is not the id of a service token',
  'a record in {} is damaged: {}',
  'a refresh token came twice, the session was ended',
  'the certificate of this data plane is not known: it was forgotten, or has enrolled anew; give it a new join token',
  'the join token has expired; an admin makes another one',
  'the join token is for a data plane of another name; see NODE_ID',
  'the join token is not valid or was used before; an admin makes another one',
  'this data plane was revoked; an admin has to forget it before it can enrol again',
  'this name belongs to a data plane with a certificate, and the node token does not prove it',
]);

function told(): Map<string, string> {
  const found = new Map<string, string>();
  for (const [path, source] of Object.entries(SOURCES)) {
    const name = path.replace(FOLDER, '');
    if (!TOLD.test(name) || NOT_TOLD.test(name)) continue;
    for (const sentence of sentencesIn(source.replace(REST, ''))) found.set(sentence, name);
  }
  return found;
}

describe('a source', () => {
  const source = [
    '// it is "in a comment"',
    'tracing::warn!(id = %id, "it is for {} the log");',
    '#[cfg(test)]',
    'fn only() {',
    '    say("it is in a test");',
    '}',
    '#[error("it has {} of {max}, {{no}} more")]',
    'say(r#"it is "raw" text"#);',
    "say('\"', \"it goes on \\",
    '     after the line");',
  ].join('\n');

  it('tells its sentences and nothing else', () => {
    expect(sentencesIn(source)).toEqual(['it has {} of {}, {no} more', 'it is "raw" text', 'it goes on after the line']);
  });
});

describe('the sentences of the control plane', () => {
  const found = told();

  it('are found', () => {
    expect(found.size).toBeGreaterThan(150);
    for (const known of ['must not be empty', '{} {} does not exist', 'the last enabled admin must stay one']) expect([...found.keys()]).toContain(known);
  });

  it('are all there in Chinese', () => {
    const missing = [...found].filter(([sentence]) => !Object.hasOwn(sentences, sentence) && !FOR_OTHERS.has(sentence));
    expect(missing.map(([sentence, file]) => `${file}: ${sentence}`)).toEqual([]);
  });

  it('have no translation that nobody says', () => {
    expect(Object.keys(sentences).filter((it) => !found.has(it))).toEqual([]);
    expect([...FOR_OTHERS].filter((it) => !found.has(it))).toEqual([]);
  });

  it('keep all their values', () => {
    for (const [theirs, ours] of Object.entries(sentences)) {
      const values = theirs.split('{}').length - 1;
      const kept = new Set([...ours.matchAll(/\{(\d)\}/g)].map(([, index]) => Number(index)));
      expect([...kept].sort(), theirs).toEqual(Array.from({ length: values }, (_, index) => index));
    }
  });
});

describe('a sentence', () => {
  it.each([
    ['must not be empty', '不能为空'],
    ['must have at most 200 characters', '最多 200 个字符'],
    ['must be a whole number from 1 to 9', '必须是 1 到 9 的整数'],
    ['must have {model} in its path or query', '路径或查询中必须包含 {model}'],
    ['api_key abc does not exist', 'API 密钥 abc 不存在'],
    ['session abc does not exist', '会话 abc 不存在'],
    ['must be an absolute URL: relative URL without a base', '必须是绝对 URL：缺少 http:// 或 https://'],
    ['at most 100 join tokens may wait; use them, or wait until they expire', '最多 100 个等待使用的加入令牌；请使用它们，或等待它们过期'],
    ['must be the id of an API key', '必须是 API 密钥的 ID'],
    ['must have a budget of at most 7 tokens a day', '必须有预算：每天最多 7 令牌'],
  ])('%s', (theirs, ours) => expect(said(theirs)).toBe(ours));

  it('that is not known stays the server’s', () => {
    expect(said('the moon is in the wrong house')).toBeUndefined();
    expect(said('constructor')).toBeUndefined();
  });
});
