/** Text with about the redundancy of prose, different each time, so that nothing is small only because it repeats. */
const words = (
  'the of and to a in is that it was for on are as with his they at be this from have or by one had not but what all ' +
  'were when we there can an your which their said if do will each about how up out them then she many some so these ' +
  'would other into has more her two like him see time could no make than first been its who now people my made over ' +
  'did down only way find use may water long little very after words called just where most know order parcel refund ' +
  'customer account invoice delivery address warehouse payment receipt courier tracking support ticket reply policy'
).split(' ');

let state = 20_261_124;

/** `length` characters of made-up prose. */
export function prose(length: number): string {
  let text = '';
  while (text.length < length) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    text += `${words[(state >>> 8) % words.length] ?? ''} `;
  }
  return text.slice(0, length);
}
