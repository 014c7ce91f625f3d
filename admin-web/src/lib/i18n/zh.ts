import type { Dictionary } from './en';
import { zh as common } from './texts/common.zh';
import { zh as keys } from './texts/keys.zh';
import { zh as providers } from './texts/providers.zh';
import { zh as health } from './texts/health.zh';
import { zh as models } from './texts/models.zh';
import { zh as govern } from './texts/govern.zh';
import { zh as home } from './texts/home.zh';
import { zh as stats } from './texts/stats.zh';
import { zh as fleet } from './texts/fleet.zh';
import { zh as playground } from './texts/playground.zh';
import { said } from './said/index.zh';
import { zh as signIn } from './texts/sign_in.zh';

export const zh: Dictionary = { ...common, ...keys, ...providers, ...health, ...models, ...govern, ...home, ...stats, ...fleet, ...playground, ...signIn, said };
