/**
 * Tensors in the diffusers layout under the names of the official repositories: the way back, written apart from
 * lib/convert, so that the two check each other.
 */

export interface Values {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}
type Tensors = ReadonlyMap<string, Values>;

const TRANSFORMER: readonly (readonly [RegExp, string])[] = [
  [/^patch_embed\.proj\./, 'x_embedder.proj.'],
  [/^caption_projection\.linear_([12])\./, 'y_embedder.y_proj.fc$1.'],
  [/^caption_norm\./, 'attention_y_norm.'],
  [/^time_embed\.(?:emb\.)?timestep_embedder\.linear_1\./, 't_embedder.mlp.0.'],
  [/^time_embed\.(?:emb\.)?timestep_embedder\.linear_2\./, 't_embedder.mlp.2.'],
  [/^time_embed\.guidance_embedder\.linear_1\./, 'cfg_embedder.mlp.0.'],
  [/^time_embed\.guidance_embedder\.linear_2\./, 'cfg_embedder.mlp.2.'],
  [/^time_embed\.linear\./, 't_block.1.'],
  [/^proj_out\./, 'final_layer.linear.'],
  [/^scale_shift_table$/, 'final_layer.scale_shift_table'],
  [/^input_block\./, 'controlnet.0.before_proj.'],
  [/^controlnet_blocks\.(\d+)\./, 'controlnet.$1.after_proj.'],
  [/\.attn1\.to_out\.0\./, '.attn.proj.'],
  [/\.attn1\.to_qkv\./, '.attn.qkv.'],
  [/\.attn1\.norm_([qk])\./, '.attn.$1_norm.'],
  [/\.attn2\.to_out\.0\./, '.cross_attn.proj.'],
  [/\.attn2\.to_q\./, '.cross_attn.q_linear.'],
  [/\.attn2\.to_kv\./, '.cross_attn.kv_linear.'],
  [/\.attn2\.norm_([qk])\./, '.cross_attn.$1_norm.'],
  [/\.ff\.conv_(inverted|depth|point)\./, '.mlp.$1_conv.conv.'],
];

export function officialTransformer(tensors: Tensors): Map<string, Values> {
  const controlled = tensors.has('input_block.weight');
  const block = controlled ? 'controlnet.$1.copied_block.' : 'blocks.$1.';
  const stacked = stack(stack(tensors, '.attn1', 'qkv'), '.attn2', 'kv');
  return renamed(stacked, [...TRANSFORMER, [/^transformer_blocks\.(\d+)\./, block]]);
}

const AUTOENCODER: readonly (readonly [RegExp, string])[] = [
  [/^encoder\.conv_in\./, 'encoder.project_in.conv.'],
  [/^encoder\.conv_out\./, 'encoder.project_out.main.op_list.0.conv.'],
  [/^decoder\.conv_in\./, 'decoder.project_in.main.conv.'],
  [/^decoder\.norm_out\./, 'decoder.project_out.op_list.0.'],
  [/^decoder\.conv_out\./, 'decoder.project_out.op_list.2.conv.'],
  [/^(encoder\.down_blocks\.\d+\.\d+)\.conv\./, '$1.main.conv.'],
  [/^(decoder\.up_blocks\.\d+\.\d+)\.conv\./, '$1.main.conv.conv.'],
  [/^(\w+\.\w+\.\d+\.\d+)\.conv([12])\./, '$1.main.conv$2.conv.'],
  [/^(\w+\.\w+\.\d+\.\d+)\.norm\./, '$1.main.conv2.norm.'],
  [/\.attn\.to_qkv\./, '.context_module.main.qkv.conv.'],
  [/\.attn\.to_qkv_multiscale\.(\d)\.proj_in\./, '.context_module.main.aggreg.$1.0.'],
  [/\.attn\.to_qkv_multiscale\.(\d)\.proj_out\./, '.context_module.main.aggreg.$1.1.'],
  [/\.attn\.to_out\./, '.context_module.main.proj.conv.'],
  [/\.attn\.norm_out\./, '.context_module.main.proj.norm.'],
  [/\.conv_out\.conv_(inverted|depth|point)\./, '.local_module.main.$1_conv.conv.'],
  [/\.conv_out\.norm\./, '.local_module.main.point_conv.norm.'],
  [/^encoder\.down_blocks\.(\d+)\.(\d+)\./, 'encoder.stages.$1.op_list.$2.'],
  [/^decoder\.up_blocks\.(\d+)\.(\d+)\./, 'decoder.stages.$1.op_list.$2.'],
];

export function officialAutoencoder(tensors: Tensors): Map<string, Values> {
  const renamedTensors = renamed(stack(tensors, '.attn', 'qkv'), AUTOENCODER);
  return new Map(
    [...renamedTensors].map(([name, { shape, data }]) => {
      const matrix = /\.context_module\.main\.(qkv|proj)\.conv\./.test(name); // a 1x1 convolution there
      return [name, { shape: matrix ? [...shape, 1, 1] : shape, data }];
    }),
  );
}

/** `to_q`, `to_k`, `to_v` below `module` on top of each other, as `to_qkv`. */
function stack(tensors: Tensors, module: string, letters: string): Map<string, Values> {
  const out = new Map<string, Values>();
  const pattern = new RegExp(`^(.*\\${module}\\.to_)([${letters}])\\.(weight|bias)$`);
  for (const [name, value] of tensors) {
    const [, before, letter, kind] = pattern.exec(name) ?? [];
    if (letter === undefined) out.set(name, value);
    if (letter !== letters[0]) continue;
    const parts = [...letters].map((each) => tensors.get(`${before}${each}.${kind}`) as Values);
    const data = new Float32Array(parts.reduce((sum, part) => sum + part.data.length, 0));
    let at = 0;
    for (const part of parts) {
      data.set(part.data, at);
      at += part.data.length;
    }
    const rows = parts.reduce((sum, part) => sum + (part.shape[0] ?? 0), 0);
    out.set(`${before}${letters}.${kind}`, { shape: [rows, ...value.shape.slice(1)], data });
  }
  return out;
}

function renamed(tensors: Tensors, rules: readonly (readonly [RegExp, string])[]): Map<string, Values> {
  return new Map(
    [...tensors].map(([name, value]) => [
      rules.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), name),
      value,
    ]),
  );
}
