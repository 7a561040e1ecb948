import assert from 'node:assert/strict';
import type { CallDescription, NativeBuffer, NativeDevice, ProgramDescription } from '../../lib/device/native.ts';
import { addon } from '../../lib/device/native.ts';
import { atTheLimits, bufferBytes, limitBytes, openCpu, random, tensor, wellFormed } from './support.ts';

/** A description that a test may break in any way. */
interface Draft {
  calls: { op: unknown; operands: Record<string, Record<string, unknown>>; attributes: Record<string, unknown> }[];
  buffers: unknown[];
  arenaBytes: unknown;
}
type DraftCall = Draft['calls'][number];

function draft(call: CallDescription): Draft {
  return { calls: [structuredClone(call) as unknown as DraftCall], buffers: [], arenaBytes: 0 };
}

function callOf(op: string, nth = 0): CallDescription {
  const found = wellFormed.filter((call) => call.op === op)[nth];
  assert.ok(found, op);
  return found;
}

describe('binding/program', () => {
  let device: NativeDevice;
  let buffer: NativeBuffer;

  before(() => {
    device = openCpu(2);
    buffer = device.allocate(bufferBytes);
  });
  after(() => device.dispose());

  const create = (description: Draft) => device.createProgram(description as unknown as ProgramDescription);
  const created = (call: CallDescription) => create({ ...draft(call), buffers: [buffer] });

  it('accepts and runs a well-formed call of every operator', async () => {
    const names = new Set(wellFormed.map((call) => call.op));
    assert.deepEqual(
      [...names].sort(),
      addon()
        .operators.map(({ name }) => name)
        .sort(),
    );
    await device.write(buffer, 0, new Uint8Array(bufferBytes));
    for (const call of wellFormed) {
      const program = created(call);
      await device.run(program, null).promise;
      program.dispose();
    }
  });

  it('runs calls at the limits of their contracts', async () => {
    const large = device.allocate(limitBytes);
    for (const call of atTheLimits) {
      const program = device.createProgram({ calls: [call], buffers: [large], arenaBytes: 0 });
      await device.run(program, null).promise;
      program.dispose();
    }
    large.dispose();
  });

  // One line per way to be wrong: the operator, what is wrong, how to make it so, and what the error must say.
  type Case = [op: string, wrong: string, breakIt: (call: DraftCall, program: Draft) => void, says: RegExp];
  const operand = (call: DraftCall, name: string) => {
    const found = call.operands[name];
    assert.ok(found, name);
    return found;
  };
  const set =
    (name: string, changes: Record<string, unknown>) =>
    (call: DraftCall): void => {
      Object.assign(operand(call, name), changes);
    };
  const shape = (name: string, sizes: number[]) => set(name, { shape: sizes, pitch: sizes.at(-1) });
  const attribute = (name: string, value: unknown) => (call: DraftCall) => {
    call.attributes[name] = value;
  };
  const without = (name: string) => (call: DraftCall) => {
    delete call.operands[name];
  };

  const cases: Case[] = [
    // names and kinds
    [
      'linear',
      'an unknown operator',
      (call) => {
        call.op = 'gemm';
      },
      /no operator 'gemm'/,
    ],
    [
      'linear',
      'an operator that is no string',
      (call) => {
        call.op = 7;
      },
      /`op` to be a string/,
    ],
    [
      'linear',
      'an operator named like a property',
      (call) => {
        call.op = '__proto__';
      },
      /no operator/,
    ],
    [
      'linear',
      'an unknown operand',
      (call) => {
        call.operands.y = { ...operand(call, 'x') };
      },
      /no operand `y`/,
    ],
    ['linear', 'a missing operand', without('x'), /operand `x`: it is missing/],
    [
      'linear',
      'an operand that is null',
      (call) => {
        call.operands.x = null as never;
      },
      /`x` to be an object/,
    ],
    ['linear', 'an unknown attribute', attribute('alpha', 1), /no attribute `alpha`/],
    [
      'linear',
      'a missing attribute',
      (call) => {
        delete call.attributes.clip;
      },
      /`clip` to be a finite number/,
    ],
    ['linear', 'an attribute that is NaN', attribute('clip', Number.NaN), /`clip` to be a finite number, got nan/],
    ['linear', 'an infinite attribute', attribute('clip', Number.POSITIVE_INFINITY), /finite number/],
    ['linear', 'a negative limit', attribute('clip', -1), /`clip` must be at least 0/],
    ['linear', 'an unknown activation', attribute('activation', 'tanh'), /one of none\|silu\|gelu-tanh\|relu/],
    ['linear', 'part of an activation', attribute('activation', 'none|silu'), /one of none/],
    ['linear', 'an activation by number', attribute('activation', 1), /one of none/],
    ['linear', 'an unknown dtype', set('x', { dtype: 'f64' }), /`dtype` to be one of/],
    ['linear', 'an unknown layout', set('weight', { layout: 'nchw' }), /`layout` to be one of/],
    // offsets
    ['linear', 'a negative offset', set('x', { offset: -4 }), /`offset` to be an integer/],
    ['linear', 'a fractional offset', set('x', { offset: 0.5 }), /`offset` to be an integer/],
    ['linear', 'a NaN offset', set('x', { offset: Number.NaN }), /`offset` to be an integer/],
    ['linear', 'an offset of 2^53', set('x', { offset: 2 ** 53 }), /`offset` to be an integer/],
    ['linear', 'the largest offset', set('x', { offset: Number.MAX_SAFE_INTEGER - 3 }), /outside its buffer/],
    ['linear', 'an offset past the end', set('x', { offset: bufferBytes }), /outside its buffer of 131072 bytes/],
    ['linear', 'an end past the end', set('x', { offset: bufferBytes - 40 }), /outside its buffer/],
    ['linear', 'a misaligned element', set('x', { offset: 2 }), /multiple of 4 bytes/],
    [
      'linear',
      'a misaligned packed weight',
      (call) => {
        operand(call, 'weight').offset = 4;
      },
      /multiple of 64 bytes/,
    ],
    ['linear', 'a packed weight past the end', set('weight', { offset: bufferBytes - 64 }), /outside its buffer/],
    // buffers
    ['linear', 'a buffer that is not there', set('x', { buffer: 1 }), /there is no buffer 1: the program has 1/],
    ['linear', 'buffer -2', set('x', { buffer: -2 }), /`buffer` to be an integer/],
    ['linear', 'an arena operand without an arena', set('x', { buffer: -1 }), /outside its buffer of 0 bytes/],
    [
      'linear',
      'a buffer that is an object',
      (_, program) => {
        program.buffers = [{}];
      },
      /native buffer/,
    ],
    [
      'linear',
      'a buffer that is a device',
      (_, program) => {
        program.buffers = [device];
      },
      /native buffer/,
    ],
    [
      'linear',
      'a buffer by prototype',
      (_, program) => {
        program.buffers = [Object.create(buffer)];
      },
      /native buffer/,
    ],
    [
      'linear',
      'a buffer given twice',
      (_, program) => {
        program.buffers = [buffer, buffer];
      },
      /each buffer once/,
    ],
    [
      'linear',
      'a negative arena',
      (_, program) => {
        program.arenaBytes = -1;
      },
      /`arenaBytes` to be an integer/,
    ],
    [
      'linear',
      'an endless list of calls',
      (_, program) => {
        program.calls = new Array(2 ** 32 - 1);
      },
      /at most 65536/,
    ],
    // shapes and pitches
    ['linear', 'no dimensions', set('x', { shape: [] }), /shape of 1 to 4 sizes/],
    ['linear', 'five dimensions', set('x', { shape: [1, 1, 2, 3, 20] }), /array of at most 4/],
    ['linear', 'a size of zero', set('x', { shape: [0, 20] }), /`shape` to be an integer from 1/],
    ['linear', 'a negative size', set('x', { shape: [-3, 20] }), /`shape` to be an integer from 1/],
    ['linear', 'a fractional size', set('x', { shape: [1.5, 20] }), /`shape` to be an integer from 1/],
    ['linear', 'a size of 2^41', set('x', { shape: [2 ** 41, 20] }), /`shape` to be an integer from 1/],
    ['linear', 'sizes whose product wraps 64 bits', set('x', { shape: [2 ** 32, 2 ** 32, 20] }), /fewer than 2\^40/],
    ['linear', 'a size that is a string', set('x', { shape: ['6', 20] }), /'6' \(string\)/],
    ['linear', 'a shape that is no array', set('x', { shape: { length: 2 } }), /`shape` to be an array/],
    ['linear', 'a pitch below the columns', set('x', { pitch: 19 }), /pitch of at least 20/],
    ['linear', 'a pitch that leaves the buffer', set('x', { pitch: 2 ** 20 }), /outside its buffer/],
    ['linear', 'a pitch that wraps', set('x', { pitch: 2 ** 40 }), /too large/],
    ['linear', 'a pitched bias', set('bias', { pitch: 12 }), /must be contiguous/],
    ['linear', 'a pitched weight', set('weight', { pitch: 32 }), /pitch of 20/],
    ['linear', 'a packed x', set('x', { layout: 'linear', shape: [6, 20], pitch: 20 }), /laid out as dense/],
    ['linear', 'a dense weight', set('weight', { layout: 'dense' }), /laid out as linear\|gatedLinear/],
    ['linear', 'a weight of the wrong rank', shape('weight', [10, 4, 5]), /must have 2 dimensions/],
    [
      'linear',
      'a weight of another dtype',
      set('weight', { dtype: 'bf16' }),
      /weight must have the dtype|x must have|dtype of weight/,
    ],
    ['linear', 'an integer x', set('x', { dtype: 'i32' }), /not a dtype that it accepts/],
    ['linear', 'a half-precision x', set('x', { dtype: 'f16' }), /x must have the dtype of weight/],
    ['linear', 'a bf16 bias', set('bias', { dtype: 'bf16' }), /not a dtype that it accepts/],
    [
      'linear',
      "other columns than the weight's",
      shape('x', [2, 3, 16]),
      /x must have the weight's columns; given x f32 \[2, 3, 16\]/,
    ],
    ['linear', 'a short bias', shape('bias', [9]), /bias must be \[10\]; given/],
    ['linear', 'a gate for too many items', shape('gate', [4, 10]), /gate must be \[B, N\]/],
    ['linear', 'fewer rows out than in', shape('out', [2, 2, 10]), /out must have the rows of x/],
    [
      'linear',
      'a residual of another dtype',
      set('residual', { dtype: 'bf16' }),
      /residual must have the dtype of out/,
    ],
    // overlaps
    [
      'linear',
      'an output over an input',
      (call) => {
        operand(call, 'out').offset = operand(call, 'x').offset;
      },
      /`out` .* overlaps `x`/,
    ],
    [
      'linear',
      'an output over half a residual',
      (call) => {
        operand(call, 'out').offset = Number(operand(call, 'residual').offset) + 4;
      },
      /overlaps `residual`/,
    ],
    [
      'linear',
      'an output over a weight',
      (call) => {
        operand(call, 'out').offset = operand(call, 'weight').offset;
      },
      /overlaps `weight`/,
    ],
    [
      'layerNormModulate',
      'a replaced input of another dtype',
      (call) => {
        operand(call, 'out').offset = operand(call, 'x').offset;
      },
      /overlaps `x`/,
    ],
    [
      'multiScaleProject',
      'columns that share one element',
      (call) => {
        Object.assign(operand(call, 'out'), { offset: Number(operand(call, 'x').offset) + 44, pitch: 20 });
      },
      /overlaps `x`/,
    ],
    [
      'solverStep',
      'two outputs in one place',
      (call) => {
        operand(call, 'previous').offset = operand(call, 'latents').offset;
      },
      /overlaps/,
    ],
    [
      'transpose',
      'an output over an input',
      (call) => {
        operand(call, 'out').offset = operand(call, 'x').offset;
      },
      /overlaps `x`/,
    ],
    // contracts
    [
      'linear',
      'no clip for gated weights',
      (call) => {
        Object.assign(operand(call, 'weight'), { layout: 'gatedLinear' });
        shape('out', [2, 3, 5])(call);
      },
      /neither bias, gate nor residual/,
    ],
    ['conv2d', 'an even kernel', shape('weight', [6, 2, 2, 4]), /odd kernels/],
    ['conv2d', 'a stride of 0', attribute('stride', 0), /`stride` must be from 1 to 2/],
    ['conv2d', 'a stride of 1.5', attribute('stride', 1.5), /`stride` to be an integer/],
    ['conv2d', 'a stride of 2^31', attribute('stride', 2 ** 31), /`stride` to be an integer/],
    ['conv2d', 'a smaller output', shape('out', [1, 2, 3, 6]), /out must be \[1, 3, 3, 6\]/],
    ['conv2d', 'an image of three dimensions', shape('x', [5, 6, 4]), /x must be \[B, H, W, C\]/],
    ['upsampleConv2d', 'a 5x5 kernel', shape('weight', [6, 5, 5, 4]), /must be \[O, 3, 3, I\]/],
    ['upsampleConv2d', 'an output of the same size', shape('out', [1, 3, 2, 6]), /out must be \[1, 6, 4, 6\]/],
    ['depthwiseConvGlu', 'an odd number of channels', shape('x', [2, 3, 4, 11]), /even number of channels/],
    ['depthwiseConvGlu', 'a missing bias', without('bias'), /operand `bias`: it is missing/],
    ['multiScaleProject', 'groups that do not divide', shape('pointwise', [12, 5]), /D dividing/],
    ['layerNormModulate', 'one shift for two items', shape('shift', [1, 8]), /shift must be \[2, 8\]/],
    ['layerNormModulate', 'a negative epsilon', attribute('epsilon', -1e-6), /at least 0/],
    ['rmsNorm', 'a long weight', shape('weight', [11]), /weight must be \[10\]/],
    ['linearAttention', 'a head that does not divide', attribute('headDim', 3), /headDim must divide/],
    ['linearAttention', 'a head of 0 channels', attribute('headDim', 0), /`headDim` must be from 1 to 256/],
    ['linearAttention', 'two thirds', shape('qkv', [2, 5, 16]), /three times the channels/],
    ['crossAttention', 'too few lengths', attribute('lengths', [5]), /`lengths` must have 2 entries, got 1/],
    [
      'crossAttention',
      'lengths with another sum',
      attribute('lengths', [2, 2]),
      /`lengths` must sum to 5 tokens, got 4/,
    ],
    ['crossAttention', 'an empty length', attribute('lengths', [0, 5]), /entries from 1 to 8192, got 0/],
    ['crossAttention', 'a negative length', attribute('lengths', [-1, 6]), /`lengths` to be an integer from 0/],
    ['crossAttention', 'a fractional length', attribute('lengths', [2.5, 2.5]), /`lengths` to be an integer/],
    ['crossAttention', 'lengths that are no array', attribute('lengths', 5), /`lengths` to be an array/],
    ['crossAttention', 'endless lengths', attribute('lengths', new Array(2 ** 32 - 1)), /array of at most 4096/],
    ['crossAttention', 'heads that do not divide', attribute('heads', 3), /heads must divide/],
    ['causalAttention', 'key heads that do not divide', attribute('kvHeads', 3), /kvHeads must divide heads/],
    ['causalAttention', 'no heads', attribute('heads', 0), /`heads` must be from 1/],
    ['causalAttention', 'a negative window', attribute('window', -1), /`window` must be from 0/],
    ['causalAttention', 'no sequences', attribute('lengths', []), /sum to 7 tokens, got 0/],
    ['causalAttention', 'a narrow prefix', shape('prefix', [3, 8]), /prefix must be \[3, 16\]/],
    ['rotaryEmbedding', 'more heads than channels', attribute('heads', 3), /room for `heads` heads/],
    ['rotaryEmbedding', 'too few angles', shape('cos', [2, 4]), /cos must be \[3, 4\]/],
    ['timestepEmbedding', 'an odd width', shape('out', [3, 7]), /even number of columns/],
    ['modulation', 'a partial row', shape('embedding', [2, 44]), /multiple of table's columns/],
    ['activation', 'another shape', shape('out', [7, 3]), /out must have the shape of x/],
    ['activation', 'half precision', set('x', { dtype: 'f16' }), /f16 is unsupported on the CPU; use f32 or bf16/],
    ['tanhClamp', 'a limit of 0', attribute('limit', 0), /`limit` must be from 1\.17.*e-38 to 1\.7.*e\+38, got 0/],
    ['tanhClamp', 'another shape', shape('out', [3, 7]), /out must have the shape of x/],
    ['convert', 'a repeat of 0', attribute('repeat', 0), /`repeat` must be from 1/],
    ['convert', 'another repeat', attribute('repeat', 3), /first dimension times `repeat`/],
    [
      'convert',
      'a repeated vector',
      (call) => {
        shape('x', [5])(call);
        shape('out', [10])(call);
      },
      /rows to repeat/,
    ],
    ['transpose', 'an output that is not transposed', shape('out', [2, 3, 5]), /out must be \[2, 5, 3\]/],
    ['pixelShuffle', 'a factor of 3', attribute('factor', 3), /`factor` must be from 1 to 2/],
    ['pixelShuffle', 'channels that do not repeat', shape('x', [1, 3, 2, 5]), /must be a multiple/],
    ['pixelUnshuffle', 'odd sides', shape('x', [1, 5, 4, 4]), /x must be \[1, 6, 4, 4\]/],
    ['solverStep', 'four times the batch', shape('velocity', [8, 3, 5]), /three times its batch/],
    ['solverStep', 'six coefficients', shape('coefficients', [6]), /coefficients must be \[7\]/],
    ['resizeCrop', 'a crop larger than the image', attribute('resizedHeight', 6), /not be larger/],
    ['resizeCrop', 'a huge image', attribute('resizedWidth', 2 ** 30), /`resizedWidth` must be from 1/],
    [
      'toRgb8',
      'four channels',
      (call) => {
        shape('x', [1, 4, 5, 4])(call);
        shape('out', [1, 4, 5, 4])(call);
      },
      /3 channels/,
    ],
    ['countNonFinite', 'two counters', shape('out', [2]), /out must be \[1\]/],
  ];

  for (const [op, wrong, breakIt, says] of cases) {
    it(`rejects ${op} with ${wrong}`, () => {
      const program = { ...draft(callOf(op)), buffers: [buffer] as unknown[] };
      const [call] = program.calls;
      assert.ok(call);
      breakIt(call, program);
      assert.throws(
        () => create(program),
        (error: Error & { code?: string }) => {
          assert.match(String(error.code), /^ERR_SANA_(PROGRAM|ARGUMENT)$/);
          assert.match(error.message, says);
          return true;
        },
      );
    });
  }

  it('names the call by its place in the model, operator and shapes, or else by its index', () => {
    const program = { ...draft(callOf('convert')), buffers: [buffer] };
    const linear = structuredClone(callOf('linear')) as unknown as DraftCall;
    const shapes = /linear \[[\d, ]+\] x \[[\d, ]+\]: attribute `clip` must be at least 0, got -1$/;
    const clipped = { ...linear, attributes: { activation: 'none', clip: -1 } } as DraftCall;
    for (const [scope, where] of [
      ['block 7 > attn1', 'block 7 > attn1 > '],
      ['', 'calls\\[1\\] '],
      [undefined, 'calls\\[1\\] '],
    ] as const) {
      program.calls[1] = { ...clipped, scope } as DraftCall;
      assert.throws(() => create(program), {
        code: 'ERR_SANA_PROGRAM',
        message: new RegExp(`^${where}${shapes.source}`),
      });
    }
  });

  it('names the call that the device has no kernel for', () => {
    const program = { ...draft({ ...callOf('toRgb8'), scope: 'picture' }), buffers: [buffer] };
    const { x } = program.calls[0]?.operands ?? {};
    assert.ok(x);
    Object.assign(x, { dtype: 'f16' });
    assert.throws(() => create(program), {
      code: 'ERR_SANA_PROGRAM',
      message: /^picture > toRgb8 \[[\d, ]+\]: f16 is unsupported on the CPU; use f32 or bf16$/,
    });
  });

  it('passes on what a getter throws', () => {
    const hostile = {
      get calls() {
        throw new RangeError('mine');
      },
      buffers: [],
      arenaBytes: 0,
    };
    assert.throws(() => device.createProgram(hostile as unknown as ProgramDescription), {
      name: 'RangeError',
      message: 'mine',
    });
  });

  it('survives a getter that disposes a buffer of the program', () => {
    const victim = device.allocate(bufferBytes);
    const program = draft(callOf('convert'));
    const hostile = {
      buffers: [victim],
      arenaBytes: 0,
      get calls() {
        victim.dispose();
        return program.calls;
      },
    };
    assert.throws(() => device.createProgram(hostile as unknown as ProgramDescription), { code: 'ERR_SANA_DISPOSED' });
  });

  it('survives getters that dispose the device', async () => {
    const disposing = <T extends object>(victim: NativeDevice, object: T, name: keyof T): T =>
      Object.defineProperty({ ...object }, name, {
        get() {
          victim.dispose();
          return object[name];
        },
      });
    const disposed = { code: 'ERR_SANA_DISPOSED' };
    for (const name of ['calls', 'buffers', 'arenaBytes'] as const) {
      const victim = openCpu(1);
      const description = { ...draft(callOf('convert')), buffers: [victim.allocate(bufferBytes)] };
      assert.throws(() => victim.createProgram(disposing(victim, description, name) as never), disposed, name);
    }
    const file = addon().openFile(process.execPath);
    const request = { file, fileOffset: 0, fileDtype: 'f32', rows: 1, rowElements: 4, firstRow: 0 };
    for (const name of ['rows', 'target', 'buffer', 'file'] as const) {
      const victim = openCpu(1);
      const whole = { ...request, target: tensor([1, 4]), buffer: victim.allocate(64) };
      await assert.rejects(victim.pack(disposing(victim, whole, name) as never), disposed, name);
    }
    const data = { data: new Uint8Array(16), dataDtype: 'f32', rows: 1, rowElements: 4, firstRow: 0 };
    for (const name of ['data', 'dataDtype', 'target', 'buffer'] as const) {
      const victim = openCpu(1);
      const whole = { ...data, target: tensor([1, 4]), buffer: victim.allocate(64) };
      await assert.rejects(victim.pack(disposing(victim, whole, name) as never), disposed, name);
    }
    const victim = openCpu(1);
    const program = victim.createProgram({ calls: [], buffers: [], arenaBytes: 0 });
    assert.throws(() => victim.run(program, null, disposing(victim, { profile: true }, 'profile')), disposed);
  });

  it('lets an output replace the input that the operator allows, and share its rows as other columns', () => {
    const inPlace = { ...draft(callOf('linear')), buffers: [buffer] };
    const [call] = inPlace.calls;
    assert.ok(call);
    call.operands.out = { ...operand(call, 'residual') };
    create(inPlace);

    const columns = { ...draft(callOf('multiScaleProject')), buffers: [buffer] };
    const [other] = columns.calls;
    assert.ok(other);
    Object.assign(operand(other, 'x'), { offset: 65_536, pitch: 24 });
    Object.assign(operand(other, 'out'), { offset: 65_536 + 48, pitch: 24 });
    create(columns);
  });

  it('runs a mutated program without writing outside its outputs, or rejects it', async function () {
    this.timeout(30000);
    const next = random(20260807);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T;
    const numbers = [
      0,
      1,
      2,
      3,
      4,
      5,
      7,
      8,
      16,
      63,
      64,
      100,
      4096,
      65536,
      131072,
      -1,
      0.5,
      1e9,
      2 ** 31,
      2 ** 32,
      2 ** 40,
      2 ** 53,
      Number.NaN,
      Number.POSITIVE_INFINITY,
    ];
    const values: unknown[] = [
      ...numbers,
      undefined,
      null,
      '',
      'f32',
      'bf16',
      'dense',
      'linear',
      'none',
      [],
      [1],
      [2, 3],
      {},
      true,
    ];
    const small = () => Math.floor(next() * 9) + 1;

    const mutate = (call: DraftCall): void => {
      const name = pick(Object.keys(call.operands));
      const target = operand(call, name);
      const sizes = target.shape;
      if (!Array.isArray(sizes) || sizes.length === 0) return; // broken enough already
      switch (Math.floor(next() * 12)) {
        case 0:
          sizes[Math.floor(next() * sizes.length)] = pick(numbers);
          break;
        case 1:
        case 2: {
          // The same new size wherever the old one stands, so that the shapes still fit together.
          const [from, to] = [pick(sizes), small()];
          for (const other of Object.values(call.operands)) {
            if (!Array.isArray(other.shape)) continue;
            const fitted = other.shape.map((size) => (size === from ? to : size));
            const wider = Number(other.pitch) - Number(other.shape.at(-1));
            Object.assign(other, { shape: fitted, pitch: (fitted.at(-1) ?? 1) + wider });
          }
          break;
        }
        case 3:
          target.offset = Math.floor(next() * bufferBytes);
          break;
        case 4:
          target.offset = 64 * Math.floor((next() * bufferBytes) / 64);
          break;
        case 5:
          target.offset = operand(call, pick(Object.keys(call.operands))).offset;
          break;
        case 6:
          target.dtype = pick(['f32', 'bf16', 'f16', 'i32', 'u8', 'i8', 'f8']);
          break;
        case 7:
          target.pitch = Number(target.pitch) + small();
          break;
        case 8:
          delete call.operands[name];
          break;
        case 9:
          if (Object.keys(call.attributes).length) call.attributes[pick(Object.keys(call.attributes))] = pick(values);
          break;
        case 10:
          if (Object.keys(call.attributes).length) call.attributes[pick(Object.keys(call.attributes))] = small();
          break;
        default:
          target[pick(Object.keys(target))] = pick(values);
      }
    };

    const canary = 0x3f; // 0.75 in bf16 and f32 alike: harmless as a number
    await device.write(buffer, 0, new Uint8Array(bufferBytes).fill(canary));
    const pattern = Buffer.alloc(bufferBytes, canary);
    let accepted = 0;
    for (let i = 0; i < 3000; ++i) {
      const program = { ...draft(pick(wellFormed)), buffers: [buffer] };
      const [call] = program.calls;
      assert.ok(call);
      for (let n = 1 + Math.floor(next() * 2); n > 0; --n) mutate(call);
      let made: ReturnType<typeof create>;
      try {
        made = create(program);
      } catch (error) {
        const { code } = error as { code?: string };
        assert.match(String(code), /^ERR_SANA_(PROGRAM|ARGUMENT|DEVICE)$/, `${JSON.stringify(call)}: ${error}`);
        continue;
      }
      ++accepted;
      await device.run(made, null).promise;
      const after = Buffer.from(await device.read(buffer, 0, bufferBytes));
      let dirty = false;
      for (const output of outputs(call)) {
        dirty = true;
        const { offset, dtype, pitch, shape } = output as unknown as ReturnType<typeof tensor>;
        const size = { f32: 4, i32: 4, bf16: 2, f16: 2, u8: 1, i8: 1, f8: 1 }[dtype];
        const columns = shape.at(-1) ?? 1;
        const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
        for (let row = 0; row < rows; ++row) {
          const start = offset + row * pitch * size;
          after.fill(canary, start, start + columns * size);
        }
      }
      assert.ok(after.equals(pattern), `written outside its outputs: ${JSON.stringify(call)}`);
      if (dirty) await device.write(buffer, 0, pattern);
      made.dispose();
    }
    assert.ok(accepted > 200, `only ${accepted} of the mutants were well-formed`);
  });

  function outputs(call: DraftCall): Record<string, unknown>[] {
    const spec = addon().operators.find(({ name }) => name === call.op);
    assert.ok(spec);
    return spec.operands
      .filter(({ name, role }) => role !== 'in' && role !== 'in?' && name in call.operands)
      .map(({ name }) => operand(call, name));
  }
});
