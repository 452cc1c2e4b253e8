// A picture as a PNG file that carries its recipe, as FilterPicture.save writes it: helpers.rerun takes it.

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function checksum(bytes) {
  let value = -1;
  for (const byte of bytes) value = (value >>> 8) ^ TABLE[(value ^ byte) & 255];
  return ~value >>> 0;
}

const ascii = (text) => new TextEncoder().encode(text);

function joined(...parts) {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    result.set(part, place);
    place += part.length;
  }
  return result;
}

function bigEndian(number) {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

function chunk(kind, data) {
  const body = joined(ascii(kind), data);
  return joined(bigEndian(data.length), body, bigEndian(checksum(body)));
}

async function compressed(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function sha256(bytes) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The file of a picture (size, size, 3), with the objects `recipe` and `facts` in it, as bytes. */
export async function png(picture, size, recipe, facts) {
  const texts = { recipe: JSON.stringify(recipe), facts: JSON.stringify(facts) };
  // The seal: a saved picture is what it was.
  texts.sha256 = await sha256(joined(ascii(texts.recipe + texts.facts), picture));
  const rows = new Uint8Array(size * (3 * size + 1)); // each begins with the number of its filter, 0: none
  for (let y = 0; y < size; y++) {
    rows.set(picture.subarray(3 * size * y, 3 * size * (y + 1)), y * (3 * size + 1) + 1);
  }
  const header = joined(bigEndian(size), bigEndian(size), Uint8Array.of(8, 2, 0, 0, 0)); // 8 bits, RGB
  return joined(
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    chunk("IHDR", header),
    ...Object.entries(texts).map(([key, text]) => chunk("tEXt", ascii(`${key}\0${text}`))),
    chunk("IDAT", await compressed(rows)),
    chunk("IEND", new Uint8Array()),
  );
}

/** Has the browser save bytes as a file. */
export function download(bytes, name) {
  const address = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
