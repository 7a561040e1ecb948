/**
 * What the tensors of a LoRA file are, by their names. Of a module's pair A [r, in] is "down" and B [out, r] is "up".
 *
 *   transformer.<module>.lora_A.weight, lora_B         diffusers and PEFT, also with an adapter's name: lora_A.default
 *   transformer.<module>.lora.down.weight, lora.up     diffusers before PEFT
 *   transformer.<module>.lora_down.weight, lora_up     trainers that write <module>.alpha beside them
 *   ....attn1.processor.to_q_lora.down.weight          attention processors, the oldest; to_out_lora is to_out.0
 *   lora_transformer_<module with _ for .>.lora_down   kohya's flat names
 */

export type LoraPart = 'down' | 'up' | 'alpha';

export type LoraKey =
  | { readonly kind: 'part'; readonly module: string; readonly flat: boolean; readonly part: LoraPart }
  /** Skipped with a warning. */
  | { readonly kind: 'ignored'; readonly what: 'text encoder' | 'dora_scale' }
  | { readonly kind: 'refused'; readonly why: string };

const TEXT_ENCODER = /^(text_encoder|text_encoder_\d|lora_te\d?)[._]/;
const FLAT = /^lora_(?:transformer|unet)_/;
const PART_OF: Readonly<Record<string, LoraPart>> = { A: 'down', B: 'up', down: 'down', up: 'up' };

/** Endings of names; the first group is the module, the second says which of the pair. */
const PAIRS: readonly RegExp[] = [
  /^(.+)\.lora_([AB])(?:\.[^.]+)?\.weight$/,
  /^(.+)\.lora[._](down|up)\.weight$/,
  /^(.+\.to_(?:q|k|v|out))_lora\.(down|up)\.weight$/,
];

const REFUSED: readonly (readonly [RegExp, string])[] = [
  [/\.lora_magnitude_vector/, 'belongs to DoRA, which is unsupported'],
  [/\.lora_[AB](\.[^.]+)?\.bias$/, 'is a bias of an adapter, which is unsupported'],
  [/\.lora_embedding_[AB]/, 'adapts an embedding, which is unsupported'],
  [/\.(hada_|lokr_|oft_|boft_|vera_|diff)/, 'belongs to another kind of adapter than LoRA'],
  [/^base_model\.model\./, 'has a name that PEFT itself writes, which keeps alpha in another file'],
];

export function parseLoraKey(key: string): LoraKey {
  if (TEXT_ENCODER.test(key)) return { kind: 'ignored', what: 'text encoder' };
  if (key.endsWith('.dora_scale')) return { kind: 'ignored', what: 'dora_scale' };
  const refused = REFUSED.find(([pattern]) => pattern.test(key));
  if (refused !== undefined) return { kind: 'refused', why: refused[1] };
  for (const pattern of PAIRS) {
    const [, module, which] = pattern.exec(key) ?? [];
    const part = PART_OF[which ?? ''];
    if (module !== undefined && part !== undefined) return { kind: 'part', ...moduleOf(module, pattern), part };
  }
  const [, module] = /^(.+)\.alpha$/.exec(key) ?? [];
  if (module !== undefined) return { kind: 'part', ...moduleOf(module), part: 'alpha' };
  return { kind: 'refused', why: 'is not a weight of a LoRA' };
}

function moduleOf(name: string, pattern?: RegExp): { module: string; flat: boolean } {
  if (FLAT.test(name)) return { module: name.replace(FLAT, ''), flat: true };
  let module = name.startsWith('transformer.') ? name.slice('transformer.'.length) : name;
  if (pattern === PAIRS[2]) module = module.replace('.processor.', '.').replace(/\.to_out$/, '.to_out.0');
  return { module, flat: false };
}
