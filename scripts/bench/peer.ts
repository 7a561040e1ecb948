/**
 * The torch peer (peer.py) as a child process: benchmarks alternate with it in one run. It needs a Python with torch,
 * `SANA_BENCH_PYTHON` or `python3`; without one there is no peer, and benchmarks say so and time only our side.
 */

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SanaError } from '../../lib/base/errors.ts';

/** Which networks: the reference's operations in bare torch, or diffusers' own, which need a checkpoint. */
export type PeerLibrary = 'torch' | 'diffusers';

/** Where the peer finds a network, and how to run it. */
export interface PeerSetup {
  readonly library?: PeerLibrary; // default 'torch'
  /** The variant of the files that diffusers loads, e.g. 'bf16'. */
  readonly variant?: string;
  /** `cuda:0`; default `cpu`. */
  readonly device?: string;
  /** torch.compile, at max-autotune. */
  readonly compile?: boolean;
}

export interface PeerTiming extends PeerSetup {
  readonly dtype: 'f32' | 'bf16';
  readonly threads: number;
  readonly runs: number;
  readonly warmup?: number; // default 1
}

/** Take the weights from this checkpoint folder; random ones otherwise. */
export interface PeerCheckpoint {
  readonly checkpoint?: string;
}

export type ConvolutionLayout = 'nchw' | 'channels_last';

export type PeerStage =
  | ({ readonly case: 'text_encode' } & PeerCheckpoint)
  | ({ readonly case: 'denoise_step'; readonly model: '0.6b' | '1.6b'; readonly size: number } & PeerCheckpoint)
  | ({ readonly case: 'decode'; readonly size: number } & PeerCheckpoint);

export type PeerOperator =
  | { readonly case: 'linear'; readonly m: number; readonly n: number; readonly k: number }
  | {
      readonly case: 'conv2d';
      readonly batch?: number; // default 1
      readonly height: number;
      readonly width: number;
      readonly channelsIn: number;
      readonly channelsOut: number;
      readonly kernel: number;
      readonly layout: ConvolutionLayout;
    }
  | {
      readonly case: 'depthwise';
      readonly batch?: number; // default 1
      readonly height: number;
      readonly width: number;
      readonly channels: number;
      readonly kernel: number;
      readonly layout: ConvolutionLayout;
    }
  | { readonly case: 'linear_attention'; readonly batch?: number; readonly tokens: number; readonly heads: number }
  | {
      readonly case: 'cross_attention';
      readonly batch?: number; // default 2, as for linear_attention
      readonly tokens: number;
      readonly textTokens: number;
      readonly heads: number;
      readonly headDim: number;
    };

export type PeerCase = PeerTiming & (PeerStage | PeerOperator);

/** Computes a stage of a checkpoint for given inputs and writes its result as the tensor `output`, in f32. */
export interface PeerReference extends PeerSetup {
  readonly stage: PeerStage['case'];
  readonly checkpoint: string;
  /**
   * A safetensors file with `prefix` + `input_ids`, `attention_mask` | `latents`, `timestep`, `encoder_hidden_states`,
   * `encoder_attention_mask`, of Sprint `guidance` (times its scale) | `z`.
   */
  readonly inputs: string;
  readonly prefix?: string;
  readonly outputs: string;
  readonly dtype: 'f32' | 'bf16';
  readonly threads: number;
}

export class TorchPeer {
  readonly torchVersion: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(child: ChildProcessWithoutNullStreams, lines: AsyncIterator<string>, torchVersion: string) {
    this.#child = child;
    this.#lines = lines;
    this.torchVersion = torchVersion;
  }

  /** Starts the peer; `undefined`, with the reason on stderr, if there is no Python with torch. */
  static async start(python = process.env.SANA_BENCH_PYTHON ?? 'python3'): Promise<TorchPeer | undefined> {
    const script = fileURLToPath(new URL('peer.py', import.meta.url));
    const child = spawn(python, [script], { stdio: 'pipe' });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    let complaint = '';
    child.stderr.on('data', (text) => {
      complaint = `${complaint}${text}`.slice(-2000);
    });
    child.stdin.on('error', () => {}); // a peer that died is noticed by the answer it does not give
    const ended = new Promise<undefined>((resolve) => {
      child.once('close', () => resolve(undefined));
      child.once('error', (error) => {
        complaint = error.message;
        resolve(undefined);
      });
    });
    const hello = await Promise.race([lines.next(), ended]);
    if (!hello || hello.done) {
      await ended; // by then the complaint is complete
      const reason = complaint.trim().split('\n').at(-1) || 'it ended without a word';
      console.error(`no torch peer: ${python}: ${reason} (set SANA_BENCH_PYTHON to a Python with torch)`);
      return undefined;
    }
    child.stderr.removeAllListeners('data').pipe(process.stderr);
    return new TorchPeer(child, lines, JSON.parse(hello.value).torch);
  }

  /** Milliseconds of each timed run. Commands queue up: one runs at a time. */
  async run(command: PeerCase): Promise<number[]> {
    return (await this.#ask<{ ms: number[] }>(command)).ms;
  }

  /** Computes a stage and writes the result, to report an error with a time. */
  async reference(command: PeerReference): Promise<void> {
    await this.#ask({ case: 'reference', ...command });
  }

  /** The version of diffusers; fails if it is not installed. */
  async diffusersVersion(): Promise<string> {
    return (await this.#ask<{ version: string }>({ case: 'diffusers', threads: 1 })).version;
  }

  /** Ends the process once its queue is empty. */
  async dispose(): Promise<void> {
    await this.#last.catch(() => {});
    if (this.#child.exitCode !== null) return;
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stdin.end();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #ask<Answer>(command: object): Promise<Answer> {
    const turn = this.#last.catch(() => {}).then(() => this.#exchange<Answer>(command));
    this.#last = turn;
    return turn;
  }

  async #exchange<Answer>(command: object): Promise<Answer> {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`);
    const line = await this.#lines.next();
    const answer = line.done ? { error: 'it ended before it answered' } : JSON.parse(line.value);
    if (answer.error !== undefined) {
      throw new SanaError('ERR_SANA_ARGUMENT', `The torch peer failed: ${answer.error}`, {
        hint: `The command was ${JSON.stringify(command)}.`,
      });
    }
    return answer;
  }
}
