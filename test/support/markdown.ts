/** Headings and links of Markdown pages. */

/** The text without blocks of code. */
function prose(page: string): string {
  return page.replaceAll(/^(```+)[\s\S]*?^\1$/gm, '');
}

/** The titles of a page's headings, of one level or of all. */
export function headingsOf(page: string, level?: number): string[] {
  const marks = level === undefined ? '#+' : `#{${level}}`;
  return [...prose(page).matchAll(new RegExp(`^${marks} (.+)$`, 'gm'))].map(([, title = '']) => title.trim());
}

/** The anchors that headings get on GitHub. */
export function anchorsOf(page: string): Set<string> {
  const anchors = new Set<string>();
  for (const title of headingsOf(page)) {
    const slug = title
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\p{M}\p{Pc} -]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let again = 1; anchors.has(anchor); again++) anchor = `${slug}-${again}`;
    anchors.add(anchor);
  }
  return anchors;
}

/** What a page links to, pictures included. */
export function linksOf(page: string): string[] {
  const text = prose(page).replaceAll(/`[^`\n]*`/g, '');
  return [...text.matchAll(/\]\(([^()\s]+)\)/g)].map(([, target = '']) => target);
}
