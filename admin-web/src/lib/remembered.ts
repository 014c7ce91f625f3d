/** What a browser remembers of its reader: theme and language, nothing that opens anything. */
export function remembered<T extends string>(name: 'theme' | 'language', allowed: readonly T[], otherwise: T): T {
  try {
    const value = localStorage.getItem(name);
    return allowed.find((it) => it === value) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(name: 'theme' | 'language', value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Storage is switched off; the choice holds until the page is left.
  }
}
