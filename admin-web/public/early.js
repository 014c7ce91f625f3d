// Before the first paint: no flash of the other theme, and the right language for screen readers.
(() => {
  try {
    const theme = localStorage.getItem('theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
    const language = localStorage.getItem('language');
    if (language === 'zh-CN') document.documentElement.lang = language;
  } catch {
    // Storage is switched off: the system's theme, English.
  }
})();
