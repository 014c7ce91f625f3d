import type { Dictionary } from './en';
import * as common from './texts/common';
import * as keys from './texts/keys';
import * as signIn from './texts/sign_in';

export const zh: Dictionary = { ...common.zh, ...keys.zh, ...signIn.zh };
