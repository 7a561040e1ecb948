import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { HubClient, redirectTarget } from '../../lib/hub/client.ts';
import { hubSettings } from '../../lib/hub/settings.ts';
import { sanaError } from '../support/errors.ts';
import { FakeHub } from '../support/fake-hub.ts';
import { fakeHub, noise, REPOSITORY } from './support.ts';

const { signal } = new AbortController();

describe('requests to the hub', () => {
  const context = fakeHub();
  const { pull, newCache } = context;
  const NAME = 'weights.safetensors';
  beforeEach(() => {
    context.hub.add(REPOSITORY, { [NAME]: noise(10_000) });
    process.env.HF_TOKEN = 'hf_secret';
  });

  const client = async (endpoint: string) =>
    await HubClient.open(await hubSettings({}, { ...process.env, HF_ENDPOINT: endpoint }));

  it('carry the token to the hub, and never to another origin', async () => {
    const other = await FakeHub.start();
    try {
      other.add(REPOSITORY, { [NAME]: noise(10_000) });
      await pull(newCache());
      assert.ok(context.hub.requests.length >= 3);
      assert.ok(context.hub.requests.every(({ token }) => token === 'Bearer hf_secret')); // the same origin throughout
      context.hub.storage = other.url;
      context.hub.requests.length = 0;
      await pull(newCache());
      assert.ok(context.hub.requests.every(({ token }) => token === 'Bearer hf_secret'));
      assert.equal(other.requests.length, 1);
      assert.deepEqual(
        other.requests.map(({ token }) => token),
        [undefined],
      );
      // The same machine under another name is another origin.
      context.hub.storage = context.hub.url.replace('127.0.0.1', 'localhost');
      context.hub.requests.length = 0;
      await pull(newCache());
      assert.deepEqual(
        context.hub.requests.map(({ path, token }) => [path.split('/')[1], token]),
        [
          ['api', 'Bearer hf_secret'],
          ['owner', 'Bearer hf_secret'],
          ['storage', undefined],
        ],
      );
    } finally {
      await other.stop();
    }
  });

  it('carry no token without TLS, except to this machine', async () => {
    const cases: readonly [string, boolean][] = [
      ['https://huggingface.co', true],
      ['https://10.0.0.1:8443/hub', true],
      ['http://127.0.0.1:80', true],
      ['http://[::1]', true],
      ['http://localhost', true],
      ['http://huggingface.co', false],
      ['http://10.0.0.1', false],
      ['http://localhost.example.com', false],
    ];
    for (const [endpoint, sent] of cases) assert.equal((await client(endpoint)).hasToken, sent, endpoint);
  });

  const targets = [
    'file:///etc/passwd',
    'ftp://127.0.0.1/x',
    'data:text/plain,x',
    'javascript:1',
    'http://user:password@127.0.0.1/',
    'http://169.254.169.254/latest/meta-data',
    'http://[fe80::1]/',
    'http://10.0.0.1/',
    'http://192.168.1.1/',
    'http://[fd00::1]/',
    'http://[::ffff:169.254.1.1]/',
    'http://2852039166/', // 169.254.169.254
    'http://0xa9.0xfe.0xa9.0xfe/',
    'http://[64:ff9b::a9fe:a9fe]/',
    'http:///',
  ];
  it('do not follow forbidden redirects', async () => {
    for (const target of targets) {
      context.hub.fault = (request, response) => {
        if (!request.url?.includes('/resolve/')) return false;
        response.writeHead(302, { location: target }).end();
        return true;
      };
      await assert.rejects(pull(newCache()), sanaError('ERR_SANA_DOWNLOAD', 'not followed'), target);
    }
    context.hub.fault = (request, response) => {
      response.writeHead(302, { location: request.url }).end();
      return true;
    };
    await assert.rejects(pull(newCache()), sanaError('ERR_SANA_DOWNLOAD', 'more than 8 times'));
    context.hub.fault = (_, response) => {
      response.writeHead(302).end();
      return true;
    };
    await assert.rejects(pull(newCache()), sanaError('ERR_SANA_DOWNLOAD', 'to nowhere'));
  });

  it('to a public hub are not redirected to this machine, by address or by name', async () => {
    const outside = await client('https://192.0.2.1');
    const { port } = new URL(context.hub.url);
    for (const host of ['127.0.0.1', 'localhost', '0.0.0.0', '[::1]', '[::]', '[::ffff:7f00:1]', '127.1']) {
      const wanted = outside.get(new URL(`http://${host}:${port}/x`), { signal });
      await assert.rejects(wanted, sanaError('ERR_SANA_DOWNLOAD', 'a loopback address'), host);
    }
    assert.equal(context.hub.requests.length, 0);
    await outside.close();
  });

  it('do not go from https down to http', () => {
    const from = new URL('https://huggingface.co/a/b');
    assert.throws(() => redirectTarget(from, 'http://huggingface.co/c'), sanaError('ERR_SANA_DOWNLOAD', 'to http:'));
    assert.equal(redirectTarget(from, '/c?d').href, 'https://huggingface.co/c?d');
    assert.equal(redirectTarget(from, 'https://cdn.example.com/e').href, 'https://cdn.example.com/e');
    assert.equal(redirectTarget(new URL('http://mirror/a'), '//mirror/b').href, 'http://mirror/b');
  });

  it('go through the proxy of the environment, unless NO_PROXY names the host', async () => {
    const asked: string[] = [];
    const proxy: Server = createServer((_, response) => response.writeHead(500).end());
    proxy.on('connect', (request, socket) => {
      asked.push(request.url ?? '');
      const { hostname, port } = new URL(context.hub.url);
      const upstream = connect(Number(port), hostname, () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        upstream.pipe(socket).pipe(upstream);
      });
      for (const end of [upstream, socket]) end.on('error', () => {});
    });
    await new Promise<void>((done) => proxy.listen(0, '127.0.0.1', done));
    try {
      process.env.HTTP_PROXY = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
      process.env.HF_ENDPOINT = 'http://hub.invalid'; // only the proxy knows where that is
      await pull(newCache());
      assert.ok(asked.length > 0 && asked.every((target) => target === 'hub.invalid:80'), String(asked));
      asked.length = 0;
      process.env.HF_ENDPOINT = context.hub.url;
      process.env.NO_PROXY = '127.0.0.1';
      await pull(newCache());
      assert.deepEqual(asked, []);
    } finally {
      proxy.closeAllConnections();
      proxy.close();
    }
  });
});
