const warned = new Set<string>();

/** A process warning that comes once, however often what it is about happens. */
export function warnOnce(code: string, message: string): void {
  if (warned.has(message)) return;
  warned.add(message);
  process.emitWarning(`apprentice: ${message}`, { code });
}
