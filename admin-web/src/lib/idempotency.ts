/** Made once for a form: pressing its button twice makes one thing. */
export function newIdempotencyKey(): string {
  // `randomUUID` is absent on plain HTTP from another machine.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (it) => it.toString(16).padStart(2, '0')).join('');
}
