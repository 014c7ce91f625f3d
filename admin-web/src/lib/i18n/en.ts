import * as common from './texts/common';
import * as keys from './texts/keys';
import * as providers from './texts/providers';
import * as health from './texts/health';
import * as models from './texts/models';
import * as govern from './texts/govern';
import * as home from './texts/home';
import * as stats from './texts/stats';
import * as fleet from './texts/fleet';
import * as signIn from './texts/sign_in';

/** English is the measure: whatever it says, every other language must. */
export const en = { ...common.en, ...keys.en, ...providers.en, ...health.en, ...models.en, ...govern.en, ...home.en, ...stats.en, ...fleet.en, ...signIn.en };

export type Dictionary = typeof en;
