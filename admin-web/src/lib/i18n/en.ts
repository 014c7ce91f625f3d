import { en as common } from './texts/common.en';
import { en as keys } from './texts/keys.en';
import { en as providers } from './texts/providers.en';
import { en as health } from './texts/health.en';
import { en as models } from './texts/models.en';
import { en as govern } from './texts/govern.en';
import { en as home } from './texts/home.en';
import { en as stats } from './texts/stats.en';
import { en as fleet } from './texts/fleet.en';
import { en as playground } from './texts/playground.en';
import { en as signIn } from './texts/sign_in.en';

/** English is the measure: whatever it says, every other language must. */
export const en = {
  ...common, ...keys, ...providers, ...health, ...models, ...govern, ...home, ...stats, ...fleet, ...playground, ...signIn,
  /** What the server says in English, in this language; undefined where that is not known. */
  said: (text: string): string | undefined => text,
};

export type Dictionary = typeof en;
