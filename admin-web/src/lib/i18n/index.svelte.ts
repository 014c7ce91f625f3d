import { remember, remembered } from '../remembered';
import { en, type Dictionary } from './en';
import { zh } from './zh';

export const LANGUAGES = ['en', 'zh-CN'] as const;
export type Language = (typeof LANGUAGES)[number];

const dictionaries: Record<Language, Dictionary> = { en, 'zh-CN': zh };

class LanguageChoice {
  current = $state<Language>(remembered('language', LANGUAGES, 'en'));

  choose(language: Language): void {
    this.current = language;
    remember('language', language);
    document.documentElement.lang = language;
  }
}

export const language = new LanguageChoice();

/** The texts of the chosen language. A component that reads them changes with it. */
export function t(): Dictionary {
  return dictionaries[language.current];
}
