import { renderToString } from 'preact-render-to-string';
import { describe, expect, it } from 'vitest';
import { Markdown, safeHref } from '../remote/markdown';

const r = (text: string) => renderToString(<Markdown text={text} />).replace(/^<div class="md">|<\/div>$/g, '');

describe('markdown', () => {
  it('renders the usual things', () => {
    expect(r('# Hi *you* **b** ~~d~~')).toBe('<h3>Hi <em>you</em> <strong>b</strong> <del>d</del></h3>');
    expect(r('a `x<y && z` b')).toBe('<p>a <code>x&lt;y &amp;&amp; z</code> b</p>');
    expect(r('```rust\nlet a = "<b>";\n```')).toBe('<pre tabindex="0"><code>let a = &quot;&lt;b>&quot;;</code></pre>');
    expect(r('1. a\n2. b')).toBe('<ol start="1"><li>a</li><li>b</li></ol>');
    expect(r('- [x] done\n- [ ] todo')).toContain('\u2611');
    expect(r('|a|b|\n|-|-|\n|1|<b>2</b>|')).toContain('<td>&lt;b>2&lt;/b></td>');
    expect(r('[t](https://e.org/a?b=1&amp;c=2)')).toBe('<p><a href="https://e.org/a?b=1&amp;c=2" target="_blank" rel="noopener noreferrer">t</a></p>');
    expect(r('https://e.org/x')).toContain('href="https://e.org/x"');
    expect(r('a\nb')).toBe('<p>a<br/>b</p>');
    expect(r('AT&amp;T &lt;i&gt; &copy; \\* & <')).toBe('<p>AT&amp;T &lt;i> &amp;copy; * &amp; &lt;</p>');
  });
  it.each([
    '<script>alert(1)</script>', '<img src=x onerror=alert(1)>', 'a <b onclick="x">c</b> d', '<!-- c --><iframe src="//e">',
    '[x](javascript:alert(1))', '[x](JaVaScRiPt&#58;alert(1))', '[x](java&#x0A;script:alert(1))', '[x](data:text/html,<script>1</script>)',
    '![x](https://e.org/p.png)', '![x](data:image/svg+xml;base64,AA)', '<javascript:alert(1)>', '[x](//evil.example/)',
    '[a]: javascript:alert(1)\n\n[a]', '`<script>`', '~~~html\n<script>\n~~~', '<svg/onload=alert(1)>', '&lt;script&gt;', '# <script>x</script>',
  ])('makes no live markup of %s', (s) => {
    const html = r(s);
    expect(html).not.toMatch(/<(script|img|iframe|svg|b|object|style|!)/i);
    for (const m of html.matchAll(/<[^>]*\shref="([^"]*)"/g)) expect(m[1]).toMatch(/^(https?|mailto):/);
    expect(html).not.toMatch(/<[^>]+\son[a-z]+=/i);
  });
  it('refuses odd links', () => {
    for (const u of ['javascript:1', ' javascript:1', 'vbscript:x', '/etc', '#a', '//h/', 'file:///x', 'blob:x', 'tel:1']) expect(safeHref(u)).toBeUndefined();
    expect(safeHref('mailto:a@b.c')).toBe('mailto:a@b.c');
  });
  it.each([
    ['quotes', '> '.repeat(5000) + 'x'], ['quotes 800', '> '.repeat(800) + 'x'], ['quotes 32k', '>'.repeat(60000) + 'x'], ['lists inline', '- '.repeat(5000) + 'x'], ['lists inline 500', '- '.repeat(500) + 'x'], ['ordered inline', '1. '.repeat(3000) + 'x'], ['nest em', '*a **b '.repeat(2000) + 'b** a*'.repeat(2000)], ['brackets', '['.repeat(20000)], ['stars', '*a '.repeat(15000)], ['ticks', '`'.repeat(30000) + 'a'],
    ['links', '[a]('.repeat(10000)], ['lists', Array.from({ length: 300 }, (_, i) => ' '.repeat(i) + '- a').join('\n')],
    ['html', '<a '.repeat(15000)], ['underscores', '_'.repeat(30000) + 'a'], ['emphasis nest', '*_'.repeat(8000) + 'a' + '_*'.repeat(8000)],
    ['table', '|a'.repeat(3000) + '\n' + '|-'.repeat(3000) + '\n' + '|b'.repeat(3000)], ['autolink', 'http://'.repeat(8000)], ['entities', '&#'.repeat(20000)],
    ['tildes', '~~a'.repeat(10000)], ['images', '![a](b '.repeat(8000)], ['refs', '[a]: b\n'.repeat(8000)], ['at signs', 'a@'.repeat(20000)], ['dots', 'www.' + 'a.'.repeat(20000)],
  ])('is quick on hostile %s', (_, s) => {
    const t = performance.now();
    r(s);
    const ms = Math.round(performance.now() - t);
    expect(ms).toBeLessThan(2000);
  }, 60000);
});
