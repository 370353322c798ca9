/** What has to be undone, the latest first, also where the benchmark is interrupted. */
export class CleanUps {
  readonly #steps: (() => Promise<void>)[] = [];

  add(...steps: readonly (() => Promise<void>)[]): void {
    this.#steps.push(...steps);
  }

  async run(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) await step();
  }
}
