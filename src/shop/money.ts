export interface Money {
  /** In minor units. */
  readonly amount: number;
  /** ISO 4217. */
  readonly currency: string;
}

/** The largest amount that GraphQL's Int can carry. */
export const maxAmount = 2_147_483_647;
