import assert from 'node:assert/strict';
import { addressKind } from '../../lib/hub/addresses.ts';

describe('the kind of an address', () => {
  const kinds = {
    public: ['8.8.8.8', '172.32.0.1', '2606:4700::1111', '::ffff:8.8.8.8', '64:ff9b::808:808'],
    loopback: [
      '127.0.0.1',
      '127.255.0.9',
      '0.0.0.0',
      '::1',
      '::',
      '::ffff:127.0.0.1',
      '::7f00:1',
      '64:ff9b::127.0.0.1',
    ],
    'link-local': ['169.254.169.254', 'fe80::1', 'fe80::1%eth0', 'febf::1', '::ffff:169.254.0.1', '64:ff9b::a9fe:a9fe'],
    private: [
      '10.1.2.3',
      '172.31.255.255',
      '192.168.0.1',
      '100.64.0.1',
      '198.18.0.1',
      '224.0.0.1',
      '255.255.255.255',
      'fd00::1',
      'ff02::1',
      '::ffff:10.0.0.1',
    ],
  };
  for (const [kind, addresses] of Object.entries(kinds)) {
    it(`is ${kind} of ${addresses.join(', ')}`, () => {
      for (const address of addresses) assert.equal(addressKind(address), kind, address);
    });
  }
});
