/** Which of a model's subjects a prompt names. */

/**
 * The subjects whose words occur in `prompt`, in its order. Of overlapping ones the longest counts: 'a black cat' names
 * the black cat and not the cat. Case and punctuation are ignored.
 */
export function subjectsIn(prompt: string, subjects: readonly string[]): string[] {
  const known = new Set(subjects);
  const longest = Math.max(0, ...subjects.map((subject) => words(subject).length));
  const given = words(prompt);
  const found: string[] = [];
  for (let at = 0; at < given.length; ) {
    let taken = 1;
    for (let count = Math.min(longest, given.length - at); count > 0; count--) {
      const candidate = given.slice(at, at + count).join(' ');
      if (!known.has(candidate)) continue;
      found.push(candidate);
      taken = count;
      break;
    }
    at += taken;
  }
  return found;
}

function words(text: string): string[] {
  return text
    .normalize('NFKD')
    .replace(/\p{Mark}|['’.]/gu, '')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== '');
}
