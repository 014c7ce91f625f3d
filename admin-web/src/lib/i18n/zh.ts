import type { Dictionary } from './en';
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

export const zh: Dictionary = { ...common.zh, ...keys.zh, ...providers.zh, ...health.zh, ...models.zh, ...govern.zh, ...home.zh, ...stats.zh, ...fleet.zh, ...signIn.zh };
