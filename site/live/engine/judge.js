// A finished picture measured anew and judged, as filtersight/ascent/climb.py does it.

/** A number rounded to two digits, as 170, 2.1, 0.00052. */
export const twoDigits = (value) => String(Number(value.toPrecision(2)));

/**
 * {activation, status, reason} of a picture (size, size, 3), 0 to 255. One that excites its filter no more than
 * the noise that the climb began with, made a picture in the same way, is called dead.
 */
export function judge({ network, layer, filter }, picture, size, start, history) {
  const noise = network.activations(start, size, layer);
  const least = (0.01 * noise.reduce((sum, value) => sum + Math.abs(value), 0)) / noise.length;
  const activation = network.activations(picture, size, layer)[filter];
  return { activation, ...verdict(activation, noise[filter], history, least) };
}

function verdict(activation, noise, history, least) {
  const dead = (reason) => ({ status: "dead", reason });
  const most = Math.max(...history);
  if (activation === 0 && most === 0) return dead("silent on the start image, so its gradient is zero");
  if (activation === 0) return dead(`silent on the 8-bit picture, though it reached ${twoDigits(most)} on the way`);
  if (activation - noise <= Math.max(0.01 * Math.abs(noise), least))
    return dead(`activation ${twoDigits(activation)}, hardly more than on noise`);
  return { status: "alive", reason: `activation ${twoDigits(activation)}, on noise ${twoDigits(noise)}` };
}
