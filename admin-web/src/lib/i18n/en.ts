import * as common from './texts/common';
import * as keys from './texts/keys';
import * as signIn from './texts/sign_in';

/** English is the measure: whatever it says, every other language must. */
export const en = { ...common.en, ...keys.en, ...signIn.en };

export type Dictionary = typeof en;
