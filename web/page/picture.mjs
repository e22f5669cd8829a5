// The section that reads pictures: takes one, shows it, frames the lines that were found and lists what they say.

const LARGEST_SIDE = 1600;
const SAMPLE = ['Warp and weft', 'the heddle lifts each thread', 'woven in 1804'];

export function preparePicture({ section, outcome, perform, takeFiles }) {
  const canvas = section.querySelector('canvas');
  const again = section.querySelector('.again');
  let picture;

  async function read() {
    outcome.start('starting…');
    draw(canvas, picture);
    const bitmap = await createImageBitmap(picture);
    await perform('readText', { bitmap }, [bitmap], { all: ({ lines }) => show(lines) });
  }

  function show(lines) {
    frame(canvas, lines);
    if (lines.length === 0) return outcome.show('No text was found.');
    const list = document.createElement('ol');
    list.append(...lines.map(listItem));
    outcome.show(list);
  }

  async function take(source) {
    picture = source;
    again.hidden = false;
    section.querySelector('.hint').hidden = true;
    await read();
  }

  takeFiles(async (file) => take(await openPicture(file)));
  section.querySelector('.sample').addEventListener('click', () => take(drawSample()));
  again.addEventListener('click', read);
}

async function openPicture(file) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) throw new Error(`“${file.name}” is no picture that this browser can open.`);
  const scale = Math.min(1, LARGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  if (scale === 1) return bitmap;
  const [resizeWidth, resizeHeight] = [bitmap.width, bitmap.height].map((side) =>
    Math.max(1, Math.round(side * scale)),
  );
  return createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: 'high' });
}

/** A few words on a cloth: nothing needs to be shipped to have something to read. */
function drawSample() {
  const canvas = new OffscreenCanvas(640, 300);
  const context = canvas.getContext('2d');
  context.fillStyle = '#efe6d6';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = '#e4d8c2';
  for (let x = 0; x < canvas.width; x += 8) context.fillRect(x, 0, 3, canvas.height);
  context.fillStyle = '#33261f';
  for (const [k, line] of SAMPLE.entries()) {
    context.font = `${[48, 34, 40][k]}px ${['serif', 'sans-serif', 'serif'][k]}`;
    context.fillText(line, 40, 80 + 85 * k);
  }
  return canvas.transferToImageBitmap();
}

function draw(canvas, picture) {
  Object.assign(canvas, { width: picture.width, height: picture.height, hidden: false });
  canvas.getContext('2d').drawImage(picture, 0, 0);
}

function frame(canvas, lines) {
  const context = canvas.getContext('2d');
  context.lineWidth = Math.max(2, canvas.width / 300);
  context.strokeStyle = '#d8441c';
  for (const { box } of lines) context.strokeRect(box.x, box.y, box.width, box.height);
}

function listItem({ text, sure }) {
  const [item, small] = ['li', 'small'].map((tag) => document.createElement(tag));
  const words = document.createElement('span');
  words.textContent = text;
  small.textContent = ` ${Math.round(sure * 100)} %`;
  item.append(words, small);
  return item;
}
