import { flowEuler, SCHEDULERS } from 'sana-native/schedulers';

console.log(typeof flowEuler, SCHEDULERS.join());
