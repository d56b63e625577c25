// Buffers outside V8's heap, maps, JSON and typed arrays.
let total = 0;
for (let round = 0; round < 6; round++) {
  const map = new Map();
  for (let i = 0; i < 20000; i++) {
    map.set(`key ${i}`, { id: i, tags: [`a${i % 7}`, `b${i % 11}`], data: Buffer.from(`value ${i} `.repeat(4)) });
  }
  const text = JSON.stringify([...map.values()].map((v) => ({ ...v, data: v.data.toString('base64') })));
  total += JSON.parse(text).length;
  const chunks = [];
  for (let i = 0; i < 4000; i++) chunks.push(Buffer.allocUnsafeSlow(100 + (i * 37) % 5000).fill(i));
  total += Buffer.concat(chunks).length;
}
console.log(total);
