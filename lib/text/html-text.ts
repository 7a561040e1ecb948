/** Text from HTML, as far as prompts need it: decoded entities, and the text between the tags. */

// U+00A0 to U+00FF in order. These, and the five of XML, are also decoded without a semicolon.
const LATIN_1 = `
nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute
micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig
Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash
Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute
ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc
uuml yacute thorn yuml`;

const OTHERS: Readonly<Record<string, number>> = {
  OElig: 0x152,
  oelig: 0x153,
  Scaron: 0x160,
  scaron: 0x161,
  Yuml: 0x178,
  fnof: 0x192,
  circ: 0x2c6,
  tilde: 0x2dc,
  alpha: 0x3b1,
  beta: 0x3b2,
  gamma: 0x3b3,
  delta: 0x3b4,
  lambda: 0x3bb,
  mu: 0x3bc,
  pi: 0x3c0,
  sigma: 0x3c3,
  omega: 0x3c9,
  ensp: 0x2002,
  emsp: 0x2003,
  thinsp: 0x2009,
  zwnj: 0x200c,
  zwj: 0x200d,
  ndash: 0x2013,
  mdash: 0x2014,
  lsquo: 0x2018,
  rsquo: 0x2019,
  sbquo: 0x201a,
  ldquo: 0x201c,
  rdquo: 0x201d,
  bdquo: 0x201e,
  dagger: 0x2020,
  Dagger: 0x2021,
  bull: 0x2022,
  hellip: 0x2026,
  permil: 0x2030,
  prime: 0x2032,
  Prime: 0x2033,
  lsaquo: 0x2039,
  rsaquo: 0x203a,
  euro: 0x20ac,
  trade: 0x2122,
  larr: 0x2190,
  uarr: 0x2191,
  rarr: 0x2192,
  darr: 0x2193,
  harr: 0x2194,
  prod: 0x220f,
  sum: 0x2211,
  minus: 0x2212,
  radic: 0x221a,
  infin: 0x221e,
  ne: 0x2260,
  le: 0x2264,
  ge: 0x2265,
  spades: 0x2660,
  clubs: 0x2663,
  hearts: 0x2665,
  diams: 0x2666,
};

const WITHOUT_SEMICOLON: ReadonlyMap<string, string> = new Map([
  ...LATIN_1.trim()
    .split(/\s+/)
    .map((name, i) => [name, String.fromCharCode(0xa0 + i)] as const),
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
]);
const WITH_SEMICOLON: ReadonlyMap<string, string> = new Map([
  ...WITHOUT_SEMICOLON,
  ...Object.entries(OTHERS).map(([name, code]) => [name, String.fromCharCode(code)] as const),
  ['apos', "'"],
]);

/** Decodes character references, numeric and named, once. Unknown names stay as they are. */
export function decodeEntities(text: string): string {
  return text.replace(
    /&(?:#(\d{1,8}|[xX][0-9a-fA-F]{1,7});?|([A-Za-z][A-Za-z0-9]{1,31})(;?))/g,
    (whole, number, name, semicolon) => {
      if (number !== undefined) {
        const code = /^x/i.test(number) ? Number.parseInt(number.slice(1), 16) : Number.parseInt(number, 10);
        const exists = code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        return exists ? String.fromCodePoint(code) : '\ufffd';
      }
      const decoded = semicolon === ';' ? WITH_SEMICOLON.get(name) : undefined;
      if (decoded !== undefined) return decoded;
      // "&copyright": the longest name that the text starts with.
      for (let length = Math.min(name.length, 6); length > 1; length--) {
        const prefix = WITHOUT_SEMICOLON.get(name.slice(0, length));
        if (prefix !== undefined) return prefix + name.slice(length) + semicolon;
      }
      return whole;
    },
  );
}

const NOT_TEXT = [
  /<!--.*?-->/gs,
  /<(script|style|template)(?=[\s>])[^>]*>.*?<\/\1\s*>/gis,
  /<[!?][^>]*>/g,
  /<\/[^>]*>/g,
  /<[A-Za-z](?:[^"'>]|"[^"]*"|'[^']*')*>/g,
];

/** The text of an HTML fragment: no tags, comments, scripts or styles, and entities decoded. */
export function htmlText(html: string): string {
  return decodeEntities(NOT_TEXT.reduce((text, pattern) => text.replace(pattern, ''), html));
}
