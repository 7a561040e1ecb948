import { openDevice } from 'sana-native/ops';

console.log(openDevice('cpu').native.info.backend);
