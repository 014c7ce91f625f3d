import { SettingsSchema } from '$gen/bridge/admin/v1/settings_pb';
import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { changedPaths, draftOf, settingsOf } from './draft';

const settings = (more: object = {}) => create(SettingsSchema, { fallbackStrategy: 1, lossPolicy: 1, circuitBreaker: {}, retention: {}, ...more });

describe('settings in a form', () => {
  it.each([
    ['without anything of users', {}],
    ['with keys of users and no limits', { userKeys: { maxKeys: 100 } }],
    ['with limits that limit nothing', { userKeys: { maxKeys: 100, limits: {} } }],
    ['with limits', { userKeys: { maxKeys: 0, limits: { requestsPerMinute: 60, budgets: [{ period: 1, amount: { case: 'tokens' as const, value: 5n } }] } } }],
  ])('%s come back as they were', (_, more) => {
    const before = settings(more);
    expect(changedPaths(before, settingsOf(draftOf(before), before))).toEqual([]);
  });

  it('name what was changed and nothing else', () => {
    const before = settings({ userKeys: { maxKeys: 100 } });
    const draft = draftOf(before);
    draft.userLimits.requestsPerMinute = '60';
    const after = settingsOf(draft, before);
    expect(changedPaths(before, after)).toEqual(['user_keys']);
    expect(after.userKeys?.limits?.requestsPerMinute).toBe(60);
  });

  it('take limits away when they are emptied', () => {
    const before = settings({ userKeys: { maxKeys: 100, limits: { requestsPerMinute: 60 } } });
    const draft = draftOf(before);
    draft.userLimits.requestsPerMinute = '';
    expect(settingsOf(draft, before).userKeys?.limits).toBeUndefined();
  });
});
