// Markup as a type of its own: what a template puts in is escaped unless it is markup already, so names out of a model
// can never become tags.

export interface Markup {
  readonly markup: string;
}

type Part = string | number | Markup | readonly Markup[] | undefined;

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Control characters have no place in a page either. */
const escapeText = (text: string): string =>
  text
    .replace(/[&<>"']/g, (c) => ESCAPES[c] as string)
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd');

const write = (part: Part): string => {
  if (part === undefined) return '';
  if (typeof part === 'object') return 'markup' in part ? part.markup : part.map(write).join('');
  return escapeText(String(part));
};

export const html = (text: TemplateStringsArray, ...parts: readonly Part[]): Markup => ({
  markup: text.map((t, k) => t + write(parts[k])).join(''),
});

/** Text of ours, as it is. */
export const trusted = (markup: string): Markup => ({ markup });
