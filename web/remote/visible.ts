// Text that a person decides about, with nothing hidden in it: characters that are not drawn, or that
// change the order in which others are drawn, show as escapes.

const HIDDEN = /(?![\t\n])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** The text as it really is. */
export const visible = (text: string): string =>
  text.replaceAll(HIDDEN, (c) => `\u27e8U+${(c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}\u27e9`);
