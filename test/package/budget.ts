/** The maximum size and dependencies of the package. A change that needs more must justify it here. */

const KB = 1000;
const MB = 1000 * KB;

export const BUDGET = {
  /** Everything but prebuilds/, packed and unpacked. Of it the built-in model is 14.5 MB and 18.7 MB. */
  packed: 16.5 * MB,
  unpacked: 23 * MB,
  /** One platform's folder of prebuilds/, unpacked: the addon, and the libraries of the GPU backend where they are. */
  addon: 2.5 * MB,
  prebuilds: 40 * MB,
  /** Our own code, as it is loaded: dist/ without types and maps. */
  code: 800 * KB,
  /** The sixth is node-addon-api, headers alone: `sana-native build` needs a compiler and nothing from the network. */
  dependencies: 6,
  /** All that `npm install sana-native` puts into node_modules, itself included. */
  installedPackages: 12,
};
