import { describe, expect, it } from 'vitest';
import { InvalidOptionError } from '../../errors.ts';
import { parseOptions, toServiceConfig, validateTraining } from './options.ts';

const settings = parseOptions({});

describe('validateTraining', () => {
  it.each([
    [{ optimizer: { betas: [0.9, 0.99] } }, /"optimizer.betas" must be left out.*\[0.9,0.99\]/],
    [{ optimizer: { gradientSteps: 4 } }, /"optimizer.gradientSteps"/],
    [{ optimizer: { weightDecay: 0.1 } }, /"optimizer.weightDecay"/],
    [{ optimizer: { epochs: 2 } }, /"optimizer.epochs".*1 or left out/],
    [{ lora: { rank: 8 } }, /"lora.rank".*localBackend\(\)/],
    [{ loss: { entropyCoefficient: 0.01 } }, /"loss.entropyCoefficient"/],
    [{ loss: { kind: 'dapo' } }, /"loss.kind"/],
    [{ loss: { clip: 0.2 } }, /"loss.clip" must be left out: there is no such option/],
    [{ concurrency: 2001 }, /"limits.concurrency" must be at most 2000/],
  ])('refuses what the service does not take: %j', (options, says) => {
    expect(() => {
      validateTraining(settings, options as Parameters<typeof validateTraining>[1]);
    }).toThrow(InvalidOptionError);
    expect(() => {
      validateTraining(settings, options as Parameters<typeof validateTraining>[1]);
    }).toThrow(says);
  });

  it('refuses two ways of saying one thing', () => {
    const level = parseOptions({ config: { importance_sampling_level: 'average' } });
    expect(() => {
      validateTraining(level, { loss: { importanceSampling: 'token' } });
    }).toThrow(/importance_sampling_level/);
    expect(() => parseOptions({ config: { kl_penalty_reference_step: 1, kl_penalty_step_lag: 1 } })).toThrow(
      /kl_penalty_step_lag/,
    );
    const lag = parseOptions({ config: { kl_penalty_step_lag: 2 } });
    expect(() => {
      validateTraining(lag, {});
    }).toThrow(/"loss.klCoefficient"/);
    expect(toServiceConfig({ loss: { klCoefficient: 0.1 } }, lag.config)).toMatchObject({
      kl_penalty_step_lag: 2,
      kl_penalty_reference_step: null,
    });
  });
});

describe('parseOptions', () => {
  it('keeps a path of one’s own and infers at the training URL', () => {
    const { trainingUrl, inferenceUrl } = parseOptions({ trainingUrl: 'https://x.example/custom/v1' });
    expect([trainingUrl, inferenceUrl]).toEqual([
      'https://x.example/custom/v1',
      'https://x.example/custom/v1',
    ]);
  });

  it.each([
    [{ trainingUrl: 'ftp://x' }, /trainingUrl/],
    [{ maxConcurrentRequests: 2001 }, /maxConcurrentRequests.*2001/],
    [{ config: { learning_rate: 1 } }, /config.learning_rate.*no such option/],
    [{ pollMs: 0 }, /pollMs/],
  ])('refuses %j', (options, says) => {
    expect(() => parseOptions(options as Parameters<typeof parseOptions>[0])).toThrow(says);
  });
});
