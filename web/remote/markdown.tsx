import { Lexer, type Token, type Tokens } from 'marked';
import type { ComponentChildren, JSX } from 'preact';

const NAMED: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };
const decode = (s: string) =>
  s.replace(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|([a-z]+));/gi, (m, hex, dec, name) => {
    if (name) return NAMED[name.toLowerCase()] ?? m;
    const n = hex ? parseInt(hex, 16) : Number(dec);
    return n > 0 && n <= 0x10ffff && !(n >= 0xd800 && n <= 0xdfff) ? String.fromCodePoint(n) : '\ufffd';
  });

export function safeHref(raw: string): string | undefined {
  try {
    const u = new URL(decode(raw)); // no base: relative links are refused too
    return u.protocol === 'https:' || u.protocol === 'http:' || u.protocol === 'mailto:' ? u.href : undefined;
  } catch {
    return undefined;
  }
}

const MAX_DEPTH = 24; // deeper nesting is shown as text; keeps Preact's recursion flat
let depth = 0;
function kids(t: { tokens?: Token[] | undefined; text?: string; raw?: string }): ComponentChildren {
  if (!t.tokens) return decode(t.text ?? '');
  if (depth >= MAX_DEPTH) return t.raw ?? t.text;
  depth++;
  try {
    return t.tokens.map(node);
  } finally {
    depth--;
  }
}

function node(tok: Token): ComponentChildren {
  const t = tok as Tokens.Generic & Token;
  switch (t.type) {
    case 'space': case 'def': return null;
    case 'paragraph': return <p>{kids(t)}</p>;
    case 'heading': {
      const H = `h${Math.min(6, (t as Tokens.Heading).depth + 2)}` as 'h3';
      return <H>{kids(t)}</H>;
    }
    case 'blockquote': return <blockquote>{kids(t)}</blockquote>;
    case 'code': return <pre tabIndex={0}><code>{(t as Tokens.Code).text}</code></pre>;
    case 'codespan': return <code>{(t as Tokens.Codespan).text}</code>;
    case 'hr': return <hr />;
    case 'br': return <br />;
    case 'strong': return <strong>{kids(t)}</strong>;
    case 'em': return <em>{kids(t)}</em>;
    case 'del': return <del>{kids(t)}</del>;
    case 'checkbox': return (t as Tokens.Checkbox).checked ? '\u2611 ' : '\u2610 ';
    case 'list': {
      const l = t as Tokens.List;
      const items = l.items.map((i) => <li>{kids(i)}</li>);
      return l.ordered ? <ol start={Number(l.start) || 1}>{items}</ol> : <ul>{items}</ul>;
    }
    case 'link': {
      const href = safeHref((t as Tokens.Link).href);
      return href ? <a href={href} target="_blank" rel="noopener noreferrer">{kids(t)}</a> : <span>{kids(t)}</span>;
    }
    case 'image': {
      // never load anything from outside: show the description as a link
      const i = t as Tokens.Image;
      const href = safeHref(i.href);
      const label = decode(i.text) || 'image';
      return href ? <a href={href} target="_blank" rel="noopener noreferrer">{label}</a> : label;
    }
    case 'table': {
      const b = t as Tokens.Table;
      return (
        <div class="table" tabIndex={0}><table>
          <thead><tr>{b.header.map((c) => <th scope="col">{kids(c)}</th>)}</tr></thead>
          <tbody>{b.rows.map((r) => <tr>{r.map((c) => <td>{kids(c)}</td>)}</tr>)}</tbody>
        </table></div>
      );
    }
    case 'html': return t.raw; // raw HTML is shown as text
    case 'text': case 'escape': return t.tokens ? kids(t) : t.type === 'escape' ? t.text : decode(t.text);
    default: return t.raw; // unknown token: plain text, never markup
  }
}

// marked's emphasis matching is quadratic inside one paragraph (32 KB of nested
// *a **b took 5.5 s): such a message is shown as plain text.
const MAX = 64 * 1024;
const hostile = (s: string) => s.split(/\n\s*\n/).some((p) => p.length > 2048 && (p.match(/[*_~]+/g)?.length ?? 0) > 600);
export function Markdown({ text }: { text: string }): JSX.Element {
  if (text.length <= MAX && !hostile(text)) {
    try {
      return <div class="md">{new Lexer({ gfm: true, breaks: true }).lex(text).map(node)}</div>;
    } catch {
      // e.g. nesting so deep that the lexer overflows the stack
    }
  }
  return <div class="md"><pre tabIndex={0}>{text}</pre></div>;
}
