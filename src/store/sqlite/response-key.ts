import { hash } from 'node:crypto';

/** The first 48 bits of the SHA-256 of a response's id: short enough to index, and exact as a number. */
export function responseKey(responseId: string): number {
  return hash('sha256', responseId, 'buffer').readUIntBE(0, 6);
}
