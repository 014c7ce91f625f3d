import { remember, remembered } from '../remembered';
import { en, type Dictionary } from './en';

export const LANGUAGES = ['en', 'zh-CN'] as const;
export type Language = (typeof LANGUAGES)[number];

/** English is in the first load; another language comes with whoever reads it. */
const dictionaries: Record<Language, () => Promise<Dictionary>> = {
  en: () => Promise.resolve(en),
  'zh-CN': async () => (await import('./zh')).zh,
};

class LanguageChoice {
  current = $state<Language>(remembered('language', LANGUAGES, 'en'));
  texts = $state.raw<Dictionary>(en);

  /** Before the first page is shown. */
  async load(): Promise<void> {
    this.texts = await dictionaries[this.current]();
  }

  async choose(language: Language): Promise<void> {
    this.texts = await dictionaries[language]();
    this.current = language;
    remember('language', language);
    document.documentElement.lang = language;
  }
}

export const language = new LanguageChoice();

/** The texts of the chosen language. A component that reads them changes with it. */
export function t(): Dictionary {
  return language.texts;
}
