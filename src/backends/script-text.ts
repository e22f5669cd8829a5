// The text of a shipped script made small: comments, indentation and spaces beside punctuation go; lines, names and strings
// stay, so that an error still points somewhere. For our own templates: no regular expressions with quotes or slashes in them.

/** A string or a comment, found first so that nothing inside them is taken for code. */
const TOKENS = /'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*|[^'"`/]+|\//g;

/** Comments that bundlers read. */
const isDirective = (comment: string): boolean => /webpack|@vite/.test(comment);

const squeeze = (code: string): string =>
  code
    .replace(/[ \t]+/g, ' ')
    .replace(/ ?([{}()[\],;:?<>=*%&|!]) ?/g, '$1')
    .replace(/ \+ (?!\+)/g, '+')
    .replace(/ ?\n[ \n]*/g, '\n');

export function compactScript(text: string): string {
  let out = '';
  for (const [token] of text.matchAll(TOKENS)) {
    if (token.startsWith('/*') || token.startsWith('//')) out += isDirective(token) ? token : '';
    else if (/^['"`]/.test(token)) out += token;
    else out += squeeze(token);
  }
  return out
    .replace(/([{(,;=])\n/g, '$1')
    .replace(/\n{2,}/g, '\n')
    .trim();
}
