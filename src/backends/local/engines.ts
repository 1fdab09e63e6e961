/** The sidecar's training engines, by the names of its flag --training. */
export const trainingEngines = ['transformers', 'torchtune', 'unsloth'] as const;
export type TrainingEngineName = (typeof trainingEngines)[number];

/** What can serve, by the names of its flag --serving. */
export const servingEngines = ['transformers', 'vllm'] as const;
export type ServingEngineName = (typeof servingEngines)[number];
