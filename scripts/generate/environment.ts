/** docs/environment.md, from the rows of lib/base/environment.ts. */

import { VARIABLES, type Variable } from '../../lib/base/environment.ts';

const TITLES: Readonly<Record<Variable['group'], string>> = {
  'sana-native': 'The package',
  'Hugging Face hub': 'The Hugging Face hub',
  network: 'Network',
  system: 'System',
  build: 'Building from source',
};

export function environmentPage(): string {
  const rows: [string, Variable][] = Object.entries(VARIABLES);
  const sections = Object.entries(TITLES).map(([group, title]) => {
    const own = rows.filter(([, variable]) => variable.group === group);
    const lines = own.map(([name, { means, otherwise }]) => `| \`${name}\` | ${means} | ${otherwise} |`);
    return `## ${title}\n\n| variable | what it does | default |\n|---|---|---|\n${lines.join('\n')}\n`;
  });
  return `# Environment variables

Every option that can be passed is better passed: a variable is for what the caller of a program cannot change. An empty variable counts as unset. The hub's variables are those of Python's \`huggingface_hub\`, with the same meanings, so that both find the same files.

${sections.join('\n')}`;
}
