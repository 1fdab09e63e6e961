/** Names under which the service serves a model. */

/** The model, as far as names need it. */
export interface NamedModel {
  readonly entity: string;
  readonly project: string;
  readonly name: string;
}

/** `wandb-artifact:///entity/project/name`: whichever checkpoint is the latest. Changes under whoever uses it. */
export function latestName({ entity, project, name }: NamedModel): string {
  return `wandb-artifact:///${entity}/${project}/${name}`;
}

/** `wandb-artifact:///entity/project/name:step3`: this checkpoint for good. Step 0 is the base model. */
export function stepName(model: NamedModel, step: number): string {
  return `${latestName(model)}:step${String(step)}`;
}
