import assert from 'node:assert/strict';
import { Graph } from '../../lib/graph/graph.ts';
import type { Plan } from '../../lib/graph/planner.ts';
import { ArenaValue, columns, type Tensor } from '../../lib/graph/tensor.ts';
import { Random } from '../support/random.ts';

/** Bytes [start, end) of the arena that a tensor's place takes. */
function extent(plan: Plan, tensor: Tensor): [number, number] {
  assert(tensor.place instanceof ArenaValue);
  const offset = plan.offsets.get(tensor.place);
  assert(offset !== undefined);
  return [offset, offset + tensor.place.bytes];
}

/**
 * Plays the plan on an imaginary arena: every output stamps its bytes with its value, every input must still find its
 * own stamp there.
 */
function assertNothingIsOverwritten(plan: Plan): void {
  const stamps = new Map<number, ArenaValue>(); // by 64-byte line
  const written = new Set<ArenaValue>(); // the graph's inputs are nobody's output: nothing to find
  for (const { operands } of plan.calls) {
    for (const [name, tensor] of Object.entries(operands)) {
      if (name === 'out' || !(tensor.place instanceof ArenaValue) || !written.has(tensor.place)) continue;
      const [start, end] = extent(plan, tensor);
      for (let line = start; line < end; line += 64) {
        const stamp = stamps.get(line);
        assert(stamp === tensor.place, `an input was overwritten before ${name} read it`);
      }
    }
    const { out } = operands;
    if (out === undefined || !(out.place instanceof ArenaValue)) continue;
    const [start, end] = extent(plan, out);
    assert(end <= plan.arenaBytes && start % 64 === 0);
    for (let line = start; line < end; line += 64) stamps.set(line, out.place);
    written.add(out.place);
  }
}

describe('planner', () => {
  it('never gives two intermediates that are needed at once the same bytes', () => {
    for (let seed = 0; seed < 200; seed++) {
      const random = new Random(seed);
      const g = new Graph('random');
      const width = 16 * random.integer(1, 4);
      const tensors = [g.activation(g.empty('f32', [1, random.integer(1, 40), width]), 'silu')];
      for (let i = 0; i < 40; i++) {
        const x = random.pick(tensors);
        const next = [
          () => g.activation(x, 'relu'),
          () => g.convert(x, { scale: 2 }),
          () => g.convert(x, { dtype: 'bf16' }),
          () => g.transpose(x),
          () => g.convert(columns(x, 0, Math.max(1, Math.floor((x.shape[2] ?? 1) / 2)))),
          () => g.convert(x, { repeat: 2 }),
        ];
        tensors.push(random.pick(next)());
      }
      assertNothingIsOverwritten(g.plan());
    }
  });

  it('reuses memory: a chain of equal operators needs two buffers, or one if they work in place', () => {
    const inPlace = new Graph('in place');
    let x = inPlace.activation(inPlace.empty('f32', [1024]), 'silu');
    for (let i = 0; i < 20; i++) x = inPlace.activation(x, 'silu');
    assert.equal(inPlace.plan().arenaBytes, 4096);

    const moving = new Graph('moving');
    let y = moving.transpose(moving.empty('f32', [1, 32, 32]));
    for (let i = 0; i < 20; i++) y = moving.transpose(y);
    assert.equal(moving.plan().arenaBytes, 2 * 4096);
  });

  it('does not work in place on what is read later, or on a part of a wider tensor', () => {
    const g = new Graph('kept');
    const x = g.convert(g.empty('f32', [8, 32]), { scale: 2 });
    const y = g.activation(x, 'silu');
    g.rmsNorm(y, g.empty('f32', [32]), { epsilon: 1e-5, residual: x });
    const wide = g.convert(g.empty('f32', [8, 64]), { scale: 2 });
    const part = g.convert(columns(wide, 0, 32), { scale: 3 });
    const plan = g.plan();
    assert.notDeepEqual(extent(plan, x), extent(plan, y));
    assert.notEqual(part.place, wide.place);
    assertNothingIsOverwritten(plan);
  });
});
