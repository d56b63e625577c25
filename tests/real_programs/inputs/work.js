'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const zlib = require('zlib');
const fs = require('fs');
const { promisify } = require('util');
const { execFileSync, spawn } = require('child_process');

const sha = (data) => crypto.createHash('sha256').update(data).digest('hex').slice(0, 24);

function generator(seed) {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 4294967296) * limit);
  };
}

function tree(rnd, depth) {
  if (depth === 0) return [rnd(1e9), 'leaf'.repeat(rnd(20)), null, true, rnd(1e6) / 7][rnd(5)];
  const node = {};
  for (let n = rnd(7); n >= 0; n--) node['k' + rnd(1000)] = tree(rnd, depth - 1);
  return rnd(2) ? node : Object.values(node);
}

function buffers(seed, rounds) {
  const rnd = generator(seed);
  const kept = [];
  const hash = crypto.createHash('sha256');
  for (let n = 0; n < rounds; n++) {
    const size = [1, 100, 600, 5000, 70000, 300000][rnd(6)];
    const buffer = n % 2 ? Buffer.alloc(size, n & 255) : Buffer.allocUnsafeSlow(size).fill(rnd(256));
    kept.push(buffer);
    if (kept.length > 60) hash.update(kept.splice(rnd(60), 1)[0].subarray(0, 3000));
    if (n % 50 === 0) hash.update(Buffer.concat(kept.slice(0, 9)));
  }
  return hash.digest('hex').slice(0, 24);
}

if (!isMainThread) {
  parentPort.on('message', (message) => {
    if (message === null) return parentPort.close();
    const view = new Uint8Array(message);
    for (let n = 0; n < view.length; n++) view[n] = (view[n] * 7 + workerData) & 255;
    parentPort.postMessage({ data: message, own: buffers(workerData, 150) }, [message]); // moved, not copied
  });
} else {
  main(Number(process.argv[2])).catch((error) => { console.error(error); process.exit(1); });
}

async function main(scale) {
  const rnd = generator(7);
  const document = [];
  for (let n = 0; n < 60 * scale; n++) document.push(tree(rnd, 6));
  const text = JSON.stringify(document);
  console.log('json', text.length, sha(text), JSON.stringify(JSON.parse(text)) === text, sha(JSON.stringify(document, null, 2)));
  console.log('buffers', buffers(3, 2000 * scale));

  const answers = await Promise.all([1, 2, 3, 4].map((id) => new Promise((resolve, reject) => {
    const worker = new Worker(__filename, { workerData: id });
    const got = [];
    worker.on('error', reject);
    worker.on('message', ({ data, own }) => {
      got.push(sha(Buffer.from(data)) + own);
      if (got.length < 5) worker.postMessage(data, [data]);
      else { worker.postMessage(null); }
    });
    worker.on('exit', (code) => resolve(id + ' ' + code + ' ' + sha(got.join())));
    const start = new ArrayBuffer(200000);
    worker.postMessage(start, [start]);
  })));
  console.log(answers.join('\n'));

  const block = Buffer.from(text.slice(0, 400000));
  const packed = await Promise.all([...Array(12).keys()].map((n) => promisify(zlib.deflate)(block.subarray(n * 1000), { level: 1 + n % 9 })));
  const unpacked = await Promise.all(packed.map((data) => promisify(zlib.inflate)(data)));
  console.log('zlib', sha(Buffer.concat(packed)), sha(Buffer.concat(unpacked)));
  console.log('brotli', sha(zlib.brotliDecompressSync(zlib.brotliCompressSync(block, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 } }))));
  const keys = await Promise.all([...Array(8).keys()].map((n) => promisify(crypto.scrypt)('secret', 'salt' + n, 32, { N: 1024 })));
  console.log('scrypt', sha(Buffer.concat(keys)));

  await promisify(fs.writeFile)('file.bin', block);
  const chunks = [];
  for await (const chunk of fs.createReadStream('file.bin', { highWaterMark: 1000 })) chunks.push(chunk);
  console.log('stream', chunks.length, sha(Buffer.concat(chunks)));
  console.log('child', execFileSync(process.execPath, ['-p', '[..."abc"].map((c) => c.repeat(3)).join()']).toString().trim());
  const cat = spawn('cat');
  const back = [];
  cat.stdout.on('data', (data) => back.push(data));
  cat.stdin.end(block);
  await new Promise((resolve) => cat.on('close', resolve));
  console.log('cat', sha(Buffer.concat(back)));
  const map = new Map();
  for (let n = 0; n < 100000 * scale; n++) map.set('key' + (n * 7919 % 100003), { n, list: [n, n + 1] });
  for (const key of [...map.keys()].filter((_, index) => index % 3)) map.delete(key);
  console.log('map', map.size, [...map.values()].reduce((sum, value) => sum + value.list[1], 0));
}
