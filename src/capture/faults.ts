/** Counts faults of ours that are swallowed to spare the host, by place. */
export class FaultCounter {
  readonly #counts = new Map<string, number>();

  /** Runs `work`; a throw is counted under `place` and gives `otherwise`. */
  guard<T>(place: string, work: () => T, otherwise: T): T {
    try {
      return work();
    } catch (error) {
      this.count(place, error);
      return otherwise;
    }
  }

  count(place: string, error: unknown): void {
    const before = this.#counts.get(place) ?? 0;
    this.#counts.set(place, before + 1);
    if (before === 0) {
      process.emitWarning(`apprentice: ${place} failed and was left out of the record: ${String(error)}`, {
        code: 'APPRENTICE_FAULT',
      });
    }
  }

  counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }
}
