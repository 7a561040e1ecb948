/**
 * What kind of place an IP address is. The address of a model and every redirect of the server decide where this
 * process connects. Only the user may point it at the machine it runs on or at its own network.
 */

import { BlockList, isIP } from 'node:net';

export type AddressKind = 'public' | 'private' | 'loopback' | 'link-local';

/** IANA's special-purpose registries, RFC 6890. Addresses outside of these are public. */
const RANGES: readonly (readonly [AddressKind, ...string[]])[] = [
  ['loopback', '127.0.0.0/8', '::1/128'],
  ['link-local', '169.254.0.0/16', 'fe80::/10'],
  // 0.0.0.0 and :: reach the machine itself.
  ['loopback', '0.0.0.0/8', '::/128'],
  ['private', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '192.0.0.0/24', '198.18.0.0/15'],
  ['private', '224.0.0.0/4', '240.0.0.0/4', 'fc00::/7', 'fec0::/10', 'ff00::/8', '100::/64'],
];

const LISTS = RANGES.map(([kind, ...networks]) => {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits] = network.split('/');
    list.addSubnet(address, Number(bits), isIP(address) === 6 ? 'ipv6' : 'ipv4');
  }
  return { kind, list };
});

/** The kind of an IP address. An IPv4 address written as IPv6 counts as the IPv4 address. */
export function addressKind(address: string): AddressKind {
  const plain = address.replace(/%.*$/, ''); // fe80::1%eth0
  const inner = embedded(plain);
  if (inner !== null) return addressKind(inner);
  const family = isIP(plain) === 6 ? 'ipv6' : 'ipv4';
  return LISTS.find(({ list }) => list.check(plain, family))?.kind ?? 'public';
}

/** The IPv4 address in `::ffff:a.b.c.d` (mapped), `::a.b.c.d` (compatible) and `64:ff9b::a.b.c.d` (NAT64). */
function embedded(address: string): string | null {
  if (isIP(address) !== 6) return null;
  // The URL parser writes an address in its shortest form: ::ffff:7f00:1
  const { hostname } = new URL(`http://[${address}]/`);
  const match = /^\[(?:::ffff:|::|64:ff9b::)([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(hostname);
  if (match === null) return null;
  const [high, low] = [match[1], match[2]].map((part) => Number.parseInt(part ?? '', 16));
  return [high, low].flatMap((part = 0) => [part >> 8, part & 255]).join('.');
}
