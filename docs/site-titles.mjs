/** A plugin of typedoc: a page is called what its heading says, not what its file is called. */

import { Converter } from 'typedoc';

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, page) => {
    const [, title] = /^# (.+)$/m.exec(page.content.map(({ text }) => text).join('')) ?? [];
    if (title !== undefined) page.name = title;
  });
}
